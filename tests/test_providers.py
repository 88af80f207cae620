"""The libraries of models: names, layers, ties and initialisation of what a config names, and what a stranger's config may not do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import CASES, SAMPLES, Ckpt

from ckpt_cli import reading
from ckpt_cli.architectures.mismatch import compare
from ckpt_cli.configs import Config, config_at
from ckpt_cli.errors import LibraryError
from ckpt_cli.providers import Provided, bounds, providers

pytestmark = pytest.mark.skipif(not (find_spec("transformers") and find_spec("diffusers")), reason="needs transformers and diffusers")

BERT = SAMPLES / "bert"
REAL = sorted(path.parent for path in [*CASES.glob("hf4/*/config.json"), *CASES.glob("hf5/*/config.json")])
Tensors = dict[str, torch.Tensor]


def asked(folder: Path) -> tuple[Provided, dict[str, tuple[int, ...]]]:
    """What the library says of a folder, and the shapes in it."""
    config = config_at(str(folder / "config.json"))
    shapes = {name: kind.shape for name, kind in reading.open(str(folder)).kinds().items()}
    return providers[config.library].provide(config, shapes), shapes


def built(folder: Path) -> Any:
    """The model, as the library itself builds it from the config."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    return getattr(transformers, config.architectures[0])(config)


def altered(folder: Path, tmp_path: Path, **entries: object) -> Path:
    """A copy of a folder with other entries in its config; None takes one out."""
    copy = Path(shutil.copytree(folder, tmp_path / "altered"))
    config = json.loads((copy / "config.json").read_text()) | entries
    (copy / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return copy


@pytest.mark.parametrize("folder", [BERT, *REAL], ids=lambda folder: folder.name)
def test_names_and_shapes_are_those_of_the_file(folder: Path) -> None:
    provided, shapes = asked(folder)
    assert provided.notes == () and not compare(provided.model, shapes)
    assert {name: provided.model.shapes[name] for name in shapes} == shapes
    assert all(name.rpartition(".")[0] in provided.model.layers for name in shapes)
    initialisations = provided.initialisations()
    assert [name for name in shapes if not initialisations[name].scheme] == []


@pytest.mark.parametrize("folder", [BERT, *(path for path in REAL if path.name in ("bert", "gpt2", "llama_tied", "t5"))])
def test_ties_and_types_are_those_of_the_library(folder: Path) -> None:
    provided, _ = asked(folder)
    module = built(folder)
    places: dict[int, list[str]] = {}
    for name, tensor in module.state_dict().items():
        places.setdefault(tensor.data_ptr(), []).append(name)
    assert provided.model.ties == {frozenset(names) for names in places.values() if len(names) > 1}
    assert provided.model.layers == {path: type(layer).__name__ for path, layer in module.named_modules()}


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def without(text: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if text not in name}


def with_extra(name: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: torch.zeros(shape)}


def base_alone(tensors: Tensors) -> Tensors:
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items() if name.startswith("bert.")}


@pytest.mark.parametrize(
    ("change", "named", "held"),
    [
        (renamed("LayerNorm.weight", "LayerNorm.gamma"), "BertForSequenceClassification", "BertForSequenceClassification"),
        (renamed("LayerNorm.bias", "LayerNorm.beta"), "BertForSequenceClassification", "BertForSequenceClassification"),
        (renamed("bert.", ""), "BertForSequenceClassification", "BertForSequenceClassification"),
        (with_extra("bert.embeddings.position_ids", 1, 32), "BertForSequenceClassification", "BertForSequenceClassification"),
        (base_alone, "BertModel", "BertModel"),
        (base_alone, "BertForSequenceClassification", "BertModel"),
        (dict, "BertModel", "BertForSequenceClassification"),
        (dict, None, "BertForSequenceClassification"),
        (without("pooler.dense.bias"), "BertForSequenceClassification", "BertForSequenceClassification"),
        (with_extra("bert.encoder.more", 3), "BertForSequenceClassification", "BertForSequenceClassification"),
    ],
    ids=["gamma", "beta", "hub", "position_ids", "base", "base under head", "head under base", "unnamed", "one missing", "one more"],
)
def test_names_are_carried_as_the_library_loads_them(
    tmp_path: Path, change: Callable[[Tensors], Tensors], named: str | None, held: str
) -> None:
    import transformers

    folder = altered(BERT, tmp_path, architectures=[named] if named else None)
    tensors = change(safetensors.torch.load_file(BERT / "model.safetensors"))
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    provided, shapes = asked(folder)
    assert provided.model.layers[""] == held
    assert any("the file holds" in note for note in provided.notes) == (named is not None and named != held)
    _, loaded = getattr(transformers, held).from_pretrained(folder, output_loading_info=True)
    mismatch = compare(provided.model, shapes)
    assert (len(mismatch.missing), len(mismatch.unexpected)) == (len(loaded["missing_keys"]), len(loaded["unexpected_keys"]))
    drawn = provided.initialisations()
    assert all(drawn[name].scheme for name in shapes if name in provided.model.shapes and "position_ids" not in name)


