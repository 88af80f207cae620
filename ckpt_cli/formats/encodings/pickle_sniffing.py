"""What a pickle that is a file of its own holds, by its first bytes and its last: arrays and tensors, or those of Paddle."""

from __future__ import annotations

from ...storage.file import File

# How a pickle begins: its protocol, or what protocols 0 and 1 have there, a container or a class.
_BEGINS = rb"\x80[\x02-\x05]|\((?:[dl]p\d|[(c])|[}\]][q(]|c(?:numpy|collections|copy_reg|_codecs|__builtin__|torch|jax)"
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how the files of torch before 1.6 begin, behind the protocol
_BEGINNING = 1 << 16  # bytes: a pickle that names numpy later than that is not recognised
_TAIL = 1 << 20  # bytes
_PADDLE_TABLE = b"StructuredToParameterName@@"
_PADDLE_CALLS = rb"builtins(?:\x94|q.|r.{4})?\x8c\x05tuple|c(?:builtins|__builtin__)\n(?:tuple|eval)\n|builtins\x94?\x8c\x04eval"


def is_compressed(file: File) -> bool:
    """Whether the file begins as one that joblib compressed: with zlib, gzip, bzip2, xz or LZMA (`compressed_pickle`)."""
    return file.head.startswith((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0"))


def is_array_pickle(file: File) -> bool:
    """Whether the file is a pickle that names numpy, torch or JAX early on, and is not what torch.save wrote."""
    head = file.head
    if is_compressed(file):
        head = _beginning(file)
    if head[:1] not in (b"\x80", b"(", b"}", b"]", b"c") or _TORCH_MAGIC in head[:32]:
        return False
    import re  # most files are recognised without

    return re.match(_BEGINS, head) is not None and re.search(rb"numpy|c?torch[.\n]|jax", _beginning(file)) is not None


def is_paddle_pickle(file: File) -> bool:
    """Whether a pickle of arrays is Paddle's: the table of names at the end of a state dict, or tensors as calls of tuple or eval."""
    import re

    if re.search(_PADDLE_CALLS, _beginning(file), re.DOTALL) or _PADDLE_TABLE in _beginning(file):
        return True
    count = min(_TAIL, file.size)
    return _PADDLE_TABLE in file.read(file.size - count, count)


def _beginning(file: File) -> bytes:
    found: bytes = file.fact("beginning", _find_beginning)
    return found


def _find_beginning(file: File) -> bytes:
    if not is_compressed(file):
        return file.read(0, min(_BEGINNING, file.size))
    from .compressed_pickle import beginning

    return beginning(file, _BEGINNING)
