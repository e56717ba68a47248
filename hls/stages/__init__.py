"""What a command runs: a function each, that returns a result."""
