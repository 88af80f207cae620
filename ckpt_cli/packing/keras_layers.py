"""What a file of Keras 3 says of its quantised layers: the variables of each, the bits of its integers, the axes of its kernel.

The config in a .keras has each layer's arguments and dtype policy; a .weights.h5 has shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, NamedTuple

from ..errors import Malformed
from ..formats.encodings import strict_json
from ..numbers.shapes import numel_of
from .headers import Headers


class Variables(NamedTuple):
    """The variables of a layer that make up its kernel, by name, and its bias; None where there is no such."""

    kernel: str
    scale: str
    zero: str | None
    order: str | None
    bias: str | None


def variables_of(headers: Headers, name: str) -> Variables | None:
    """Return the variables behind the kernel `name`: [bias,] scale [, zero, g_idx]; None where there are others."""
    group = name.rpartition("/")[0]
    following = []
    for number in count(1):
        if f"{group}/{number}" not in headers.kinds:
            break
        following.append(f"{group}/{number}")
    embedding = headers.checkpoint.layer_of[name][1] == "embeddings"
    bias = following.pop(0) if len(following) in (2, 4) and not embedding else None
    if len(following) not in (1, 3):
        return None
    zero, order = following[1:] if len(following) == 3 else (None, None)
    return Variables(name, following[0], zero, order, bias)


def bits_of(headers: Headers, found: Variables) -> int:
    """Return the bits of a kernel's integers: what its shape tells, else its layer's config, else the shape of another layer.

    Raises:
        Malformed: nothing of these tells it.
    """
    bits = _bits_by_shape(headers, found)
    if bits is None:
        policy = arguments_of(headers, found.kernel).get("dtype")
        inner = policy.get("config") if isinstance(policy, dict) else None
        bits = {"int8": 8, "int4": 4}.get(str(inner.get("mode")) if isinstance(inner, dict) else "")
    if bits is None:
        told = headers.fact("bits of Keras", _told)
        if len(told) != 1:
            raise Malformed(f"{found.kernel}: whether its integers have 8 bits or 4 is not to be told", "give the .keras file")
        (bits,) = told
    return bits or 8


def _told(headers: Headers) -> set[int | None]:
    """The bits that the shapes of all kernels tell."""
    found = (variables_of(headers, name) for name in kernels(headers))
    return {_bits_by_shape(headers, each) for each in found if each} - {None}


def _bits_by_shape(headers: Headers, found: Variables) -> int | None:
    """The bits that a kernel's shape tells; None for one output, and for embeddings, whose shape may be of either."""
    kernel, scale = headers.kinds[found.kernel], headers.kinds[found.scale]
    if found.zero is not None:
        return 4
    if headers.checkpoint.layer_of[found.kernel][1] == "embeddings":
        return None
    if len(kernel.shape) != 2:
        return 8
    if scale.numel == kernel.shape[1]:
        return 8 if scale.numel > 1 else None
    return 4 if -(-scale.numel // 2) == kernel.shape[1] else None


def arguments_of(headers: Headers, name: str) -> dict[str, Any]:
    """Return the arguments of the layer of a variable, in the model's config; empty where there is none, or two of that name."""
    found = headers.fact("layers of Keras", _layers).get(headers.checkpoint.layer_of[name][0].rpartition("/")[2], [])
    return found[0] if len(found) == 1 else {}


def _layers(headers: Headers) -> dict[str, list[dict[str, Any]]]:
    """The arguments of the layers in the model's config, by the layer's name."""
    records = getattr(headers.checkpoint.rest, "records", None)
    raw = records["config.json"].read() if isinstance(records, dict) and "config.json" in records else b""
    layers: dict[str, list[dict[str, Any]]] = {}
    for layer in strict_json.objects_in(strict_json.loads(raw) if raw else None):
        inner = layer.get("config")
        if "class_name" in layer and isinstance(inner, dict) and isinstance(inner.get("name"), str):
            layers.setdefault(inner["name"], []).append(inner)
    return layers


def kernels(headers: Headers) -> Iterable[str]:
    """Return the names of the kernels and embeddings of int8."""
    of = headers.checkpoint.layer_of
    return (name for name in of if of[name][1] in ("kernel", "embeddings") and headers.is_a(name, "int8"))


def own_shape(headers: Headers, found: Variables, rows: int, columns: int) -> tuple[int, ...]:
    """Return the shape of a kernel that is kept as a matrix of its inputs by its outputs, as int4 is.

    Raises:
        Malformed: the layer is an EinsumDense, and neither its config nor its bias tells the axes.
    """
    layers, layer = headers.checkpoint.layers, headers.checkpoint.layer_of[found.kernel][0]
    if layers.get(layer) != "EinsumDense":
        return rows, columns
    above, _, part = layer.rpartition("/")
    bias = headers.kinds[found.bias].shape if found.bias else ()
    axes = _axes_of_kernel(arguments_of(headers, found.kernel).get("equation"))
    if layers.get(above) == "MultiHeadAttention":
        heads = headers.fact("layers of Keras", _layers).get(above.rpartition("/")[2], [{}])[0].get("num_heads")
        if part == "attention_output" and type(heads) is int and heads > 0 and rows % heads == 0:
            return heads, rows // heads, columns
        axes = 0 if part == "attention_output" else 3
    if axes == 2:
        return rows, columns
    if axes == 1 + len(bias) and numel_of(bias) == columns:
        return rows, *bias
    raise Malformed(f"{found.kernel}: int4 of an EinsumDense, whose own axes are not to be told", "give the .keras file")


def _axes_of_kernel(equation: Any) -> int:
    """The number of axes that an equation gives the kernel, whose inputs come first: 2 of `abc,cd->abd`; 0 where they do not."""
    texts = equation.replace("->", ",").split(",") if isinstance(equation, str) else []
    if len(texts) != 3 or not texts[1].isalpha():
        return 0
    reduced = [letter not in texts[2] for letter in texts[1]]
    return len(texts[1]) if reduced == sorted(reduced, reverse=True) else 0
