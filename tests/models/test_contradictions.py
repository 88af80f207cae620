"""No family of transformers contradicts its own config: each is built on the meta device as its config has it by default: `make models`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Ckpt

pytestmark = [
    pytest.mark.skipif(os.environ.get("CKPT_TESTS") != "models", reason="`make models` sets up the libraries for it"),
    pytest.mark.filterwarnings("ignore"),
]

# Classes that share no tensor where their config says so.
SAID = {"BigBirdPegasusForCausalLM", "LukeForMaskedLM"}


def classes() -> list[tuple[str, str]]:
    """A family, and a class of it: one with an output head where there is one."""
    try:
        from transformers import CONFIG_MAPPING
        from transformers.models.auto import modeling_auto as auto
    except ImportError:
        return []
    names = ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MASKED_LM")
    tables = [getattr(auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {}) for name in names] + [auto.MODEL_MAPPING_NAMES]
    found = {family: next((table[family] for table in tables if family in table), None) for family in CONFIG_MAPPING}
    return [(family, named if isinstance(named, str) else named[0]) for family, named in found.items() if named]


def write(model: Any, path: Path) -> None:
    """A file of the names, shapes and dtypes of a model: all of it is a hole. What is tied is in it once, as save_pretrained writes it."""
    header: dict[str, Any] = {}
    end, seen = 0, set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end := end + 4 * tensor.numel()]}
        seen.add(id(tensor))
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    os.truncate(path, 8 + len(raw) + end)


@pytest.mark.parametrize(("family", "named"), classes() if os.environ.get("CKPT_TESTS") == "models" else [])
def test_its_own_config_is_not_contradicted(family: str, named: str, tmp_path: Path, ckpt: Ckpt) -> None:
    import torch
    import transformers

    try:
        config = transformers.CONFIG_MAPPING[family]()
        with torch.device("meta"):
            model = getattr(transformers, named)(config)
        model.tie_weights()
    except Exception as error:  # a family that needs another library, or has no defaults that build
        pytest.skip(f"{named}: {error}")
    config.architectures, config.dtype = [named], "float32"
    (tmp_path / "config.json").write_text(config.to_json_string(use_diff=True))
    write(model, tmp_path / "model.safetensors")
    document = ckpt("summary", tmp_path, "--json").json
    assert document["config"]["class"] == named
    assert [each["entry"] for each in document["contradictions"]] == ["tie_word_embeddings"] * (named in SAID)
