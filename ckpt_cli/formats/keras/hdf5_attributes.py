"""Writes attributes and datasets of texts with h5py, as they were read."""

from __future__ import annotations

from typing import Any

from .hdf5_objects import Attribute, ElementKind, Node
from .hdf5_types import library_type


def keep_attribute_order(plist: Any, node: Node | None) -> None:
    """Let an object keep the order of its attributes, where the one that was read does."""
    from h5py import h5p

    if node is not None and node.record.get("ordered"):
        plist.set_attr_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)


def write_attribute(item: Any, attribute: Attribute) -> None:
    """Create an attribute of an open object (a group or a dataset of h5py's low-level interface)."""
    from h5py import h5a

    created = h5a.create(item, attribute.name.encode(), library_type(attribute.type), _dataspace(attribute))
    _write_elements(created, attribute)


def write_texts(parent: Any, name: bytes, texts: Attribute) -> None:
    """Create a dataset of texts in a group."""
    from h5py import h5d, h5p

    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_obj_track_times(False)
    _write_elements(h5d.create(parent, name, library_type(texts.type), _dataspace(texts), plist), texts)


def _dataspace(value: Attribute) -> Any:
    from h5py import h5s

    if value.shape is None:
        return h5s.create(h5s.NULL)
    return h5s.create_simple(value.shape) if value.shape else h5s.create(h5s.SCALAR)


def _write_elements(item: Any, value: Attribute) -> None:
    import numpy
    from h5py import h5a, h5s, h5t

    if value.shape is None or 0 in value.shape:
        return
    whole = () if isinstance(item, h5a.AttrID) else (h5s.ALL, h5s.ALL)
    if value.type[0] == ElementKind.VARIABLE_TEXT:
        dtype = h5t.string_dtype()
        array = numpy.array(value.value, "O").reshape(value.shape).astype(dtype)
        item.write(*whole, array, mtype=h5t.py_create(dtype))
    else:
        element = library_type(value.type)
        array = numpy.frombuffer(value.value, f"V{element.get_size()}").reshape(value.shape)
        item.write(*whole, array, mtype=element)
