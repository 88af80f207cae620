"""Arrays in joblib's pickles: each is an object that describes it, and its bytes stand between the opcodes that follow.

    NEWOBJ joblib.numpy_pickle.NumpyArrayWrapper, BUILD {subclass, shape, order, dtype, …}, one byte n, n bytes of padding, the elements

As in joblib/numpy_pickle.py (`NumpyArrayWrapper.write_array`). Before joblib 1.2 there is no padding. An array of objects is a pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from ...numbers.shapes import nbytes_of
from . import pickled_arrays
from .object_nodes import Call, Global, Tuple, text_of

if TYPE_CHECKING:
    from .pickle_reader import Unpickler


def read_behind(machine: Unpickler, wrapper: Call) -> None:
    """Turn `wrapper`, which `machine` has just built, into the array that it describes, and pass over its bytes. Raises Malformed."""
    state = wrapper.state()
    if state is None:
        raise Malformed("an array of joblib's without a description")
    shape, dtype, order = state.get("shape"), state.get("dtype"), text_of(state.get("order"))
    element, _ = pickled_arrays.dtype_of(dtype)
    if element.name == "object":
        _become(wrapper, _pickled(machine))
        return
    sizes = pickled_arrays.sizes_of(shape)
    if state.get("numpy_array_alignment_bytes") is not None:
        machine.take(machine.take(1)[0])
    data = machine.bulk(nbytes_of(element, sizes), bytes)
    array = Call(wrapper.opcode, Global("numpy.core.multiarray", "_reconstruct"), Tuple([Global("numpy", "ndarray"), Tuple([0]), b"b"]))
    array.states.append(Tuple([1, Tuple(list(sizes)), dtype, order == "F", data]))
    _become(wrapper, array)


def _pickled(machine: Unpickler) -> Any:
    """The array of objects whose pickle follows."""
    inner = type(machine)(machine.file, machine.at) if hasattr(machine, "file") else type(machine)(machine.data, machine.at)
    root = inner.load()
    machine.at = inner.at
    machine.globals += inner.globals
    return root


def _become(wrapper: Call, array: Any) -> None:
    """Make `wrapper`, to which the memo may refer, the same node as `array`."""
    if type(array) is not Call:
        raise Malformed("an array of joblib's that is none of numpy's")
    for attribute in ("function", "args", "kwargs", "opcode", "path", "states", "items", "pairs"):
        setattr(wrapper, attribute, getattr(array, attribute))
