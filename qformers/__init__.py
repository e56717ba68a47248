"""Point-cloud transformers in fixed point, trained in Keras 3 and exact in firmware."""

__version__ = "0.1.0"
