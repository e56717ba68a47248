"""HEPT, the point transformer on locality-sensitive hashing (arXiv:2402.12535)."""
