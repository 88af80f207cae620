"""Files after public bug reports (`reports/` of the real checkpoints): every folder there is used by a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CASES

REPORTS = CASES / "reports"
MADE = {"few-open-files", "many-names"}  # programs that make large inputs: test_index.py and test_safetensors.py make theirs


@pytest.mark.skipif(not REPORTS.is_dir(), reason=f"no reports at {REPORTS}: set CKPT_CASES")
def test_every_report_has_a_test() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py") if path != Path(__file__))
    folders = {path.name for path in REPORTS.iterdir() if path.is_dir()}
    assert {name for name in folders if name not in sources} <= MADE
