"""Seeds: each tensor has a generator of its own, so its values depend on the seed and its name, not on order, rules, sharding or workers.

Three lines of Python reproduce any tensor; `ckpt reinit -n` prints the sub-seeds:

    seed = int.from_bytes(hashlib.sha256(b"0:2.weight").digest()[:8], "little") & (2**63 - 1)   # "SEED:NAME"
    tensor = torch.empty(1, 8)
    torch.nn.init.xavier_uniform_(tensor, generator=torch.Generator().manual_seed(seed))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import EditError

if TYPE_CHECKING:
    from torch import Generator


def subseed(seed: int, name: str) -> int:
    """Return the seed of one tensor: the first 8 bytes, little-endian, of the SHA-256 of `SEED:NAME`, without the sign bit."""
    from hashlib import sha256

    digest = sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") & (2**63 - 1)


_ADDRESS_SPACE = 800 << 20  # bytes that importing torch reserves; the process dies where the limit is lower


def import_torch() -> None:
    """Import torch.

    Raises:
        EditError: the process's limit on its address space is so low that the import would kill it.
    """
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit
    except ImportError:  # a system without limits
        limit = unlimited = -1
    else:
        limit, unlimited = getrlimit(RLIMIT_AS)[0], RLIM_INFINITY
    if limit != unlimited and limit < _ADDRESS_SPACE:
        raise EditError(
            "torch draws the numbers, and the limit on addresses (ulimit -v) is too low for it", "allow 800 MB, or use constants"
        )
    import torch  # noqa: F401


def generator(seed: int) -> Generator:
    """Return a torch generator in the state that torch.manual_seed(seed) sets."""
    import_torch()
    from torch import Generator

    return Generator().manual_seed(seed)
