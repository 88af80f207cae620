"""Forward and backward through the module that a checkpoint holds the values of: gradients, and a few steps of descent, watched.

For small networks: the module is built and run on the CPU, in one thread, in the dtype of the file, and everything is in memory. torch is
imported inside functions.
"""
