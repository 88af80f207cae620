"""Elements as text: compressed by zlib, in base64."""

from __future__ import annotations

from ..errors import UsageError


def packed(data: bytes) -> str:
    """Return elements as text."""
    from base64 import b64encode
    from zlib import compress

    return b64encode(compress(data, 9)).decode("ascii")


def unpacked(text: str, size: int) -> bytes:
    """Return the elements in a text.

    Args:
        text: the text.
        size: how many bytes they are. No more are decompressed.

    Raises:
        UsageError: the text holds something else.
    """
    from base64 import b64decode
    from binascii import Error
    from zlib import decompressobj, error

    unpacking = decompressobj()
    try:
        data = unpacking.decompress(b64decode(text, validate=True), size + 1)
    except (Error, error, ValueError):
        raise UsageError("the text holds no values", "values are compressed by zlib, in base64") from None
    if len(data) != size or not unpacking.eof:
        raise UsageError(f"the text does not hold the {size} bytes of the tensor", "check the shape and the dtype")
    return data
