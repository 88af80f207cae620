"""Formats of Keras: .keras, .weights.h5 and .h5."""
