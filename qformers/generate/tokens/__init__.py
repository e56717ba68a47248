"""Sequences of tokens: the grammar of ListOps, and small pictures read pixel by pixel."""
