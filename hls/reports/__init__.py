"""What a firmware build costs: every number with the source that it comes from."""
