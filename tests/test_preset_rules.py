"""Presets by rule, `keep`, presets with arguments, and what presets read in the config beside the file."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, Ckpt
from safetensors.torch import load_file, save_file
from torch.nn import init

from ckpt_cli.errors import CkptError
from ckpt_cli.schemes import Target
from ckpt_cli.schemes.preset_choice import preset_for
from ckpt_cli.schemes.presets import presets
from ckpt_cli.schemes.roles import Role
from ckpt_cli.schemes.rules import parse_preset, parse_rule
from ckpt_cli.schemes.rules_file import read_recipe
from ckpt_cli.schemes.seeds import subseed

RULES = [
    # text, the same as it is written back
    ("encoder.*=preset:bert", "encoder.*=preset:bert"),
    ("a = preset: resnet(zero_init=true)", "a=preset:resnet(zero_init=True)"),
    ("*=preset:bert(0.01, padding=false)", "*=preset:bert(std=0.01, padding=False)"),
    ("re:^(a|b)=c=preset:gpt2()", "re:^(a|b)=c=preset:gpt2"),
    ("@Linear.bias=keep", "@Linear.bias=keep"),
    ("x= keep ", "x=keep"),
]


@pytest.mark.parametrize(("text", "written"), RULES)
def test_rules_read_back(text, written):
    rule = parse_rule(text)
    assert str(rule) == written
    assert parse_rule(written) == rule


def test_rules_in_a_file(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('preset = "bert(std=0.01)"\n[rules]\n"a.*" = "preset:vit(zero_tokens=true)"\n"b" = "keep"\n')
    recipe = read_recipe(str(path))
    assert [str(rule) for rule in recipe.rules] == ["a.*=preset:vit(zero_tokens=True)", "b=keep"]
    assert str(parse_preset(recipe.preset)) == "bert(std=0.01)"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder as the hub has them, with a part that no preset knows."""
    monkeypatch.chdir(tmp_path)
    Path("m").mkdir()
    tensors = {
        "model.embed_tokens.weight": torch.ones(10, 8),
        "model.layers.0.input_layernorm.weight": torch.full((8,), 7.0),
        "model.layers.0.self_attn.q_proj.weight": torch.ones(8, 8),
        "model.layers.0.self_attn.q_proj.bias": torch.ones(8),
        "model.vision_tower.proj.weight": torch.ones(8, 3, 2, 2),
        "model.scale_shift_table": torch.full((6, 8), 3.0),
    }
    save_file(tensors, "m/model.safetensors", {"format": "pt"})
    return tensors


