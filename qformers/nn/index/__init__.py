"""Layers that move values and never round them: index work, one layer for every vocabulary."""
