"""How fast it is, against what: programs that measure in one run and print ratios."""
