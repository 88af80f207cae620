"""What an adapter is, in a line, for those who look into its file."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import CkptError
from ..tensors.checkpoint import Checkpoint
from .forms import changes
from .layer import Layer
from .naming import Notes, Source, namings
from .reading import config_beside

_SIGNS = ("lora_", ".lora.", "hada_", "lokr_", "ia3_l", "lycoris_")  # some name of an adapter holds one


def described(checkpoint: Checkpoint) -> str:
    """Return what an adapter is: whose names it has, how many layers it changes, ranks and scales; an empty text where it is none."""
    if not any(sign in name for name in checkpoint for sign in _SIGNS):
        return ""
    ranks: set[int] = set()
    scales: set[float] = set()
    try:
        source = Source(checkpoint, config_beside(checkpoint))
        naming = next((naming for naming in namings.built_in() if naming.claims(source)), None)
        if naming is None:
            return ""

        def scale(layer: Layer, rank: int) -> float:
            found = naming.scale(source, layer, rank, Notes())
            ranks.update([rank] if rank else ())
            scales.add(found)
            return found

        layers = naming.layers(source)
        count = sum(1 for layer in layers if any(True for _ in changes(layer, scale)))
    except CkptError:
        return ""
    return f"an adapter in the names of {naming.title}: {count:,} layers, rank {_span(ranks)}, alpha / rank {_span(scales)}"


def _span(values: Iterable[float]) -> str:
    known = sorted(values)
    return "unknown" if not known else f"{known[0]:g}" if known[0] == known[-1] else f"{known[0]:g} to {known[-1]:g}"
