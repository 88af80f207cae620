"""Maps: names and layouts carried from one framework to another. A map is a pair of conventions, or a file of the user's own rules.

    axes.py          how the axes of a tensor lie, as letters
    conventions/     what each framework calls the variables of its layers: data, one file a framework
    convention.py    these files, and the layers that a checkpoint has by one of them
    kinds.py         kinds of layers, and what their variables are made of
    directions.py    recurrent layers that are the two directions of one
    words.py         names of layers, taken apart
    deciding.py      which layer is which, by names alone
    matching.py      which layer is which, by kinds, sizes and names
    variables.py     the variables of a layer, made of those it has elsewhere
    pairing.py       a ready map: layers of one checkpoint as another framework has them
    rules.py         a map of the user's own rules, as its file says them
    ruling.py        what they make of a checkpoint
    parts.py         parts of a tensor, and a tensor of parts
    outcome.py       what either gives
    naming.py        what a framework calls the tensors of an architecture
    sums.py          a tensor that is the sum of others

No byte moves: a tensor with other axes is a view of the same storage wherever strides can express it.
"""
