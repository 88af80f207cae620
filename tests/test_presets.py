"""Presets, against what the libraries draw: `tests/models/truth.json.gz` has each tensor's initialisation in 100 families.

`python tests/test_presets.py` prints the best preset of each family, and what it draws otherwise.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
from conftest import WHOLE
from test_roles import families, needs_truth, targets

from ckpt_cli.architectures import architectures
from ckpt_cli.architectures.family import Family
from ckpt_cli.errors import CkptError
from ckpt_cli.schemes import Target
from ckpt_cli.schemes.distribution import Constant, InPlace, Normal, Rows, Uniform
from ckpt_cli.schemes.preset_choice import preset_for, preset_without_config
from ckpt_cli.schemes.presets import presets
from ckpt_cli.schemes.roles import Role, role_of
from ckpt_cli.schemes.rules import parse_preset
from ckpt_cli.schemes.target import layout_of

# Arguments that some families want.
VARIANTS = (
    "bert(padding=false)",
    "wav2vec2(zero_bias=true)",
    "vit(zero_tokens=true)",
    "resnet(zero_init=true)",
    "resnet(linear_std=0.01, zero_bias=true)",
    "resnet(mode=fan_in, distribution=uniform, zero_bias=true)",
    "convnext(layer_scale=1e-5)",
    "resnet(mode=fan_in, nonlinearity=linear, linear_std=0.01, zero_bias=true, zero_init=true)",
    "timm_vit(token=0.02, layer_scale=0.1, rescale=true)",
    "pytorch(layer_scale=1e-6)",
)
FEWEST = 0.95


def described(drawn: object) -> tuple[Any, ...]:
    """A distribution in the words of the truth, without its rows."""
    if isinstance(drawn, Constant):
        return ("constant", float(drawn.value.real))
    if isinstance(drawn, Normal):
        return ("normal", drawn.mean, drawn.std)
    if isinstance(drawn, Uniform):
        return ("uniform", drawn.low, drawn.high)
    if isinstance(drawn, InPlace) and drawn.text.startswith(("trunc_normal(", "orthogonal(")):
        kind, _, arguments = drawn.text.partition("(")
        return (kind, *map(float, arguments.removesuffix(")").split(", ")))
    return (str(drawn),)


def same(drawn: object, facts: dict[str, Any]) -> bool:
    """Whether a distribution is the one that the library draws from. A cut beyond four σ changes the moments by less than a thousandth."""
    rows = {}
    if isinstance(drawn, Rows):
        rows, drawn = {str(row): described(each) for row, each in drawn.rows.items()}, drawn.base
    if rows != {row: tuple(each) for row, each in facts.get("rows", {}).items()}:
        return False
    ours, theirs = (without_far_cuts(each) for each in (described(drawn), tuple(facts["init"])))
    return ours[0] == theirs[0] and len(ours) == len(theirs) and all(map(close, ours[1:], theirs[1:]))


def without_far_cuts(one: tuple[Any, ...]) -> tuple[Any, ...]:
    if one[0] == "trunc_normal" and min(one[1] - one[3], one[4] - one[1]) >= 4 * one[2]:
        return ("normal", one[1], one[2])
    return one


def close(one: float, two: float) -> bool:
    return math.isclose(one, two, rel_tol=1e-3, abs_tol=1e-12)


@cache
def roles(name: str) -> list[tuple[Target, Role, dict[str, Any]]]:
    """The tensors of a family that have a named distribution, with their roles by name and shape."""
    known = [(t, facts) for t, facts in targets(families()[name]) if facts["init"][0] not in ("computed", "fixed", "unknown")]
    return [(t._replace(layout=layout_of(t)), role_of(t).role, facts) for t, facts in known]


def drawn_otherwise(family: str, preset: str) -> tuple[list[tuple[str, Any, str]], int]:
    """The tensors whose named distribution a preset does not draw, with the truth and what it draws; and how many have one."""
    call, wrong = parse_preset(preset), []
    for target, role, facts in roles(family):
        try:
            drawn = call.distribution(target, role)
        except CkptError as error:
            drawn = error
        if not same(drawn, facts):
            wrong.append((target.name, facts["init"], str(drawn)))
    return wrong, len(roles(family))


def best(family: str) -> tuple[str, list[tuple[str, Any, str]], int]:
    """The preset that draws most of a family's tensors right, what it draws otherwise, and how many tensors there are."""
    found: tuple[str, list[tuple[str, Any, str]], int] | None = None
    for preset in ("auto", *VARIANTS, *(set(presets) - {"auto", "own"})):
        answer = drawn_otherwise(family, preset)
        if found is None or len(answer[0]) < len(found[1]):
            found = preset, *answer
        if not found[1]:
            break
    assert found
    return found


