"""NumPy's .npy and .npz, and pickles of its arrays."""
