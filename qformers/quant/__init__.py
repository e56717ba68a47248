"""Quantised models: their formats, ranges, the folding of a float model, post-training search and pruning."""
