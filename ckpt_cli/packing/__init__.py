"""Packed parameters: one logical parameter that a file keeps as several tensors (integers and their scales), known as one.

    packed.py           what is known of a packed parameter; the registry of the ways to pack
    headers.py          what packings are found by: names, dtypes, shapes, the quantisation entry of a config
    matrices.py         tensors read by rows and columns, scales that lie over them, the tensor that is decoded from them
    groups.py           groups of columns that share a scale, in their order or in one of their own
    integers.py         integers and small floats unpacked from bytes
    mx.py               microscaling formats: small floats with a scale of one byte for each run
    keras_layers.py     what a file of Keras says of its quantised layers
    packing_NAME.py     a way to pack each
    finding.py          the packed parameters of a checkpoint, and the checkpoint with each of them decoded

A packing is one file, `packing_NAME.py`, which registers an object of a subclass of `Packing`. From the name of a tensor that announces a
packed parameter (`qweight`, `weight_scale`) it answers what belongs together, by names and shapes alone; values are decoded when the
tensor is read. What announces itself and does not fit raises Malformed; what is another thing is None.
"""

from .finding import Found, Packed, dequantised, find, packed_parameters, parts_changed, refuse_cast

__all__ = ["Found", "Packed", "dequantised", "find", "packed_parameters", "parts_changed", "refuse_cast"]
