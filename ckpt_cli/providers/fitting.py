"""What a library says of a model, held against the file: what does not fit a tensor of the file is not told of it."""

from __future__ import annotations

from ..architectures.mismatch import compare
from ..errors import LibraryError
from ..numbers.shapes import show_shape
from ..packing import find
from ..tensors.checkpoint import Checkpoint
from . import Initialisation, Provided


def fitted(provided: Provided, checkpoint: Checkpoint) -> dict[str, Initialisation]:
    """Return how the library initialises each tensor of the file that its model has.

    Of a tensor that has another shape in the model, and of the parts of a packed parameter, nothing is told but why.

    Raises:
        LibraryError: no tensor of the file is in the model.
    """
    known = {name: each for name, each in provided.initialisations().items() if name in checkpoint}
    if not known:
        raise LibraryError(
            f"no tensor of the file is in {provided.model.architecture or 'the model'} of {provided.library}",
            "the config is that of another model",
        )
    mismatch = compare(provided.model, {name: kind.shape for name, kind in checkpoint.kinds().items()})
    for name, ours, theirs in mismatch.mismatched:
        known[name] = Initialisation("", f"the config says {show_shape(ours)}, and the file has {show_shape(theirs)}")
    for part, packed in find(checkpoint).part_of().items():
        known[part] = Initialisation("", f"it is part of a packed parameter ({packed.title}); `ckpt convert --dequantise` makes that plain")
    return known
