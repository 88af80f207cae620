"""Random masks: whether an element is kept depends on the seed, the tensor's name, the source and the element's index alone.

Not on blocks, workers or the machine. These lines give the mask of a tensor in full:

    key = int.from_bytes(hashlib.sha256(b"0:0.weight:1").digest()[:16], "little")   # "SEED:NAME:SOURCE", sources counted from 0
    numbers = numpy.random.Philox(key=key).random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
    kept = numbers < int(density * 2**32)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

_IN_A_STEP = 8  # numbers of 32 bits that Philox draws at each value of its counter


def kept(seed: int, name: str, source: int, first: int, count: int, density: float) -> numpy.ndarray[Any, Any]:
    """Return which of the elements [first, first + count) of a tensor are kept.

    Args:
        seed: The seed.
        name: The name of the tensor.
        source: The index of the source, from 0.
        first: The index of the first element.
        count: How many elements.
        density: The probability of each, below 1.

    Returns:
        A bool array of one axis.
    """
    from hashlib import sha256

    from numpy.random import Philox

    key = int.from_bytes(sha256(f"{seed}:{name}:{source}".encode("utf-8", "surrogatepass")).digest()[:16], "little")
    step, skip = divmod(first, _IN_A_STEP)
    numbers = Philox(key=key, counter=step).random_raw((skip + count + 1) // 2).astype("<u8", copy=False).view("<u4")
    answer: numpy.ndarray[Any, Any] = numbers[skip : skip + count] < int(density * 2**32)
    return answer
