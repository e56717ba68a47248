"""From a quantised Keras model to firmware, and the proof that both compute the same."""
