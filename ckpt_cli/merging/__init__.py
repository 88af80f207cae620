"""Merging: named ways to make one tensor of the same tensor in several checkpoints, a file each."""
