"""The real checkpoints that other programs wrote, with what those programs had in memory: records of `$CKPT_CASES/expect`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CASES, Ckpt

from ckpt_cli import reading
from ckpt_cli.tensors.checkpoint import Checkpoint

INDEX = CASES / "expect" / "INDEX.json"


def every_case(*formats: str, matching: Callable[[dict[str, Any]], bool] = lambda record: True) -> pytest.MarkDecorator:
    """Parametrises a test by `record`: each case that is of one of `formats`; it is skipped where there are no cases."""
    records = json.loads(INDEX.read_text()) if INDEX.is_file() else []
    found = [pytest.param(record, id=record["file"]) for record in records if record["format"] in formats and matching(record)]
    missing = pytest.param(None, marks=pytest.mark.skip(reason=f"no real checkpoints at {CASES}: set CKPT_CASES"))
    return pytest.mark.parametrize("record", found or [missing])


def expected(record: dict[str, Any]) -> dict[str, Any]:
    """What is in the case, as the program that wrote it had it in memory."""
    document: dict[str, Any] = json.loads((CASES / "expect" / record["expect"]).read_text())
    return document


def opened(record: dict[str, Any]) -> Checkpoint:
    return reading.open(str(CASES / record["file"]))


def is_as_told(record: dict[str, Any], ckpt: Ckpt, name: Callable[[dict[str, Any]], str] = lambda tensor: str(tensor["name"])) -> None:
    """`ckpt ls` says the names, dtypes and shapes that the record says; the bytes are those that it has the digests of."""
    want = {name(t): (t["dtype"], "x".join(map(str, t["shape"]))) for t in expected(record)["tensors"]}
    found = {row[0]: (re.sub(r" \(\w+\)$", "", row[1]), row[2]) for row in ckpt("ls", CASES / record["file"]).rows}
    assert found == want
    checkpoint = opened(record)
    for tensor in expected(record)["tensors"]:
        if "sha256" in tensor:
            assert hashlib.sha256(checkpoint[name(tensor)].tobytes()).hexdigest() == tensor["sha256"], tensor["name"]
