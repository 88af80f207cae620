"""A process with the libraries of models, which takes orders line by line as JSON: build a tiny model into a folder, or load a folder.

Importing the libraries takes seconds, so that one process answers a whole test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FAMILIES = Path(__file__).parent / "models"


class Loader:
    """The process, as the tests see it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __call__(self, **order: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in order.items()}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)


def built(family: str, folder: str, without: list[str], shards: str | None = None, **config: Any) -> None:
    """Write a model as its library does; `without` entries of its config, which then have their default."""
    import torch
    from families import FAMILIES, Family, build

    library, class_name, sizes = FAMILIES[family]
    torch.manual_seed(0)
    model = build(Family(library, class_name, {key: value for key, value in (sizes | config).items() if key not in without}))
    model.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))


def loaded(folder: str, variant: str | None = None) -> dict[str, Any]:
    """What the library says of a folder: keys that do not fit, the dtype, and whether output and input embeddings are one."""
    document = json.loads(Path(folder, "config.json").read_text())
    if "_class_name" in document:
        import diffusers

        # without this, diffusers raises for a shape that does not fit
        how = {"low_cpu_mem_usage": False, "ignore_mismatched_sizes": True}
        model, info = getattr(diffusers, document["_class_name"]).from_pretrained(folder, output_loading_info=True, **how)
        ends = (None, None)
    else:
        import transformers

        named = getattr(transformers, document["architectures"][0])
        model, info = named.from_pretrained(folder, output_loading_info=True, dtype="auto", ignore_mismatched_sizes=True, variant=variant)
        ends = (model.get_input_embeddings(), head) if (head := model.get_output_embeddings()) else (None, None)
    wrong = sorted(str(key) for keys in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in info[keys])
    return {"wrong": wrong, "dtype": str(model.dtype), "tied": bool(ends[1]) and ends[0].weight is ends[1].weight}


def answer() -> None:
    """Answer orders until there are no more. The libraries print to standard error alone."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        order = json.loads(line)
        try:
            said: Any = loaded(**order) if "family" not in order else built(**{"without": [], **order})
        except Exception as error:
            said = {"wrong": [f"{type(error).__name__}: {error}"[:500]]}
        print(json.dumps(said), file=out, flush=True)


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "USE_HUB_KERNELS": "NO"}
    sys.path.insert(0, str(FAMILIES))
    answer()
