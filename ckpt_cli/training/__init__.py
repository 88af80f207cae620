"""Forward and backward through the module whose values a checkpoint holds: gradients, and a few steps of gradient descent.

For small networks: the module is built and run on the CPU, in one thread, in the dtype of the file, and everything is in memory. torch is
imported inside functions.

    network.py     a checkpoint's values in their module, and the module's values in the checkpoint
    inputs.py      what goes into the network
    losses.py      what is made of its output
    gradients.py   one forward and backward pass
    descent.py     steps of stochastic gradient descent
    state.py       the state of a training beside the model, for --resume
    plot.py        its curves
"""
