"""Firmware that takes T points per clock: kernels, each traced once, and the stores between them."""
