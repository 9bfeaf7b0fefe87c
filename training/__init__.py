"""How the bundled model was made: corpus, training, evaluation, each a command of its own."""
