"""Quantised Keras models as QONNX: standard ONNX and `Quant` nodes, which FINN, hls4ml and others read.

What a layer computes is written so that executing the file gives the values of Keras, bit for bit: `Quant` says
formats, and where it cannot say how they are reached (ties that go up, values that wrap around, a width for every
element) standard nodes in front of it do. `FORMS` in `kinds` is the only list of layers.
"""
