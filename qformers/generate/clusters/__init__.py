"""Clusters of atoms that attract and repel each other (Lennard-Jones), and their energies."""
