"""Edits: functions from a checkpoint to a checkpoint, one file each. No byte of data is touched until the result is written.

Value edits (`set`, `reinit`) replace storages, so whatever is tied follows; structure edits replace names, ties or dtypes.
"""
