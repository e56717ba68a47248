"""Models that QKeras saved, as HGQ2 models that compute the same bit for bit.

`importer.import_qkeras` reads a file (QKeras 0.9's ``.h5``, qkeras-v3's ``.keras``) without QKeras and without running
anything that is in it. `spelling.parse` reads one quantiser, `exact.activation` and `values.quantise` say what it does.
"""
