"""Completion of command lines: what a shell asks with TAB, and what it is answered."""
