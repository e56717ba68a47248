"""Sequences of tokens: readers that hand them over as `Events`, with the id of a token as its only feature."""
