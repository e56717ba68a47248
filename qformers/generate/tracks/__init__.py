"""Tracker hits from a fast simulation: helices through barrel layers and discs, in TrackML's CSV tables.

A toy, not Geant: no energy loss, no nuclear interaction, no delta rays, no inward half of a curling track; every number
learned from it is to be labelled synthetic.
"""
