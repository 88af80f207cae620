"""Completion of command lines: the scripts that shells read, and the answers to what they ask at TAB."""
