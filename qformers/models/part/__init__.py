"""Particle Transformer (arXiv:2202.03772)."""
