"""safetensors: an 8-byte little-endian length, a JSON header of that many bytes, then the tensors' data, tiled without a hole.

    {"__metadata__": {"format": "pt"}, "NAME": {"dtype": "F32", "shape": [8, 4], "data_offsets": [0, 128]}, …}

Specified in the README of huggingface/safetensors. Peculiarities:
- Every order of names and offsets is valid. Written: names in the checkpoint's order, wide elements first in the data, all aligned.
- There are no ties. As `safetensors.torch.save_model` does, a dropped name is an entry of `__metadata__` that points to the kept one.
- MLX writes `"__metadata__":null` where it has no metadata.
- F4, F6: the shape counts values, of which two or four share bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...errors import CannotHold, Malformed
from ...numbers.dtypes import DTYPES
from ...numbers.shapes import show_shape
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint, Kind, Lazy
from ...tensors.tensor import Tensor
from .. import Patcher, Writer, formats
from ..encodings import strict_json
from .header import Header, Unusual, scan

if TYPE_CHECKING:
    from ...disk.layout import FileLayout

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn",
}  # fmt: skip
_KNOWN = {code: DTYPES[name] for code, name in _DTYPES.items()}
_CODES = {name: code for code, name in _DTYPES.items()}
_MOST_HEADER = 100_000_000
_MOST = 1 << 63


class Safetensors(Writer, Patcher):
    """Files of one header and tensors without a hole between them."""

    name = "safetensors"
    title = "Hugging Face safetensors"
    suffixes = (".safetensors",)
    ties = metadata = edits_metadata = True
    model_names = ("model.safetensors", "diffusion_pytorch_model.safetensors")
    adapter_names = ("adapter_model.safetensors",)

    def sniff(self, file: File) -> bool:
        """A length of less than 2^32, and a brace behind it."""
        length = int.from_bytes(file.head[:8], "little")  # 2^32 and more is the magic number of another format: GGUF's
        return file.size >= 8 and file.head[8:9] == b"{" and length < 2**32

    def read(self, file: File) -> Checkpoint:
        """The tensors in the order of the header. A key of the metadata whose value is a tensor's name is a name that is tied to it."""
        length = int.from_bytes(file.head[:8], "little")
        if length > _MOST_HEADER:
            raise Malformed(f"the header says it has {length:,} bytes; the format allows {_MOST_HEADER:,}")
        if 8 + length > file.size:
            raise Malformed(f"truncated: {8 + length - file.size:,} bytes of the header are missing", "download or copy it again")
        try:
            header = scan(file, length, _kind)
        except Unusual:
            header = _strictly(strict_json.loads(file.read(8, length)))
        metadata = _metadata(header.metadata)
        _check_tiling(header, file.size - 8 - length)
        kinds = header.kinds
        aliases = {name: kept for name, kept in sorted(metadata.items()) if name != "format" and name not in kinds and kept in kinds}
        tensors = Entries(file, 8 + length, header, aliases)
        return Checkpoint(tensors, {key: value for key, value in metadata.items() if key not in aliases})

    def write(self, checkpoint: Checkpoint, file_layout: FileLayout) -> None:
        """The header, then each storage once. Raises CannotHold for a dtype or a name that the header has no place for."""
        kept = checkpoint.distinct()
        metadata = dict(checkpoint.metadata)
        if checkpoint.origin and checkpoint.origin.format.startswith(("torch", "dcp")):
            metadata.setdefault("format", "pt")  # transformers opens no file without it
        clash = next((name for name in checkpoint.tied_to() if name in metadata), None)
        if clash is not None:
            raise CannotHold(f"the tied name {clash!r} is a key of the metadata, too", "rename it")
        metadata |= checkpoint.tied_to()
        file_layout.write(_header(kept, metadata))
        for tensor in _in_data_order(kept):
            file_layout.put(tensor.elements())


def _metadata(found: Any) -> dict[str, str]:
    if found is None:  # there is none, or MLX's null
        return {}
    if type(found) is not dict or any(type(value) is not str for value in found.values()):
        raise Malformed("__metadata__ is not a JSON object of strings")
    return found


class Entries(Lazy):
    """The tensors of one file, made when they are asked for.

    Args:
        file: The file.
        base: The byte at which the data begin.
        header: What the header says of each tensor.
        aliases: Tied names, and the name under which the tensor is in the file.
    """

    def __init__(self, file: File, base: int, header: Header, aliases: dict[str, str]) -> None:
        tied = {*aliases, *aliases.values()}
        kinds = header.kinds | {name: header.kinds[kept] for name, kept in aliases.items()} if aliases else header.kinds
        super().__init__(kinds, [name for name in kinds if name in tied] if tied else ())
        self.file, self.base, self.header, self.aliases = file, base, header, aliases

    def make(self, name: str) -> Tensor:
        """The tensor of a name; for a tied name, that of the name that it is tied to."""
        if name in self.aliases:
            return self[self.aliases[name]]
        kind = self.kinds[name]
        return Tensor.whole(kind.dtype, kind.shape, Extent(self.file, self.base + self._begins[name], kind.nbytes))

    @cached_property
    def _begins(self) -> dict[str, int]:
        return dict(zip(self.header.kinds, self.header.begins, strict=True))


