"""Text, fan-out and measures: one prompt, several lanes, one timeline each."""
