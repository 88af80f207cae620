"""`python -m ckpt_cli`. The current folder is taken off the import path first: a `json.py` lying beside a model is not ours."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()) and not sys.flags.safe_path:
    here = sys.path.pop(0)
    if not os.path.samefile(here or ".", os.path.dirname(os.path.dirname(os.path.abspath(__file__)))):
        here = ""
    if here:
        sys.path.append(here)

from ckpt_cli.cli import run

run()
