"""Seeds: each tensor has a generator of its own, so its values depend on the seed and its name, not on order, rules, sharding or workers.

Three lines of Python reproduce any tensor; `ckpt reinit -n` prints the sub-seeds:

    seed = int.from_bytes(hashlib.sha256(b"0:2.weight").digest()[:8], "little") & (2**63 - 1)   # "SEED:NAME"
    tensor = torch.empty(1, 8)
    torch.nn.init.xavier_uniform_(tensor, generator=torch.Generator().manual_seed(seed))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator


def subseed(seed: int, name: str) -> int:
    """The first 8 bytes, little-endian, of the SHA-256 of `SEED:NAME`, without the sign bit."""
    from hashlib import sha256

    digest = sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") & (2**63 - 1)


def generator(seed: int) -> Generator:
    """torch's generator as torch.manual_seed(seed) sets it."""
    from torch import Generator

    return Generator().manual_seed(seed)