def test_wrapped_names_have_a_prefix(tmp_path: Path) -> None:
    folder = altered(BERT, tmp_path)
    os.remove(folder / "model.safetensors")
    tensors = {f"module.{name}": tensor for name, tensor in safetensors.torch.load_file(BERT / "model.safetensors").items()}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "pytorch_model.bin")
    provided, shapes = asked(folder)
    assert provided.model.prefix == "state_dict.module." and not compare(provided.model, shapes)
    assert set(shapes) <= set(provided.initialisations())


SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
T5: dict[str, Any] = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 2, "vocab_size": 50}
ENCODER_DECODER: dict[str, Any] = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
MARIAN: dict[str, Any] = ENCODER_DECODER | {"d_model": 16, "vocab_size": 50, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
NEW: list[tuple[str, dict[str, Any]]] = [
    ("BertForMaskedLM", SIZES),
    ("MixtralForCausalLM", SIZES | {"num_local_experts": 3, "num_key_value_heads": 1, "head_dim": 8}),
    ("T5ForConditionalGeneration", T5),
    ("MarianMTModel", MARIAN | {"pad_token_id": 49, "max_position_embeddings": 20, "decoder_start_token_id": 49}),
    ("Wav2Vec2ForCTC", SIZES | {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}),
]


@pytest.mark.parametrize(("name", "sizes"), NEW, ids=[name for name, _ in NEW])
def test_new_model_has_the_names_with_which_the_library_saves_it(tmp_path: Path, name: str, sizes: dict[str, Any]) -> None:
    import transformers

    kind = getattr(transformers, name)
    kind(kind.config_class(**sizes)).save_pretrained(tmp_path)
    config = config_at(str(tmp_path / "config.json"))
    provided = providers["transformers"].provide(config, {})
    saved = {key: tuple(tensor.shape) for key, tensor in safetensors.torch.load_file(tmp_path / "model.safetensors").items()}
    tied = {each for group in provided.model.ties for each in group}
    assert {key: shape for key, shape in provided.model.shapes.items() if key in saved or key not in tied} == saved
    assert provided.model.module().state_dict().keys() == kind(kind.config_class(**sizes)).state_dict().keys()


def test_components_of_a_pipeline(tmp_path: Path) -> None:
    import diffusers

    blocks = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    unet = diffusers.UNet2DModel(8, down_block_types=blocks[0], up_block_types=blocks[1], block_out_channels=(32, 32), layers_per_block=1)
    unet.save_pretrained(tmp_path / "unet")
    shutil.copytree(BERT, tmp_path / "text_encoder")
    for component, held in (("unet", "UNet2DModel"), ("text_encoder", "BertForSequenceClassification")):
        provided, shapes = asked(tmp_path / component)
        assert provided.model.layers[""] == held and not compare(provided.model, shapes)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(weights)
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        tensors = renamed(f".{new}.", f".{old}.")(tensors)
    safetensors.torch.save_file(tensors, weights)
    diffusers.UNet2DModel.from_pretrained(tmp_path / "unet", low_cpu_mem_usage=False)  # the library knows these names
    provided, shapes = asked(tmp_path / "unet")
    initialisations = provided.initialisations()
    assert not compare(provided.model, shapes) and all(initialisations[name].scheme for name in shapes)
    assert {kind for path, kind in provided.model.layers.items() if path.endswith((".query", ".proj_attn"))} == {"Linear"}


def test_padding_row_is_not_the_decoder_s(tmp_path: Path) -> None:
    provided = providers["transformers"].provide(Config("config.json", "transformers", "BertForMaskedLM", "bert", SIZES), {})
    scheme = provided.initialisations()["bert.embeddings.word_embeddings.weight"].scheme
    assert scheme.startswith("rows(normal(") and "0" in scheme and "zeros" in scheme


HOSTILE: list[tuple[dict[str, object], str]] = [
    ({"num_hidden_layers": 20_000}, "has more than 5,"),
    ({"num_labels": 10**9, "id2label": None, "label2id": None}, "num_labels is 1,000,000,000, and transformers is given no more"),
    ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is 1,000,000,000, and transformers is given no more than"),
    ({"vocab_size": 10**30}, "vocab_size has more than 30 digits, and transformers is given no more than"),
    ({"pad": [0] * 300_000}, "values, and transformers is given no more than 200,000"),
    ({"hidden_size": 10**30}, "cannot build the model"),
    ({"hidden_size": "32"}, "expected int, got str"),
    ({"hidden_size": None, "num_attention_heads": 0}, "cannot build the model"),
    ({"hidden_size": [32]}, "cannot build the model"),
    ({"hidden_size": -1}, "cannot build the model"),
    ({"model_type": "bart2"}, "did you mean bart"),
    ({"model_type": "../evil"}, "has no model_type"),
    ({"model_type": None}, "names no model_type"),
    ({"to_dict": 3}, "cannot build the model"),
    ({"hidden_act": "os.system"}, "cannot build the model"),
    ({"backbone": "evil/repository"}, "would be fetched"),
    ({"model_type": "timm_wrapper", "architecture": "local-dir:evil", "architectures": None}, "would be fetched"),
    ({"deep": json.loads("[" * 60 + "]" * 60)}, "nested more than"),
]


@pytest.mark.parametrize(("entries", "words"), HOSTILE, ids=[" ".join(entries) + f" {words}" for entries, words in HOSTILE])
def test_hostile_config_is_one_line(
    tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch, entries: dict[str, object], words: str
) -> None:
    monkeypatch.setattr(bounds, "HEADROOM", 200 << 20)
    folder = altered(BERT, tmp_path, **entries)
    result = ckpt("reinit", folder, "--preset", "own", "-n", status=2)
    assert words in result.err and len(result.err) < 700
    result = ckpt("summary", "--types", folder)
    assert words in result.err and "Traceback" not in result.err


def test_time_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 1)
    config = Config("config.json", "transformers", "BertModel", "bert", SIZES | {"num_hidden_layers": 10**6})
    with pytest.raises(LibraryError, match="takes more than 1 seconds"):
        providers["transformers"].provide(config, {})


