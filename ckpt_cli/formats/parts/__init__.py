"""Sets of files that are one model: the parts that ranks of a training, or a program, wrote."""