def _kind(code: str, shape: tuple[int, ...]) -> Kind | None:
    dtype = _KNOWN.get(code)
    kind = Kind(dtype, shape) if dtype and len(shape) <= 64 else None
    return kind if kind and kind.numel % kind.dtype.elements == 0 else None


def _strictly(document: Any) -> Header:
    """The header of a file that no common library wrote: each entry is verified by itself, so that the error says what is wrong in it."""
    if type(document) is not dict:
        raise Malformed("the header is no JSON object")
    header = Header(_kind)
    header.end, header.metadata = None, _metadata(document.pop("__metadata__", {}))
    for name, entry in document.items():
        try:
            dtype, shape, (begin, end) = _KNOWN[entry["dtype"]], entry["shape"], entry["data_offsets"]
            if type(begin) is not int or type(end) is not int or not 0 <= begin <= end < _MOST:
                raise Malformed("data_offsets are not two ordered integers")
            if type(shape) is not list or len(shape) > 64 or any(type(n) is not int or not 0 <= n < _MOST for n in shape):
                raise Malformed("the shape is no list of integers ≥ 0")
            kind = header.kinds[name] = Kind(dtype, tuple(shape))
            if kind.numel % dtype.elements:
                raise Malformed(f"shape {show_shape(kind.shape)} of {dtype.name} ends within a byte")
            if kind.nbytes != end - begin:
                raise Malformed(f"shape {show_shape(kind.shape)} of {dtype.name} takes {kind.nbytes:,} bytes, the data has {end - begin:,}")
            header.begins.append(begin)
        except Malformed as error:
            raise Malformed(f"tensor {name!r}: {error.what}") from None
        except (KeyError, TypeError, ValueError):
            raise Malformed(f"tensor {name!r}: {_what_is_wrong(entry)}") from None
    return header


def _what_is_wrong(entry: Any) -> str:
    if type(entry) is not dict:
        return "its entry is no JSON object"
    missing = [key for key in ("dtype", "shape", "data_offsets") if key not in entry]
    if missing:
        return f"{missing[0]} is missing"
    if entry["dtype"] not in _DTYPES if type(entry["dtype"]) is str else True:
        return f"dtype {entry['dtype']!r} is not known"
    return "its shape or data_offsets are not lists of integers"


def _check_tiling(header: Header, size: int) -> None:
    """Raise Malformed unless the tensors follow each other without hole or overlap, and fill the `size` bytes of data."""
    at = header.end or 0
    if header.end is None:
        places = ((begin, begin + kind.nbytes) for begin, kind in zip(header.begins, header.kinds.values(), strict=True))
        for begin, end in sorted(places):
            if begin != at:
                raise Malformed(f"the data have {'an overlap' if begin < at else 'a hole'} at byte {min(begin, at):,}")
            at = end
    if at > size:
        raise Malformed(f"truncated: {at - size:,} of {at:,} bytes of data are missing", "download or copy it again")
    if at < size:
        raise Malformed(f"{size - at:,} bytes stand after the last tensor")


def _in_data_order(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Widest elements first, so that all are aligned; elements of three bytes (F6) count as single bytes."""
    return sorted(tensors.values(), key=lambda tensor: -tensor.dtype.nbytes if tensor.dtype.nbytes != 3 else -1)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The length and the JSON, padded with spaces to a multiple of 8 bytes. Raises CannotHold for a dtype or a name without a place."""
    import json

    at, begins = 0, {}
    for tensor in _in_data_order(tensors):
        begins[id(tensor)] = at
        at += tensor.nbytes
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    for name, tensor in tensors.items():
        if tensor.layout or tensor.dtype.name not in _CODES:
            from ...numbers.quantised import way_out

            kind = tensor.layout or tensor.dtype.name
            raise CannotHold(f"safetensors cannot hold {name}, which is {kind}", way_out(tensor.dtype, name))
        if tensor.numel % tensor.dtype.elements:
            raise CannotHold(f"safetensors cannot hold {name}: its last byte is not full", f"leave it out: --drop '{name}'")
        if name == "__metadata__":
            raise CannotHold("safetensors cannot hold a tensor called __metadata__", "rename it")
        begin = begins[id(tensor)]
        offsets = [begin, begin + tensor.nbytes]
        header[name] = {"dtype": _CODES[tensor.dtype.name], "shape": list(tensor.shape), "data_offsets": offsets}
    try:
        raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise CannotHold("a name that is no valid Unicode has no place in safetensors", "rename it") from None
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


formats.add(Safetensors.name, Safetensors())
