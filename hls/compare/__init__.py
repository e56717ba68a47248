"""Builds beside each other: one row each, a difference of two, a plot and a page."""
