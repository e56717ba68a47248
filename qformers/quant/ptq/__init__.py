"""Post-training quantisation: from a float model to fixed point without training, and the search for its bits."""
