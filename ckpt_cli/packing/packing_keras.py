"""Keras 3 after model.quantize("int8") or ("int4"), in .keras and .weights.h5.

A Dense or EinsumDense keeps kernel, bias (where it has one) and kernel_scale as the variables 0, 1, 2 of its layer; an Embedding keeps
embeddings and embeddings_scale. int8: kernel = stored ÷ scale, with a scale for each output; embeddings have one for each row. int4: two
integers a byte along the last axis, the low one first; with groups, kernel_zero and g_idx (the group of each input) follow the scale, and
kernel = (stored - zero) × scale. The plain kernel keeps Keras' layout, inputs first.

Sources: variable_serialization_spec, kernel and _int4_call in keras/src/layers/core/dense.py and embedding.py; unpack_int4 and
dequantize_with_sz_map in keras/src/quantizers/quantizers.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

from ..errors import Malformed
from ..formats.encodings import strict_json
from ..numbers.shapes import numel_of, show_shape
from ..storage.storage import Memory
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .headers import Headers, check_shape
from .integers import nibbles
from .keras_layers import Variables, arguments_of, bits_of, kernels, own_shape, variables_of
from .matrices import FLOAT, FLOATS, Blocks, Matrix, decoded, storages
from .packed import Packed, Packing, packings


class Keras(Packing):
    """int8 in the first variable of a layer."""

    name = "keras"

    def candidates(self, headers: Headers) -> Iterable[str]:
        """The kernels and embeddings of int8."""
        return kernels(headers)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The kernel `name`."""
        found = variables_of(headers, name)
        if found is None:
            return None
        kernel, scale = headers.checkpoint[name], headers.need(found.scale, FLOATS, name)
        embedding = headers.checkpoint.layer_of[name][1] == "embeddings"
        if bits_of(headers, found) == 4:
            return _int4(headers, found, kernel, scale, embedding)
        scales = _laid(headers, found, kernel, scale, embedding)
        title, parts = f"Keras int8, scale per {'row' if embedding else 'column'}", (name, found.scale)
        return Packed(name, title, kernel.shape, parts, lambda: _int8(kernel, scales))

    def settled(self, checkpoint: Checkpoint) -> Checkpoint:
        """With a config in which the layers have the dtype that they were quantised from, so that Keras loads the file."""
        records = getattr(checkpoint.rest, "records", None)
        if not isinstance(records, dict) or "config.json" not in records:
            return checkpoint
        config = strict_json.loads(records["config.json"].read())
        for layer in strict_json.objects_in(config):
            if str(layer.get("class_name", "")).startswith("Quantized") and isinstance(layer.get("config"), dict):
                layer |= {"module": "keras", "class_name": "DTypePolicy", "config": {"name": str(layer["config"].get("source_name"))}}
            if "quantization_config" in layer:
                layer["quantization_config"] = None
        plain = Memory(json.dumps(config).encode())
        return checkpoint.replacing(rest=checkpoint.rest._replace(records=records | {"config.json": plain}))


