"""Views of storages and their names: tensors, checkpoints, patterns, and the streaming of all their data."""
