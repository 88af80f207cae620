"""Parts of `add`: what it is asked for, which names are free, and how a new tensor is taken from a file or filled."""
