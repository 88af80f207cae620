"""Weights of other programs, in forms that are not read: what they are, and what turns them into one that is.

From each program's own reader: caffe2.proto and caffe.proto, Darknet's src/parser.c, llama.cpp's tools/imatrix, ggml's magic numbers,
TensorFlow Lite's schema.fbs, Torch7's File.lua.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from
from typing import NamedTuple

from ..errors import UnknownFormat
from ..storage.file import File


class _Program(NamedTuple):
    """What a file is, what to do about it, and whether a file with these first bytes is one."""

    what: str
    mend: str
    fits: Callable[[bytes, File], bool]


def error_of_program(file: File) -> UnknownFormat | None:
    """The error for a file that another program reads; None for any other file."""
    head = file.read(0, min(4096, file.size))
    found = next((program for program in _PROGRAMS if program.fits(head, file)), None)
    return UnknownFormat(f"this is {found.what}, which is not read", found.mend) if found else None


def _is_caffe2(head: bytes, file: File) -> bool:
    """A NetDef: its name, operators that have types; those that hold weights are called GivenTensor…Fill."""
    return head[:1] in (b"\n", b"\x12") and b"\x22" in head and (b"GivenTensor" in head or b"XavierFill" in head)


def _is_caffe(head: bytes, file: File) -> bool:
    """A NetParameter: its name, then layers (field 100, or 2 in the first version)."""
    size = head[1] if len(head) > 1 else 0
    return head[:1] == b"\n" and size < 128 and head[2 + size : 4 + size] == b"\xa2\x06"


def _is_darknet(head: bytes, file: File) -> bool:
    """Version 0.1 to 0.2, then the images seen, then floats; nothing says so but the name."""
    if not file.path.lower().endswith(".weights") or len(head) < 20 or file.size % 4:
        return False
    major, minor, revision = unpack_from("<3i", head)
    return (major, revision < 10) == (0, True) and minor in (1, 2)


def _is_imatrix(head: bytes, file: File) -> bool:
    """A count of entries; the first one: the length of a tensor's name, the name, the calls, a count of floats."""
    if len(head) < 24:
        return False
    entries, length = unpack_from("<2i", head)
    if not 0 < entries < 1 << 20 or not 8 <= length <= 256 or len(head) < 16 + length:
        return False
    name, (calls, values) = head[8 : 8 + length], unpack_from("<2i", head, 8 + length)
    return name.endswith(b".weight") and name.isascii() and calls > 0 and 0 < 4 * values <= file.size


_PROGRAMS = (
    _Program("a net of Caffe2", "make it ONNX with caffe2.python.onnx.frontend, and give that", _is_caffe2),
    _Program("a net of Caffe", "load it with Caffe or OpenCV's dnn, and save its blobs as .npz", _is_caffe),
    _Program("a weights file of Darknet, without names and shapes", "convert it together with its .cfg, to .pt or .onnx", _is_darknet),
    _Program("an importance matrix of llama.cpp from before GGUF", "llama-imatrix --in-file FILE -o FILE.gguf", _is_imatrix),
    _Program(
        "a GGML file from before GGUF",
        "convert it with llama.cpp's convert_llama_ggml_to_gguf.py",
        lambda head, file: head[:4] in (b"lmgg", b"fmgg", b"tjgg", b"algg"),
    ),
    _Program("a TensorFlow Lite model", "give the model that it was made of", lambda head, file: head[4:8] == b"TFL3"),
    _Program(
        "a file of Torch7 (Lua)",
        "load it with the Python package torchfile, and save that with torch.save",
        lambda head, file: head[:15] == b"\4\0\0\0\1\0\0\0\3\0\0\0V 1",
    ),
)
