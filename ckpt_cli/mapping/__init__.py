"""Maps: names and layouts carried from one framework to another. A map is rules that are written down, or a pair of conventions.

`axes`: how the axes of a tensor lie, as letters. `rules`: a file of them. `conventions/`: what each framework calls the variables of its
layers, one file each, as data. `layers`: those variables found in a checkpoint. `pairing`: layers of one checkpoint and of another.
No byte moves: a tensor with other axes is a view of the same storage wherever strides can say it.
"""
