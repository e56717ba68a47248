"""Losses for one answer per point."""
