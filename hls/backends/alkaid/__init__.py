"""RTL through alkaid."""
