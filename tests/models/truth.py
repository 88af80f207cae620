"""What the libraries say of the families in `families.py`: `truth.json.gz`, written by `trace.py` and by nothing else.

`{family: {library, version, class, config, ties, tensors: {name in the file: {shape, layer_type, path, init, rows, buffer, source}}}}`:

- `init` is `["normal", mean, std]`, `["uniform", low, high]`, `["trunc_normal", mean, std, low, high]`, `["constant", value]`,
  `["orthogonal", gain]`, `["fixed"]` (not constant, the same for each seed: sinusoids, A_log) or `["computed"]` (random, by code).
- `rows` are those that are initialised otherwise: `{"0": ["constant", 0.0]}` is a row for padding.
- `path` and `layer_type` are the layer that holds the tensor in the model; `source` is the tensor's name there where the file's differs.
- `config` is the document `config.json`; empty for torchvision.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

TRUTH = Path(__file__).with_name("truth.json.gz")


def load(path: Path = TRUTH) -> dict[str, Any]:
    """Return the truth of every family."""
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def store(path: Path, truth: dict[str, Any]) -> None:
    """Write the truth of every family, the same bytes for the same truth."""
    data = json.dumps(truth, separators=(",", ":"), sort_keys=True).encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