HARMLESS: list[dict[str, object]] = [
    {"torch_dtype": "os.system", "dtype": "load"},
    {"architectures": ["PreTrainedModel"]},
    {"architectures": ["pipeline", "os.system"]},
    {"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel", "use_kernels": True, "kernel_config": {"a": "evil/k"}},
    {"quantization_config": {"quant_method": "evil", "modules_to_not_convert": 3}},
    {"_name_or_path": "https://127.0.0.1:1/evil", "__class__": "evil", "__init__": 3},
    {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}, "trust_remote_code": True},
    {"unknown": {"auto_map": "evil.Evil", "torch_dtype": "evil"}},
]


@pytest.mark.parametrize("entries", HARMLESS, ids=lambda entries: " ".join(entries))
def test_entries_that_are_not_followed(tmp_path: Path, entries: dict[str, object]) -> None:
    provided, shapes = asked(altered(BERT, tmp_path, **entries))
    assert not compare(provided.model, shapes) and provided.model.layers[""] == "BertForSequenceClassification"
    assert all(any(key in note for note in provided.notes) for key in entries if key in ("auto_map", "quantization_config"))


def run(folder: Path, *arguments: str, flags: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-m", "ckpt_cli", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=100)


def test_nothing_beside_a_checkpoint_is_run(tmp_path: Path) -> None:
    folder = altered(BERT, tmp_path, auto_map={"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"})
    for name in ("transformers", "torch", "diffusers", "typing", "evil", "tokenizers", "timm", "safetensors", "numpy", "kernels"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nclass Evil: pass\n")
    result = run(folder, "summary", "--types", ".", PYTHONSAFEPATH="")
    assert "\tBertEmbeddings\t" in result.stdout and "auto_map" in result.stderr
    assert not (tmp_path / "ran").exists()


def packages_without(library: str, tmp_path: Path) -> str:
    """A folder with all installed packages but one, for an interpreter that looks nowhere else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith((library, "__")):
            (folder / path.name).symlink_to(path)
    return os.pathsep.join([str(Path(bounds.__file__).parents[2]), str(folder)])


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "transformers is not installed (pip install 'ckpt-tool[transformers]')"),
        ("4.57.1", "transformers 4.57.1 is too old (pip install -U 'ckpt-tool[transformers]' gets 5."),
    ],
)
def test_library_that_is_absent_or_too_old(tmp_path: Path, version: str | None, words: str) -> None:
    path = packages_without("transformers", tmp_path)
    if version:
        told = tmp_path / "packages" / f"transformers-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")
    result = run(tmp_path, "reinit", str(BERT), "--preset", "own", "-n", flags=("-S",), PYTHONPATH=path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and words in result.stderr
    result = run(tmp_path, "summary", "--types", str(BERT), flags=("-S",), PYTHONPATH=path)
    assert result.returncode == 0 and words.partition(" (")[0] in result.stderr


def test_libraries_print_nothing(ckpt: Ckpt, tmp_path: Path) -> None:
    folder = altered(BERT, tmp_path, torch_dtype="float32", is_decoder=False, unknown_entry=3)
    result = ckpt("ls", folder, "@Linear.weight")
    assert result.err == "" and {row[0].rpartition(".")[2] for row in result.rows} == {"weight"}
