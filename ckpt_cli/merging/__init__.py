"""Merging: named ways to make one tensor of the same tensor in several checkpoints, a file each.

    method.py           what a method is, what it is told, and the registry
    method_NAME.py      a method each
    merged.py           the storage of a merged tensor: sources read side by side, computed in blocks, each value rounded once
    magnitudes.py       the k-th largest magnitude of a tensor that is read in blocks
    random_masks.py     which elements a seed keeps
    alignment.py        the same tensor in several checkpoints, by its name or by one that it is tied to
    weights.py          weights as text: W,W and PATTERN=W,W
    request.py          what is asked of a merge, checked before a file is opened

A method is one file, `method_NAME.py`, which registers an object of a subclass of `Method`. It is given the values of each source for a
block of elements, and returns the merged ones. What it must know of the whole tensor first, it finds out in `study`.
"""

from .method import How, Method, methods

__all__ = ["How", "Method", "methods"]
