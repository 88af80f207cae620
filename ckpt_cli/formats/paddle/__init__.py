"""Paddle's pickles and inference parameters."""
