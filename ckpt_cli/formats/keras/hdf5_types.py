"""Element types of HDF5, described by a list that JSON can carry: from the library's types to descriptions, and back.

    ["plain", "<f4"]                        a number: numpy's name of the type; "bfloat16" or ">bfloat16", which numpy does not have
    ["plain", "|u1", TYPE]                  a number whose values have names (an enumeration): TYPE is what H5Tencode makes of it, in base64
    ["opaque", BYTES, TAG]                  bytes without a meaning to HDF5
    ["text", BYTES, PADDING, CHARACTERS]    texts of BYTES bytes each; PADDING and CHARACTERS as numbered in H5Tpublic.h
    ["texts", CHARACTERS]                   texts of any length
    ["another", WHAT]                       a type that no checkpoint needs; its elements lie in other parts of the file
    ["another", WHAT, TYPE]                 one whose elements are whole

As in the HDF5 File Format Specification 3.0, IV.A.2.d (Datatype Message).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from .hdf5_objects import TEXT_KINDS, ElementKind

_BFLOAT16 = (2, 15, 7, 8, 0, 7, 127)  # bytes; bit of the sign; bit and width of the exponent, of the mantissa; bias


def type_description(h5_type: Any) -> list[Any]:
    """Describe a type of the library (h5py.h5t.TypeID)."""
    from h5py import h5t

    group = h5_type.get_class()
    if group == h5t.STRING and h5_type.is_variable_str():
        return [ElementKind.VARIABLE_TEXT, h5_type.get_cset()]
    if group == h5t.STRING:
        return [ElementKind.FIXED_TEXT, h5_type.get_size(), h5_type.get_strpad(), h5_type.get_cset()]
    if group == h5t.OPAQUE:
        return [ElementKind.OPAQUE, h5_type.get_size(), (h5_type.get_tag() or b"").decode("utf-8", "surrogateescape")]
    if group == h5t.FLOAT and _float_fields(h5_type) == _BFLOAT16:
        return [ElementKind.PLAIN, "bfloat16" if h5_type.get_order() == h5t.ORDER_LE else ">bfloat16"]
    if group in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM, h5t.COMPOUND):
        try:
            dtype = h5_type.dtype
            if dtype.kind in "biufc" and h5t.py_create(dtype, logical=True) == h5_type:
                named = group == h5t.ENUM and dtype.kind != "b"
                return [ElementKind.PLAIN, dtype.str, *([_encoded(h5_type)] if named else [])]
        except (TypeError, ValueError, KeyError):
            pass
    names = {h5t.INTEGER: "odd integers", h5t.FLOAT: "odd floats", h5t.ENUM: "an enumeration", h5t.COMPOUND: "compound"}
    names |= {h5t.REFERENCE: "references", h5t.VLEN: "of variable length", h5t.ARRAY: "arrays", h5t.BITFIELD: "bits", h5t.TIME: "times"}
    return [ElementKind.OTHER, names.get(group, "of an unknown type"), *([] if leads_elsewhere(h5_type) else [_encoded(h5_type)])]


def _encoded(h5_type: Any) -> str:
    """What H5Tencode makes of a type, in base64."""
    return b64encode(h5_type.encode()).decode()


def leads_elsewhere(h5_type: Any) -> bool:
    """Whether elements of a type are references, or lie in another part of the file: what has any length."""
    from h5py import h5t

    group = h5_type.get_class()
    if group == h5t.COMPOUND:
        return any(leads_elsewhere(h5_type.get_member_type(index)) for index in range(h5_type.get_nmembers()))
    if group == h5t.ARRAY:
        return leads_elsewhere(h5_type.get_super())
    return group in (h5t.VLEN, h5t.REFERENCE) or (group == h5t.STRING and bool(h5_type.is_variable_str()))


def _float_fields(h5_type: Any) -> tuple[int, ...]:
    return (h5_type.get_size(), *h5_type.get_fields(), h5_type.get_ebias())


def library_type(description: list[Any]) -> Any:
    """Make the type of the library (h5py.h5t.TypeID) that `description` stands for. Raises ValueError where there is none."""
    import numpy
    from h5py import h5t

    kind = description[0]
    if kind in TEXT_KINDS:
        text_type = h5t.C_S1.copy()
        text_type.set_size(h5t.VARIABLE if kind == ElementKind.VARIABLE_TEXT else description[1])
        text_type.set_cset(description[-1])
        if kind == ElementKind.FIXED_TEXT:
            text_type.set_strpad(description[2])
        return text_type
    if kind == ElementKind.OPAQUE:
        opaque_type = h5t.create(h5t.OPAQUE, description[1])
        opaque_type.set_tag(description[2].encode())
        return opaque_type
    if kind in (ElementKind.PLAIN, ElementKind.OTHER) and len(description) > 2:
        return h5t.decode(b64decode(description[2]))
    if kind != ElementKind.PLAIN or description[1].endswith("bfloat16"):
        raise ValueError(f"its type is {description[1]}")
    return h5t.py_create(numpy.dtype(description[1]), logical=True)


def file_type(description: list[Any]) -> Any:
    """Make the type of a dataset's elements in a file, bfloat16 included. Raises ValueError where there is none."""
    from h5py import h5t

    if description[0] != ElementKind.PLAIN or not description[1].endswith("bfloat16"):
        return library_type(description)
    size, sign, exponent, exponent_bits, mantissa, mantissa_bits, bias = _BFLOAT16
    made = (h5t.IEEE_F16BE if description[1].startswith(">") else h5t.IEEE_F16LE).copy()
    made.set_size(size)
    made.set_fields(sign, exponent, exponent_bits, mantissa, mantissa_bits)
    made.set_ebias(bias)
    return made
