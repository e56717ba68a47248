"""The block engine of HEPT: one block of points after the other through the same arithmetic."""
