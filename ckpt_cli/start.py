"""Where the program begins: Ctrl-C while it is still being imported ends it quietly, too."""

from __future__ import annotations

import os


def start() -> None:
    """The `ckpt` program."""
    try:
        from .cli import run

        run()
    except KeyboardInterrupt:  # there is nothing to clean up yet, or no longer
        os._exit(130)
