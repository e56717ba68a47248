"""Float Keras models that somebody else trained, said in the quantised layers that firmware has."""
