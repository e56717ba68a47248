"""Clusters of atoms: places and species as `Events`, with their energy as the target."""
