"""`python -m ckpt_cli`. The current folder is taken off the import path first, so that a `json.py` beside a model is not imported."""

import os
import sys

try:
    here = os.getcwd()
except OSError:  # the folder was deleted
    here = ""

if sys.path and sys.path[0] in ("", here) and not sys.flags.safe_path:
    del sys.path[0]
    if here and os.path.realpath(here) == os.path.dirname(os.path.dirname(os.path.realpath(__file__))):
        sys.path.append(here)

from ckpt_cli.start import start

start()
