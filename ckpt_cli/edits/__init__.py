"""Edits: functions from a checkpoint to a checkpoint, one file each. Values are not read until the result is written.

Edits of values (`set`, `reinit`) replace storages, so that tied tensors change with them; other edits replace names, ties or dtypes. The
file of an edit also holds its step of a recipe (`steps`); the parts of a large one lie in a folder (`resizing` of `resize`).
"""
