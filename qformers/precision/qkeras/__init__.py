"""Formats in QKeras's spelling."""