@needs_truth
def test_the_best_preset_of_each_family():
    found = {name: best(name) for name in list(families())[:: 1 if WHOLE else 3]}
    poor = {name: (preset, wrong[:3]) for name, (preset, wrong, count) in found.items() if len(wrong) > (1 - FEWEST) * count}
    assert not poor


@needs_truth
def test_auto_is_the_best_preset_where_a_config_names_the_family():
    poor = {}
    for name in (name for name, family in families().items() if family["config"]):
        wrong, count = drawn_otherwise(name, "auto")
        if len(wrong) > (1 - FEWEST) * count:
            poor[name] = wrong[:3]
    assert not poor


@needs_truth
def test_what_is_computed_is_left_as_it_is():
    auto, tables = parse_preset("auto"), []
    for name, family in families().items():
        for target, facts in targets(family):
            if family["config"] and facts["init"][0] == "fixed" and facts["layer_type"].endswith(("Embedding", "PatchEmbed")):
                tables.append((name, target.name))
                assert role_of(target).role == Role.COMPUTED, target.name
                assert auto.distribution(target, Role.EMBEDDING) is None or name == "sd3", target.name
                assert auto.distribution(target, role_of(target).role) is None, target.name
    assert {"whisper", "pegasus", "sd3"} == {name for name, _ in tables}


@needs_truth
@pytest.mark.parametrize("name", ["timm_nfnet", "hubert", "wav2vec2", "timm_resnet", "timm_resnet18"])
def test_auto_draws_every_tensor_as_the_library(name):
    assert drawn_otherwise(name, "auto") == ([], len(roles(name)))


@pytest.mark.parametrize("name", [name for name in architectures if isinstance(architectures[name], Family)])
def test_a_family_has_a_preset_without_a_config(name):
    found = preset_without_config({}, name, architectures[name].preset)
    assert parse_preset(found).preset.name in presets and found == (preset_for({}, name) or architectures[name].preset)


def test_a_config_goes_before_the_family_in_the_choice_of_a_preset():
    assert preset_without_config({"model_type": "gpt2"}, "llama", "llama") == "gpt2"
    assert preset_without_config({}, "llama", "llama") == "llama"
    assert preset_without_config({}, "albert", "bert") == "bert"
    assert preset_without_config({}, "", "bert") == preset_without_config({}, "", "") == ""


LEARNED = [
    ("whisper", "model.decoder.embed_positions.weight", {}, False),
    ("whisper", "model.encoder.embed_positions.weight", {}, True),
    ("bart", "model.encoder.embed_positions.weight", {}, False),
    ("marian", "model.decoder.embed_positions.weight", {}, True),
    ("distilbert", "distilbert.embeddings.position_embeddings.weight", {}, False),
    ("distilbert", "distilbert.embeddings.position_embeddings.weight", {"sinusoidal_pos_embds": True}, True),
    ("vit_mae", "vit.embeddings.position_embeddings", {}, True),
    ("vit", "vit.embeddings.position_embeddings", {}, False),
]


@pytest.mark.parametrize(("model_type", "name", "entries", "computed"), LEARNED)
def test_positions_are_computed_where_the_model_type_says_so(model_type, name, entries, computed):
    target = Target(name, (9, 8), config={"model_type": model_type, **entries})
    found = role_of(target)
    assert (found.role == Role.COMPUTED) == computed == (parse_preset("auto").distribution(target, found.role) is None)


if __name__ == "__main__":
    for name in families():
        preset, wrong, count = best(name)
        print(f"{name:28}{preset:44}{1 - len(wrong) / count:8.1%} of {count:4}  {wrong[:2] or ''}")
