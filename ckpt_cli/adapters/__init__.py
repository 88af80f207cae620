"""Adapters: low-rank changes to a model (LoRA and its kin), read from the files of the programs that train them.

    reading.py        an adapter is read: its naming, its config, its changes
    naming.py         what a naming consists of, and the registry of the namings
    naming_NAME.py    a naming each: how a program calls the tensors of an adapter
    pattern.py        alphas and ranks by patterns, in configs of PEFT
    layer.py          what an adapter keeps for one layer, and the changes that it makes
    forms.py          the forms of change (LoRA, LoHa, LoKr, …): which parts make one, and how
    deltas.py         products of small factors, whose rows are computed as they are needed
    operations.py     what is done to a tensor: add, rescale; decomposed.py: DoRA; replacing.py: take its place
    places.py         the layers of a base, by the paths that adapters call them by
    matching.py       which tensor of the base each change is for
    folding.py        the elements of a tensor with changes in it
    words.py          the layers of a base in the words of other programs: fused_words.py, unet_words.py, experts_words.py,
                      renamed_words.py
    describing.py     what an adapter is, in a line

To add a naming, add a file `naming_NAME.py`. To add a form, add a function to `forms.py`, and a delta where none fits.
"""

from .describing import described
from .reading import Adapter, read

__all__ = ["Adapter", "described", "read"]
