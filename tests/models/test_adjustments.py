"""An edit of every size that a config tells, in every family: the config is what the library writes for the edited model: `make models`.

Each family is built twice on the meta device, with its tiny config and with one entry of it changed. The second one's names and shapes are
what an edit would have made of the first one's.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, Family
from test_contradictions import write

pytestmark = [
    pytest.mark.skipif(os.environ.get("CKPT_TESTS") != "models", reason="`make models` sets up the libraries for it"),
    pytest.mark.filterwarnings("ignore"),
]

_SIZES = (
    "vocab_size num_hidden_layers n_layer num_layers encoder_layers decoder_layers num_decoder_layers max_position_embeddings n_positions "
    "max_source_positions max_target_positions type_vocab_size num_channels in_channels out_channels latent_channels intermediate_size "
    "d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim cross_attention_dim joint_attention_dim num_mel_bins num_local_experts num_experts "
    "n_routed_experts projection_dim image_size num_key_value_heads depths"
)
SIZES = _SIZES.split()
# What shapes tell in no certain way; a note says so. Those of an image are told by other positions than learned ones of patches.
TOLD = {
    ("ast", "num_mel_bins"), ("beit", "image_size"), ("sam", "vision_config.image_size"), ("phi3", "num_key_value_heads"),
    ("sd3", "out_channels"), ("rwkv", "intermediate_size"), ("mamba", "intermediate_size"), ("falcon_mamba", "intermediate_size"),
    ("mixtral", "intermediate_size"), ("gpt_oss", "intermediate_size"),
}  # fmt: skip


def build(family: Family, entries: dict[str, Any]) -> Any:
    """The model of a config, on the meta device."""
    import diffusers
    import torch
    import transformers

    with torch.device("meta"):
        if family.library == "diffusers":
            return getattr(diffusers, family.class_name).from_config(entries)
        model = getattr(transformers, family.class_name)(transformers.AutoConfig.for_model(**copy.deepcopy(entries)))
        model.tie_weights()
        return model


def config_of(family: Family) -> dict[str, Any]:
    """The config as the library writes it."""
    from families import build as built

    model = built(family)
    if family.library == "diffusers":
        return dict(json.loads(model.to_json_string()))
    return dict(json.loads(model.config.to_json_string()))


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.library in ("transformers", "diffusers")])
def test_what_is_built_otherwise_has_that_config(name: str, tmp_path: Path) -> None:
    from ckpt_cli import reading
    from ckpt_cli.analysis.adjustments import adjustments

    family = FAMILIES[name]
    entries = config_of(family)
    source, edited = tmp_path / "model.safetensors", tmp_path / "edited.safetensors"
    (tmp_path / "config.json").write_text(json.dumps(entries))
    try:
        write(build(family, entries), source)
    except Exception as error:
        pytest.skip(f"the library does not take its own config: {error}")
    wrong = {}
    for at in ("", *(key for key, value in entries.items() if isinstance(value, dict) and key.endswith("_config"))):
        for size in SIZES:
            changed = copy.deepcopy(entries)
            holder = changed[at] if at else changed
            if not (new := other(size, holder.get(size))):
                continue
            holder[size] = new
            if "layer_types" in holder and "layers" in size:
                holder["layer_types"] = holder["layer_types"][:new]
            try:
                write(build(family, changed), edited)
            except Exception:  # no such model
                continue
            found = adjustments(reading.open(str(source)), reading.open(str(edited)))
            made = {each.entry: each.new for each in found.made}
            entry = f"{at}.{size}" if at else size
            shapes = [reading.open(str(path)).kinds() for path in (source, edited)]
            alike = {key: kind.facts for key, kind in shapes[0].items()} == {key: kind.facts for key, kind in shapes[1].items()}
            if not alike and made.get(entry) != new and not ((name, entry) in TOLD and not made and found.told):
                wrong[entry] = (made, found.told)
            if alike and made:
                wrong[entry] = (made, "nothing changed")
    assert wrong == {}


def other(size: str, value: Any) -> Any:
    """Another value of an entry: a layer less, a block more in each stage, twice as much of all else; nothing where there is none."""
    if isinstance(value, list) and size == "depths":
        return [each + 1 for each in value]
    if type(value) is not int:
        return None
    return (value - 1 if value > 1 else 0) if "layer" in size else 2 * value
