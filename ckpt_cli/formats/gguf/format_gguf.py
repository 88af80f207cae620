"""GGUF, the format of llama.cpp: `GGUF`, version, counts, typed key/values, an entry for each tensor, padding, the tensors' data.

Specified in docs/gguf.md of ggml-org/ggml; types, block sizes and limits are those of ggml.h and gguf.cpp. Peculiarities:
- The dimensions `ne` stand in reverse: ne[0] runs fastest. A row of a quantised tensor is a whole number of blocks.
- The data begin at a multiple of `general.alignment` (32 by default), and so does each tensor; they follow each other without a hole.
- Quantised tensors have no plain elements: they are decoded where numbers are asked for, and kept as they are elsewhere.
- Scalars and strings are metadata, arrays (vocabularies) are objects. A file written anew keeps them with their types and order. Metadata
  from other formats are written as strings; `general.architecture`, which every reader needs, is `unknown` where none is given.
- Version 3 may be big-endian: the bytes of plain elements are swapped; quantised tensors are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DTYPES, DType
from ...numbers.shapes import nbytes_of, show_shape
from ...storage.file import File
from ...storage.mapped import swapped
from ...storage.storage import Extent, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Patcher, Savable, Writer, formats

if TYPE_CHECKING:
    from ...disk.layout import FileLayout
    from ...disk.patch import Change, Patch
    from .header import Header, TensorInfo

_DTYPES = {
    0: "float32", 1: "float16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 29: "IQ1_M", 30: "bfloat16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
_CODES = {name: code for code, name in _DTYPES.items()}
_LONGEST_NAME = 64
_MOST_AXES = 4


class Gguf(Writer, Patcher):
    """Files of llama.cpp and of other programs over ggml."""

    name = "gguf"
    title = "GGUF (llama.cpp, ggml)"
    called = "GGUF"
    suffixes = (".gguf",)
    metadata = objects = edits_metadata = True

    def sniff(self, file: File) -> bool:
        """GGUF's magic."""
        return file.head[:4] == b"GGUF"

    def read(self, file: File) -> Checkpoint:
        """The tensors; scalars and strings of the key/values as metadata, arrays as objects."""
        from .header import Header, arrays, metadata

        header = Header(file)
        return Checkpoint(_tensors(header), metadata(header), arrays(header), rest=header, notes=_part_note(header))

    def divided(self, size: int) -> Savable | None:
        """Parts, as llama.cpp's gguf-split makes them."""
        form = formats["gguf-split"]
        return form.divided(size) if isinstance(form, Savable) else None

    def told_of_new(self, checkpoint: Checkpoint, new: str) -> str:
        """That llama.cpp counts the tensors that its architecture has."""
        kind = checkpoint.metadata.get("general.architecture")
        told = f"llama.cpp refuses a file with tensors that its architecture {kind} has no place for: see that it has one for {new}"
        return told if kind else ""

    def new_entry(self, text: str) -> str:
        """A number or a boolean of its type, else a text."""
        from .header_writing import Typed

        return Typed.of(text)

    def objects_to_write(self, checkpoint: Checkpoint) -> Iterable[str]:
        """The arrays that were read from a GGUF file, or from all its parts."""
        from .header import Header

        return checkpoint.objects if isinstance(checkpoint.rest, Header) else ()

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The key/values, the entries of the tensors, their data. Raises CannotHold for a tensor that ggml has no place for."""
        from .header import Header

        header = checkpoint.rest if isinstance(checkpoint.rest, Header) else None
        frame = frame_of(checkpoint)
        write_file(checkpoint, pairs_of(checkpoint), frame, file_layout)
        if header and header.end < header.file.size:  # bytes that no reader knows stay in the file
            file_layout.put(Extent(header.file, header.end, header.file.size - header.end))

    def patch(self, checkpoint: Checkpoint) -> Patch | None:
        """Values written over, and entries of the metadata that keep their length."""
        if checkpoint.origin is None:
            return None
        entries = _changed_entries(checkpoint, checkpoint.origin.read)
        patch = super().patch(checkpoint.replacing(metadata=checkpoint.origin.read.metadata))
        if entries is None or patch is None:
            return None
        return patch._replace(changes=sorted([*entries, *patch.changes], key=lambda change: change.at))


class Frame(NamedTuple):
    """What a file is written in: byte order (`<`, `>`), version of the format, alignment of the data."""

    order: str
    version: int
    alignment: int


def frame_of(checkpoint: Checkpoint) -> Frame:
    """The frame of the file that a checkpoint was read from; of other formats, the usual one."""
    from .header import Header

    header = checkpoint.rest
    return Frame(header.order, header.version, header.alignment) if isinstance(header, Header) else Frame("<", 3, _alignment(checkpoint))


def write_file(tensors: Mapping[str, Tensor], pairs: Sequence[bytes], frame: Frame, file_layout: FileLayout) -> None:
    """Lay out a file: the key/values `pairs`, the entries of the tensors, their data. Raises CannotHold."""
    from .header_writing import encoded_head, encoded_info

    entries, end = _laid_out(tensors, frame.alignment)
    file_layout.write(encoded_head(frame.order, frame.version, len(entries), len(pairs)))
    for piece in (*pairs, *(encoded_info(entry, frame.order) for entry in entries)):
        file_layout.write(piece)
    base = file_layout.at + -file_layout.at % frame.alignment
    for entry, tensor in zip(entries, tensors.values(), strict=True):
        file_layout.write(bytes(base + entry.offset - file_layout.at))
        file_layout.put(_in_order(tensor.elements(), tensor.dtype, frame.order))
    file_layout.write(bytes(base + end - file_layout.at))


def _part_note(header: Header) -> tuple[str, ...]:
    """The note that a file is one of several parts."""
    number, total = (header.value(key) if key in header.values else None for key in ("split.no", "split.count"))
    if type(number) is not int or type(total) is not int or total < 2:
        return ()
    return (f"{header.file.path}: part {number + 1} of {total}; the folder of all parts is the whole model",)


def _changed_entries(checkpoint: Checkpoint, before: Checkpoint) -> list[Change] | None:
    """What changes in the metadata; None where an entry changes its length, or was removed."""
    from ...disk.patch import Change
    from ...storage.storage import Memory

    header: Header = before.rest
    if checkpoint.metadata is before.metadata:
        return []
    if list(checkpoint.metadata) != list(before.metadata):
        return None
    entries = {header.values[key].begin: (header.raw(key), _pair(checkpoint, before, key)) for key in before.metadata}
    if any(len(old) != len(new) for old, new in entries.values()):
        return None
    return [Change(at, Memory(new)) for at, (old, new) in entries.items() if old != new]


def _pair(checkpoint: Checkpoint, before: Checkpoint, key: str) -> bytes:
    """A key and its value as bytes: those in the file, where they were not changed. Raises CannotHold."""
    from .header_writing import with_text

    header: Header = before.rest
    if key not in before.metadata or checkpoint.metadata[key] == before.metadata[key]:
        return header.raw(key)
    if key == "general.alignment":
        raise CannotHold("general.alignment says where the data lie, and they stay there", "leave it as it is")
    return with_text(header, key, checkpoint.metadata[key])


def _tensors(header: Header) -> dict[str, Tensor]:
    """The tensors by name. Raises Malformed where their data do not follow each other, or the file ends within them."""
    tensors: dict[str, Tensor] = {}
    at = end = header.base
    for entry in header.tensors:
        dtype = _dtype(entry, header)
        if entry.name in tensors:
            raise Malformed(f"there are two tensors {entry.name!r}")
        begin = header.base + entry.offset
        if begin != at:
            raise Malformed(f"tensor {entry.name!r} begins at byte {begin:,}, not at {at:,} behind the one before it")
        extent = Extent(header.file, begin, nbytes_of(dtype, entry.shape))
        at, end = begin + -(-extent.nbytes // header.alignment) * header.alignment, begin + extent.nbytes
        tensors[entry.name] = Tensor.whole(dtype, entry.shape, _in_order(extent, dtype, header.order))
    if end > header.file.size and tensors:
        missing = end - header.file.size
        raise Malformed(f"truncated: {missing:,} of {end - header.base:,} bytes of data are missing", "download or copy it again")
    header.end = at
    return tensors


def _dtype(entry: TensorInfo, header: Header) -> DType:
    """The dtype of a tensor. Raises Malformed for a type, or a shape of that type, which ggml does not have."""
    if entry.type not in _DTYPES:
        raise Malformed(f"tensor {entry.name!r}: type {entry.type:,} of ggml is not known")
    dtype = DTYPES[_DTYPES[entry.type]]
    if (entry.shape[-1] if entry.shape else 1) % dtype.elements:
        raise Malformed(f"tensor {entry.name!r}: rows of shape {show_shape(entry.shape)} are no whole blocks of {dtype.name}")
    if header.order == ">" and dtype.elements > 1:
        raise Malformed(f"tensor {entry.name!r}: blocks of {dtype.name} in big-endian order are not read", "take the little-endian file")
    return dtype


def _in_order(storage: Storage, dtype: DType, order: str) -> Storage:
    """A storage from or for a file of byte order `order` (`<`, `>`)."""
    return storage if order == "<" else swapped(storage, dtype.part)


def _alignment(checkpoint: Checkpoint) -> int:
    """The alignment of a file that is written from another format: that in the metadata, if it is a power of two; else 32."""
    text = checkpoint.metadata.get("general.alignment", "")
    alignment = int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0
    return alignment if alignment and not alignment & (alignment - 1) else 32


def pairs_of(checkpoint: Checkpoint) -> list[bytes]:
    """The key/values as bytes: those in the file that they were read from; from other formats, strings."""
    from .header import Header
    from .header_writing import encoded_pair

    header, alignment = checkpoint.rest, frame_of(checkpoint).alignment
    if isinstance(header, Header) and checkpoint.origin:
        before = checkpoint.origin.read
        if alignment != 32 and "general.alignment" not in checkpoint.metadata:
            raise CannotHold("general.alignment says where the data lie, and they stay there", "leave it as it is")
        kept = [_pair(checkpoint, before, key) for key in header.values if key in checkpoint.metadata or key in checkpoint.objects]
        new = [(key, text) for key, text in checkpoint.metadata.items() if key not in header.values]
        return kept + [encoded_pair(key, text, header.order) for key, text in new]
    metadata = {key: value for key, value in checkpoint.metadata.items() if key not in ("format", "general.alignment")}
    texts = {"general.architecture": "unknown"} | metadata
    pairs = [encoded_pair(key, value, "<") for key, value in texts.items()]
    return pairs if alignment == 32 else [*pairs, encoded_pair("general.alignment", alignment, "<")]


def _laid_out(tensors: Mapping[str, Tensor], alignment: int) -> tuple[list[TensorInfo], int]:
    """The entry of each tensor, and the bytes of all data with their padding. Raises CannotHold."""
    from .header import TensorInfo

    at, entries = 0, []
    for name, tensor in tensors.items():
        _check_tensor(name, tensor)
        entries.append(TensorInfo(name, _CODES[tensor.dtype.name], tensor.shape, at))
        at += -(-tensor.nbytes // alignment) * alignment
    return entries, at


def _check_tensor(name: str, tensor: Tensor) -> None:
    """Raise CannotHold where GGUF has no place for a tensor."""
    kind = tensor.layout or tensor.dtype.name
    if tensor.layout or tensor.dtype.name not in _CODES:
        casts = {"f": "--dtype float32", "u": f"ckpt cast … int64 '{name}'", "b": f"ckpt cast … int8 '{name}'"}
        cast = f"cast it: {casts[tensor.dtype.kind]}, or " if tensor.numeric and tensor.dtype.kind in casts else ""
        raise CannotHold(f"GGUF cannot hold {name}, which is {kind}", f"{cast}leave it out: --drop '{name}'")
    if (tensor.shape[-1] if tensor.shape else 1) % tensor.dtype.elements:
        raise CannotHold(f"GGUF cannot hold {name}: its rows are no whole blocks of {kind}", "cast it to float32")
    if len(tensor.shape) > _MOST_AXES:
        raise CannotHold(f"GGUF cannot hold {name}, which has {len(tensor.shape)} dimensions: {_MOST_AXES} at most", "leave it out: --drop")
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise CannotHold("a name that is no valid Unicode has no place in GGUF", "rename it")
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
        raise CannotHold(f"GGUF cannot hold the name {name}, which is longer than {_LONGEST_NAME} bytes", "rename it: --rename OLD=NEW")


formats.add(Gguf.name, Gguf())
