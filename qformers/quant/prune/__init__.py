"""Pruning: weights that are held at exactly zero while the rest goes on training.

A pruned kernel is an ordinary Keras variable with a constraint: the mask is applied behind every optimiser step, inside
the compiled one, so that float and quantised models, their files and their firmware all see the same zeros, and no
layer has to know. `Pruning` is the callback that drives it; `sparsity` reports the zeros of any model.
"""
