"""examples/surgery: its Makefile makes each edit by one command and by a recipe, and the models' own libraries load the results."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES, WHOLE

EXAMPLES = SAMPLES.parent / "examples/surgery"


@pytest.mark.skipif(not WHOLE, reason="`make test-all` builds the models of examples/surgery")
@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_examples_make_models_that_their_libraries_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("transformers", "diffusers", "safetensors"):
        pytest.importorskip(library)
    shutil.copytree(EXAMPLES, tmp_path / "surgery")
    monkeypatch.chdir(tmp_path / "surgery")
    runpy.run_path("models.py")["build"](Path("build"))  # in this process, as the check below: to import the libraries takes seconds
    Path("build/ready").touch()
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["make", "-j2", "edits", f"CKPT={bin_folder}/ckpt", f"PYTHON={sys.executable}"],
        capture_output=True,
        text=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runpy.run_path("verify.py")["verify"]()
