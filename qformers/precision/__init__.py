"""Fixed-point formats: one type, the rules that give each layer its own, and the table of all of them."""
