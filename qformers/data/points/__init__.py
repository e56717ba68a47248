"""Tracker data: per-point events, readers of TrackML tables and of HEPT-CMS line segments, and what is made of them."""
