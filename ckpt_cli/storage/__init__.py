"""Runs of bytes: files, what is made of parts of them, and their checksums."""
