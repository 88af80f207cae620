"""The Python interface: what the shell can do, with the same words. `ckpt_cli` has all of it."""