def _laid(headers: Headers, found: Variables, kernel: Tensor, scale: Tensor, embedding: bool) -> Blocks:
    """Lay int8's scales over a kernel: one a row of embeddings; else over the last axes of the kernel, the only ones of their sizes."""
    if embedding:
        check_shape(found.kernel, found.scale, scale.shape, kernel.shape[:1])
        return Blocks(scale, kernel.shape, 1, kernel.shape[-1])
    sizes = tuple(n for n in scale.shape if n != 1)
    own = tuple(n for n in kernel.shape if n != 1)
    places = [at for at in combinations(range(len(own)), len(sizes)) if tuple(own[axis] for axis in at) == sizes]
    if not places or places[-1] != tuple(range(len(own) - len(sizes), len(own))):
        raise Malformed(f"{found.kernel}: scales of {show_shape(scale.shape)} do not fit {show_shape(kernel.shape)}")
    if len(places) > 1 and len(kernel.shape) > 2:
        raise Malformed(f"{found.kernel}: which axes of {show_shape(kernel.shape)} its scales belong to is not to be told")
    width = numel_of(sizes)
    return Blocks(scale, (kernel.numel // max(width, 1), width), max(kernel.numel // max(width, 1), 1), 1)


def _int8(kernel: Tensor, scales: Blocks) -> Tensor:
    width = kernel.shape[-1] if scales.height == 1 else scales.across
    matrix = Matrix(kernel, kernel.numel // max(width, 1), width)

    def compute(first: int, last: int) -> Any:
        import numpy

        return scales.apply(numpy.divide, matrix.window((first, last)).astype("f4"), first, last)

    made = decoded(FLOAT, (matrix.rows, width), storages(matrix, scales), compute)
    return Tensor.whole(FLOAT, kernel.shape, made.storage)


def _int4(headers: Headers, found: Variables, kernel: Tensor, scale: Tensor, embedding: bool) -> Packed:
    if len(kernel.shape) != 2:
        raise Malformed(f"{found.kernel}: int4 of {show_shape(kernel.shape)}, where a matrix is needed")
    rows = kernel.shape[0]
    if found.zero is None or found.order is None:
        width: Any = arguments_of(headers, found.kernel).get("output_dim") if embedding else scale.numel
        if type(width) is not int or -(-width // 2) != kernel.shape[1]:
            raise Malformed(f"{found.kernel}: how long its rows are is not to be told", "give the .keras file")
        scales = Blocks(scale, (rows, width), 1 if embedding else max(rows, 1), width if embedding else 1)
        check_shape(found.kernel, found.scale, scale.shape, (rows,) if embedding else (width,))
        return _packed(headers, found, (rows, width), lambda: _by_scale(kernel, scales, width))
    order = headers.need(found.order, "float32 int32", found.kernel)
    zero = headers.need(found.zero, "int8", found.kernel)
    width = order.numel if embedding else scale.shape[-1]
    check_shape(found.kernel, found.zero, zero.shape, scale.shape)
    check_shape(found.kernel, found.kernel, kernel.shape, (rows, -(-width // 2)))
    check_shape(found.kernel, found.scale, (len(scale.shape), scale.shape[0 if embedding else -1]), (2, rows if embedding else width))
    check_shape(found.kernel, found.order, order.shape, (width if embedding else rows,))
    return _packed(headers, found, (rows, width), lambda: _by_groups(found.kernel, kernel, scale, zero, order, width, embedding))


def _packed(headers: Headers, found: Variables, flat: tuple[int, int], decode: Callable[[], Tensor]) -> Packed:
    how = "groups of inputs" if found.zero else "scale per output"
    parts = tuple(name for name in found[:4] if name is not None)
    shape = own_shape(headers, found, *flat)
    return Packed(found.kernel, f"Keras int4, {how}", shape, parts, lambda: Tensor.whole(FLOAT, shape, decode().storage))


def _signed(matrix: Matrix, first: int, last: int, width: int) -> Any:
    """Integers of 4 bits with a sign, as float32."""
    import numpy

    return (nibbles(matrix.raw((first, last)))[:, :width] ^ 8).astype("f4") - numpy.float32(8)


def _by_scale(kernel: Tensor, scales: Blocks, width: int) -> Tensor:
    matrix = Matrix.of(kernel)

    def compute(first: int, last: int) -> Any:
        import numpy

        return scales.apply(numpy.divide, _signed(matrix, first, last, width), first, last)

    return decoded(FLOAT, (matrix.rows, width), storages(matrix, scales), compute)


def _by_groups(name: str, kernel: Tensor, scale: Tensor, zero: Tensor, order: Tensor, width: int, embedding: bool) -> Tensor:
    matrix, scales, zeros = Matrix.of(kernel), Matrix.of(scale), Matrix.of(zero)
    groups = scale.shape[-1] if embedding else scale.shape[0]

    def compute(first: int, last: int) -> Any:
        at = order.array().astype("i8")  # as long as a row, or a column
        if at.size and not 0 <= at.min() <= at.max() < groups:
            raise Malformed(f"{name}: an input is in group {int(at.max())}, and there are {groups:,}")
        rows = (first, last) if embedding else (0, groups)
        of = (slice(None), at) if embedding else at[first:last]
        return (_signed(matrix, first, last, width) - zeros.window(rows)[of].astype("f4")) * scales.window(rows)[of]

    return decoded(FLOAT, (matrix.rows, width), storages(matrix, scales, zeros), compute)


packings.add(Keras.name, Keras())