def configured(**entries: object) -> None:
    Path("m/config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], **entries}))


def fresh(name: str, tensor: torch.Tensor, std: float) -> torch.Tensor:
    return init.normal_(torch.empty_like(tensor), 0, std, generator=torch.Generator().manual_seed(subseed(5, name)))


def test_config_gives_the_std_and_the_row_for_padding(model, ckpt):
    configured(initializer_range=0.5, pad_token_id=3, vocab_size=10)
    run = ckpt("reinit", "m", "--preset", "llama", "--seed", 5, "-o", "out.safetensors")
    new, name = load_file("out.safetensors"), "model.embed_tokens.weight"
    want = fresh(name, model[name], 0.5)
    want[3] = 0
    assert torch.equal(new[name], want)
    assert torch.equal(
        new["model.layers.0.self_attn.q_proj.weight"], fresh("model.layers.0.self_attn.q_proj.weight", torch.ones(8, 8), 0.5)
    )
    assert torch.equal(new["model.scale_shift_table"], model["model.scale_shift_table"])
    assert "left as it is" not in run.err
    assert "model.scale_shift_table: preset llama: keep (unknown, neither name nor shape tells)" in run.err


def test_presets_and_keep_by_rule(model, ckpt):
    configured(initializer_range=0.5)
    run = ckpt("reinit", "m", "--preset", "llama", "*.vision_tower.*=preset:pytorch", "*.bias=keep", "*_table=zeros", "--seed", 5, "-n")
    plan = {row[0]: row[1:3] for row in run.rows}
    assert plan["model.vision_tower.proj.weight"] == ["preset pytorch", "uniform(-0.288675, 0.288675)"]
    assert plan["model.embed_tokens.weight"] == ["preset llama", "normal(0, 0.5)"]
    assert "model.layers.0.self_attn.q_proj.bias" not in plan
    assert plan["model.scale_shift_table"] == ["zeros", "constant(0)"]
    kept = ckpt("reinit", "m", "--preset", "gemma(std=0.1)", "--seed", 5, "-n")
    plan = {row[0]: row[1:3] for row in kept.rows}
    assert plan["model.layers.0.input_layernorm.weight"] == ["preset gemma(std=0.1)", "constant(0)"]
    assert plan["model.scale_shift_table"] == ["preset gemma(std=0.1)", "keep"]
    assert "left as it is: model.scale_shift_table" in kept.err


def test_a_recipe_draws_the_same(model, ckpt):
    configured(initializer_range=0.5, pad_token_id=1)
    words = ("reinit", "m", "--preset", "bert(std=0.2)", "*.q_proj.*=preset:auto", "*norm*=keep", "--seed", 5)
    Path("r.toml").write_text(ckpt(*words, "--print-recipe").out)
    ckpt(*words, "-o", "a.safetensors")
    ckpt("apply", "m", "r.toml", "-o", "b.safetensors")
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


ERRORS = [
    # rule, what the one line says
    ("*=preset:bret", "no preset is called 'bret' (did you mean bert"),
    ("*=preset:bert(st=1)", "bert() takes std, padding, not st (did you mean std"),
    ("*=preset:bert(padding=maybe)", "bert() takes True or False for padding, not 'maybe'"),
    ("*=preset:resnet(mode=fan_up)", "resnet() takes fan_in or fan_out for mode, not 'fan_up'"),
    ("*=preset:", "is no rule"),
    ("*=keeep", "no scheme is called 'keeep'"),
    ("nothing=keep", "nothing matches 'nothing'"),
    ("nothing=preset:bert", "nothing matches 'nothing'"),
]


@pytest.mark.parametrize(("rule", "says"), ERRORS)
def test_errors_are_one_line(rule, says, model, ckpt):
    run = ckpt("reinit", "m", rule, "-n", status=2)
    assert says in run.err
    assert len(run.err.splitlines()) == 1


HOSTILE = [{"initializer_range": value} for value in ("0.5", True, None, -1, 1e308, [0.1], {"a": 1}, 10**400)] + [
    {"pad_token_id": value} for value in ("1", True, -1, 10, 10**30, [1], 1.0)
]


@pytest.mark.parametrize("entries", HOSTILE, ids=str)
def test_hostile_configs_change_nothing(entries, model, ckpt):
    configured(**entries, text_config=[], vision_config="x", hidden_size={})
    plan = {row[0]: row[2] for row in ckpt("reinit", "m", "--preset", "auto", "--seed", 5, "-n").rows}
    assert plan["model.embed_tokens.weight"] == "normal(0, 0.02)"


def test_parts_go_by_their_own_config():
    config = {
        "model_type": "llava",
        "vision_config": {"model_type": "clip_vision_model", "initializer_factor": 2.0},
        "text_config": {"model_type": "gemma", "initializer_range": 0.3},
    }
    shapes = {"vision_tower.embeddings.class_embedding": (16,), "language_model.norm.weight": (16,), "language_model.up.weight": (8, 16)}

    def drawn(name, role):
        return str(presets["auto"](Target(name, shapes[name], shapes=shapes, config=config), role))

    assert drawn("vision_tower.embeddings.class_embedding", "token") == "normal(0, 0.5)"
    assert drawn("language_model.norm.weight", "norm_scale") == "constant(0)"
    assert drawn("language_model.up.weight", "linear") == "normal(0, 0.3)"


def test_auto_wants_a_config(model, ckpt):
    run = ckpt("reinit", "m", "--preset", "auto", "-n", status=2)
    assert "no config tells which preset fits" in run.err


FITTING = [
    # entries, family, preset
    ({"model_type": "gpt2"}, "", "gpt2"),
    ({"model_type": "xlm-roberta"}, "", "bert"),
    ({"model_type": "qwen3_moe"}, "", "llama"),
    ({"model_type": "gemma3_text"}, "", "gemma"),
    ({"_class_name": "UNet2DConditionModel"}, "", "pytorch"),
    ({"architecture": "vit_tiny_patch16_224"}, "", "timm_vit"),
    ({"general.architecture": "gemma2"}, "", "llama"),
    ({"general.architecture": "t5"}, "", "t5"),
    ({}, "resnet", "resnet"),
    ({}, "llama", "llama"),
    ({}, "", ""),
    ({"model_type": ["bert"]}, "", ""),
]


@pytest.mark.parametrize(("entries", "family", "preset"), FITTING, ids=str)
def test_the_preset_that_fits(entries, family, preset):
    assert preset_for(entries, family) == preset


@pytest.mark.parametrize("family", ["t5", "clip", "vit", "mamba", "whisper", "wav2vec2", "convnext", "unet"])
def test_every_fitting_preset_is_known(family):
    fitting = preset_for({}, family)
    assert not fitting or parse_preset(fitting)


def test_fitting_presets_parse():
    from ckpt_cli.schemes import preset_choice

    for _, preset in (*preset_choice._FITTING, *preset_choice._FITTING_TIMM):
        parse_preset(preset)


def test_mamba_keeps_its_mathematics():
    """A is −1 … −N, D is 1, and softplus of the bias of Δ lies between dt_min and dt_max."""
    from ckpt_cli.schemes.sampling import blocks
    from ckpt_cli.schemes.seeds import generator

    def drawn(leaf, shape, role):
        target = Target(f"layers.0.mixer.{leaf}", shape, config={"time_step_min": 0.01, "time_step_max": 0.2})
        answer = presets["mamba"](target, role)
        assert answer is not None
        return torch.frombuffer(bytearray(b"".join(blocks(answer, "float32", shape, generator(1)))), dtype=torch.float32).reshape(shape)

    assert torch.equal(drawn("A_log", (6, 4), "state_space"), torch.log(torch.arange(1.0, 5.0)).expand(6, 4))
    assert drawn("D", (6,), "state_space").unique().tolist() == [1]
    steps = torch.nn.functional.softplus(drawn("dt_proj.bias", (4096,), "bias"))
    assert 0.0099 < steps.min() < 0.0102
    assert 0.19 < steps.max() < 0.2001
    assert steps.log().mean().item() == pytest.approx((torch.tensor([0.01, 0.2]).log().mean()).item(), abs=0.05)


@pytest.mark.parametrize("preset", sorted(set(presets) - {"own", "auto"}))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (4, 0), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_no_preset_fails_on_odd_shapes(preset, shape):
    """A role that a name tells may have any shape; an answer, None or one error that names the tensor."""
    names = ("x.weight", "layers.0.self_attn.q_proj.weight", "blocks.1.mlp.fc2.weight", "encoder.dt_proj.weight", "h.0.c_proj.bias")
    for role, name in product(Role, names):
        try:
            presets[preset](Target(name, shape, shapes={name: shape}), role)
        except CkptError as error:
            assert role in ("recurrent", "recurrent_input"), error


@pytest.mark.parametrize("call", ["own", "keras", "own()"])
def test_a_preset_in_place_of_a_scheme_is_told(call: str, ckpt: Ckpt) -> None:
    assert f"(a preset is: write preset:{call})" in ckpt("reinit", SAMPLES / "mlp.pt", f"*={call}", "-n", status=2).err
