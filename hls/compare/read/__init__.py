"""What the comparison reads of run folders and published results."""
