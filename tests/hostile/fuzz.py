"""Coverage-guided fuzzing of every reader: `make fuzz`. What is found is kept as crash-… in the folder that is named at the end.

A worker of atheris (libFuzzer) reads what it makes of the good samples: opened by the format that claims it, then listed and read as far
as a megabyte. Anything but a checkpoint or an error of ours, or more than 20 s or 4 GB, ends it. Formats come by the registry.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["ckpt_cli"]):
    from ckpt_cli import reading
    from ckpt_cli.errors import CkptError
    from ckpt_cli.formats import formats
    from ckpt_cli.show.escape import escape

    list(formats)

SAMPLES = Path(__file__).resolve().parents[2] / "sample_models"
PLACE = Path(tempfile.mkdtemp(prefix="ckpt-fuzz-"))
MOST = 1 << 20


def one(data: bytes) -> None:
    """An answer or an error of ours."""
    path = PLACE / "a.index.json" if data[:1] == b"{" else PLACE / "a.pt"
    path.write_bytes(data)
    try:
        found = reading.open(str(path))
        for name, tensor in found.items():
            assert escape(name).isprintable() or not name.isascii()
            if tensor.nbytes <= MOST and not tensor.layout:
                bytes(tensor.elements().read())
    except CkptError as error:
        assert str(error)


def main() -> None:
    corpus = PLACE / "corpus"
    corpus.mkdir()
    for sample in SAMPLES.iterdir():
        if sample.is_file() and sample.suffix != ".py":
            shutil.copy(sample, corpus)
    seconds = next((arg for arg in sys.argv[1:] if arg.isdigit()), "60")
    options: list[Any] = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=8192", "-print_final_stats=1", f"-artifact_prefix={PLACE}/"]
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", *options, str(corpus)], one)
    print(f"what is found is kept in {PLACE}", flush=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
