"""Families that data files describe: recognised by the names and shapes that the libraries themselves give tiny models.

The truth is `tests/models/truth.json.gz`: names, shapes and classes of layers, traced from transformers while it builds each model.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from ckpt_cli.architectures import architectures
from ckpt_cli.architectures.family import NAMES, Family
from ckpt_cli.architectures.family_lines import lines_of
from ckpt_cli.architectures.family_names import used_in
from ckpt_cli.architectures.hyperparameters import checked, parse_pairs, schema, shown
from ckpt_cli.architectures.recognition import member_with, model_from, recognise, resolve_arch
from ckpt_cli.errors import CkptError, LibraryError
from ckpt_cli.schemes.presets import presets

TRUTH = Path(__file__).parent / "models" / "truth.json.gz"

# tiny model → the family that it is to be
FAMILIES = {
    **{name: name.replace("_", "-") for name in ("albert", "bart", "bert", "bloom", "codegen", "cohere", "deberta_v2", "distilbert")},
    **{name: name.replace("_", "-") for name in ("electra", "falcon", "gemma2", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss")},
    **{name: name.replace("_", "-") for name in ("gptj", "llama", "longformer", "marian", "mbart", "mixtral", "mobilebert", "modernbert")},
    **{
        name: name.replace("_", "-") for name in ("mpt", "olmo2", "opt", "pegasus", "phi", "phi3", "qwen2", "qwen3", "qwen3_moe", "roberta")
    },
    **{name: name for name in ("stablelm", "t5", "xlnet", "jamba", "prophetnet", "rwkv")},
    "bert_classifier": "bert",
    "bert_mlm": "bert",
    "gpt2_classifier": "gpt2",
    "gemma": "llama",
    "gemma3_text": "gemma3",
    "granite": "llama",
    "llama_tied": "llama",
    "mistral": "llama",
    "deepseek_v3": "deepseek",
    "t5_gated": "t5",
    "xlm_roberta": "roberta",
}
# hyperparameter → what configs call it
CONFIG = {
    "vocab": ("vocab_size",),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "encoder_layers", "num_layers"),
    "decoder_layers": ("decoder_layers", "num_decoder_layers"),
    "inner": ("ffn_hidden_size", "intermediate_size", "encoder_ffn_dim", "d_ff", "ffn_dim", "d_inner"),
    "width": ("head_dim", "d_kv", "d_head"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "expert_inner": ("moe_intermediate_size",),
    "embedding": ("embedding_size", "word_embed_proj_dim"),
    "dense": ("first_k_dense_replace",),
    "buckets": ("relative_attention_num_buckets",),
}
PREFIXES = ("model.", "module.", "_orig_mod.", "module._orig_mod.", "state_dict.model.", "model_state_dict.", "net.")

# What a file may lack without being told: copies of another tensor, buffers, and what old versions wrote and never used.
COPIES = re.compile(
    r"decoder$|embed_tokens|word_embeddings|shared_embedding|relative_attention_bias|cross_attn_rel_b|[Rr]ot|rope|model_ema"
)

truth = pytest.mark.skipif(not TRUTH.exists(), reason="the truth of the tiny models is not there")
described = [name for name in architectures if isinstance(architectures[name], Family)]


@cache
def traced() -> dict[str, Any]:
    return json.loads(gzip.decompress(TRUTH.read_bytes())) if TRUTH.exists() else {}


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    return {tensor: tuple(facts["shape"]) for tensor, facts in traced()[name]["tensors"].items()}


def generic(kind: str) -> str:
    """The class of a layer, without what a family puts before it."""
    for known in ("RMSNorm", "LayerNorm", "Embedding", "Linear", "PredictionHead", "LMHead"):
        if kind.endswith(known):
            return {"T5LayerNorm": "RMSNorm", "MT5LayerNorm": "RMSNorm"}.get(kind, known)
    return kind


@truth
@pytest.mark.parametrize("name", FAMILIES)
def test_models_of_libraries_are_recognised(name):
    model = recognise(shapes_of(name))
    assert model and model.architecture == FAMILIES[name] and not model.prefix
    config = traced()[name]["config"]
    for key, names in CONFIG.items():
        theirs = [config[each] for each in names if config.get(each) is not None]
        if theirs and key in model.hyperparameters:
            assert model.hyperparameters[key] == theirs[0], key


@truth
@pytest.mark.parametrize("name", FAMILIES)
def test_layers_have_the_types_of_the_library(name):
    model = recognise(shapes_of(name))
    tensors = traced()[name]["tensors"]
    for tensor, facts in tensors.items():
        path = tensor.rpartition(".")[0]
        theirs, ours = generic(facts["layer_type"]), model.placed[path]
        # Routers and experts are classes that hold what others keep in a Linear each; the root is called by its heads.
        assert ours in (theirs, "Linear", "Generator", "PredictionHead") or ours in theirs, f"{tensor}: {ours}, not {theirs}"
        if theirs in ("Linear", "Embedding", "LayerNorm", "RMSNorm", "Conv1d", "Conv1D"):
            assert ours == theirs, tensor
    assert {model.prefix + each for each in model.buffers} == {tensor for tensor, facts in tensors.items() if facts.get("buffer")}


@truth
@pytest.mark.parametrize("name", FAMILIES)
def test_models_are_recognised_under_prefixes(name):
    plain = recognise(shapes_of(name))
    for prefix in PREFIXES:
        model = recognise({prefix + tensor: shape for tensor, shape in shapes_of(name).items()})
        assert model and (model.architecture, model.prefix) == (plain.architecture, prefix)
        assert model.hyperparameters == plain.hyperparameters


@truth
def test_norms_of_all_traced_models_have_their_generic_type():
    ours: dict[str, set[str]] = {}
    for name in traced():
        model = recognise(shapes_of(name))
        for tensor, facts in traced()[name]["tensors"].items() if model else ():
            theirs = re.sub(r"2d$", "", facts["layer_type"]) if "Norm2d" in facts["layer_type"] else facts["layer_type"]
            if theirs.endswith(("LayerNorm", "RMSNorm", "GroupNorm")):
                ours.setdefault(generic(theirs), set()).add(model.placed[tensor.rpartition(".")[0]])
    assert ours == {"LayerNorm": {"LayerNorm"}, "RMSNorm": {"RMSNorm"}, "GroupNorm": {"GroupNorm"}}


@truth
def test_every_traced_model_is_recognised_under_a_prefix():
    for name in traced():
        plain, shapes = recognise(shapes_of(name)), shapes_of(name)
        for prefix in ("module.", "state_dict."):
            model = recognise({prefix + tensor: shape for tensor, shape in shapes.items()})
            told = (model.architecture, model.hyperparameters, model.prefix) if model else None
            assert told == ((plain.architecture, plain.hyperparameters, prefix + plain.prefix) if plain else None), name


@truth
def test_what_summary_tells_makes_the_model_again():
    otherwise = {}
    for name in traced():
        model = recognise(shapes_of(name))
        if model and isinstance(family := architectures[model.architecture], Family):
            told = parse_pairs(f"{key}={shown(value)}" for key, value in model.hyperparameters.items())
            try:
                again = model_from(family, member_with(family, checked(family, told)))
            except CkptError as error:
                otherwise[name] = str(error)
                continue
            surplus = {key for key in again.shapes.items() ^ model.shapes.items() if not COPIES.search(key[0].rpartition(".")[0])}
            if surplus := {each for each in surplus if each[0] not in model.buffers or each[0].endswith("num_batches_tracked")}:
                otherwise[name] = sorted(surplus)[:3]
    assert not otherwise


@truth
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_no_member_is_not_recognised(name):
    shapes = shapes_of(name)
    inside = [tensor for tensor in shapes if re.search(r"\.[01]\.", tensor) and tensor.endswith("weight")]
    lacking = {tensor: shape for tensor, shape in shapes.items() if tensor != inside[-1]}
    assert recognise(lacking) is None
    for tensor in (inside[0], inside[len(inside) // 2], inside[-1]):
        assert recognise(shapes | {tensor: (*shapes[tensor][:-1], shapes[tensor][-1] + 1)}) is None, tensor
        assert recognise(shapes | {tensor: (*shapes[tensor], 1)}) is None, tensor
    for foreign in ("extra.weight", f"{inside[0].removesuffix('weight')}lora_A.weight", inside[0] + "_scale"):
        assert recognise(shapes | {foreign: (4,)}) is None, foreign


@truth
def test_other_models_of_libraries_are_no_language_models():
    named = set(FAMILIES.values())
    for name in traced().keys() - FAMILIES.keys():
        model = recognise(shapes_of(name))
        assert not model or model.architecture not in named, name


@truth
def test_ties_of_a_head_are_no_obstacle():
    shapes = shapes_of("gpt2")
    stored = shapes | {"lm_head.weight": shapes["transformer.wte.weight"]}
    tie = ["transformer.wte.weight", "lm_head.weight"]
    for known, ties in ((shapes, []), (stored, []), (stored, [tie])):
        model = recognise(known, ties)
        assert model.architecture == "gpt2" and model.ties == {frozenset(tie) for _ in ties}
    assert recognise(stored, [["transformer.wte.weight", "transformer.wpe.weight"]]) is None
    assert recognise(stored | {"lm_head.weight": (99, 33)}) is None


# The data files


@pytest.mark.parametrize("name", described)
def test_data_files_are_complete(name):
    family = architectures[name]
    used = {each for style in family.styles.values() for each in used_in(style.lines)}
    assert used <= schema(family).keys() and all(each.meaning for each in schema(family).values())
    assert family.preset in presets and len(family.title) < 140 and isinstance(family.document.get("types", []), list)


@pytest.mark.parametrize("name", described)
def test_members_of_every_style_are_recognised_as_such(name):
    family = architectures[name]
    few = {"layers": 2, "experts": 3, "dense": 1, "decoder_layers": 2}
    for style in family.styles:
        given = {key: value for key, value in few.items() if key in schema(family)} | ({NAMES: style} if NAMES in schema(family) else {})
        model = model_from(family, member_with(family, checked(family, given)))
        ends = {".".join(each.rsplit(".", 2)[-2:]) for each in model.shapes}
        assert ends.issuperset(family.styles[style].marks)
        again = recognise(model.shapes, families=[family])
        assert again and again.hyperparameters == model.hyperparameters and again.shapes == model.shapes
        found = recognise(model.shapes)  # among all families
        assert found and (found.architecture == name or len(found.hyperparameters) <= len(model.hyperparameters)), found.architecture


@pytest.mark.parametrize("name", described)
def test_layers_that_a_file_may_lack_are_options_with_a_name(name):
    lines = [line for style in architectures[name].styles.values() for line in style.lines]
    assert not {line.pattern for line in lines if any(not option.name for option in line.options) and not COPIES.search(line.pattern)}


@truth
def test_a_norm_that_a_file_lacks_is_told():
    family, shapes = architectures["stablelm"], shapes_of("stablelm")
    assert {re.sub(r"\d+", "#", name) for name in family.layers().shapes()} == {re.sub(r"\d+", "#", name) for name in shapes}
    parallel = recognise({name: shape for name, shape in shapes.items() if "post_attention" not in name})
    assert parallel and parallel.architecture == "stablelm" and parallel.hyperparameters["mlp_norm"] is False


# family → what llama.cpp calls the architecture
GGUF = {
    **{name: name.upper() for name in ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "phi3", "stablelm", "starcoder2", "olmoe")},
    **{name: name.upper() for name in ("gpt2", "bloom", "falcon", "bert", "t5")},
    "phi": "PHI2",
    "cohere": "COMMAND_R",
    "mixtral": "LLAMA",
    "qwen2-moe": "QWEN2MOE",
    "qwen3-moe": "QWEN3MOE",
    "deepseek": "DEEPSEEK2",
    "gpt-bigcode": "STARCODER",
    "gpt-neox": "GPTNEOX",
}


@pytest.mark.parametrize("name", GGUF)
def test_names_of_gguf_are_those_of_its_library(name):
    constants = pytest.importorskip("gguf.constants")
    known = constants.MODEL_TENSORS[constants.MODEL_ARCH[GGUF[name]]]
    theirs = {constants.TENSOR_NAMES[each].format(bid=0) for each in known}
    for line in architectures[name].styles["gguf"].lines:
        path = "0".join(line.pieces)
        # A head is only there where it is no embedding, and constants of the positions may be added to any.
        assert path in theirs or path in ("output", "rope_freqs"), path


# tensors of models that others than transformers name, as those programs write them
OTHER_NAMES = {
    # FlaxBertForSequenceClassification: nn.Dense has kernels in × out
    "flax": (
        "bert",
        {
            "bert.embeddings.word_embeddings.embedding": (99, 32),
            "bert.embeddings.position_embeddings.embedding": (64, 32),
            "bert.embeddings.token_type_embeddings.embedding": (2, 32),
            **{f"bert.embeddings.LayerNorm.{leaf}": (32,) for leaf in ("scale", "bias")},
            **{f"bert.encoder.layer.0.attention.self.{part}.kernel": (32, 32) for part in ("query", "key", "value")},
            **{f"bert.encoder.layer.0.attention.self.{part}.bias": (32,) for part in ("query", "key", "value")},
            "bert.encoder.layer.0.attention.output.dense.kernel": (32, 32),
            "bert.encoder.layer.0.attention.output.dense.bias": (32,),
            **{f"bert.encoder.layer.0.attention.output.LayerNorm.{leaf}": (32,) for leaf in ("scale", "bias")},
            "bert.encoder.layer.0.intermediate.dense.kernel": (32, 48),
            "bert.encoder.layer.0.intermediate.dense.bias": (48,),
            "bert.encoder.layer.0.output.dense.kernel": (48, 32),
            "bert.encoder.layer.0.output.dense.bias": (32,),
            **{f"bert.encoder.layer.0.output.LayerNorm.{leaf}": (32,) for leaf in ("scale", "bias")},
            "bert.pooler.dense.kernel": (32, 32),
            "bert.pooler.dense.bias": (32,),
            "classifier.kernel": (32, 3),
            "classifier.bias": (3,),
        },
    ),
    # consolidated.00.pth of Llama
    "meta": (
        "llama",
        {
            "tok_embeddings.weight": (99, 32),
            "norm.weight": (32,),
            "output.weight": (99, 32),
            **{f"layers.0.attention.{part}.weight": (rows, 32) for part, rows in (("wq", 32), ("wk", 16), ("wv", 16), ("wo", 32))},
            "layers.0.feed_forward.w1.weight": (48, 32),
            "layers.0.feed_forward.w2.weight": (32, 48),
            "layers.0.feed_forward.w3.weight": (48, 32),
            "layers.0.attention_norm.weight": (32,),
            "layers.0.ffn_norm.weight": (32,),
            "rope.freqs": (4,),
        },
    ),
    # nanoGPT: Linear in place of Conv1D, and the causal mask
    "nanogpt": (
        "gpt2",
        {
            "transformer.wte.weight": (99, 32),
            "transformer.wpe.weight": (64, 32),
            "lm_head.weight": (99, 32),
            **{f"transformer.h.0.{norm}.{leaf}": (32,) for norm in ("ln_1", "ln_2") for leaf in ("weight", "bias")},
            "transformer.h.0.attn.c_attn.weight": (96, 32),
            "transformer.h.0.attn.c_attn.bias": (96,),
            "transformer.h.0.attn.c_proj.weight": (32, 32),
            "transformer.h.0.attn.c_proj.bias": (32,),
            "transformer.h.0.attn.bias": (1, 1, 64, 64),
            "transformer.h.0.mlp.c_fc.weight": (128, 32),
            "transformer.h.0.mlp.c_fc.bias": (128,),
            "transformer.h.0.mlp.c_proj.weight": (32, 128),
            "transformer.h.0.mlp.c_proj.bias": (32,),
            "transformer.ln_f.weight": (32,),
            "transformer.ln_f.bias": (32,),
        },
    ),
}


@pytest.mark.parametrize("style", OTHER_NAMES)
def test_names_of_other_programs(style):
    name, shapes = OTHER_NAMES[style]
    for prefix in ("", "module.", "params."):
        model = recognise({prefix + tensor: shape for tensor, shape in shapes.items()})
        assert model and (model.architecture, model.hyperparameters[NAMES]) == (name, style)
        assert (model.hyperparameters["hidden"], model.hyperparameters["layers"]) == (32, 1)
        assert "Linear" in model.layers.values() and "Embedding" in model.layers.values()


@truth
def test_names_of_early_transformers():
    old = {re.sub(r"LayerNorm\.(weight|bias)", lambda found: f"LayerNorm.{'gamma' if found[1] == 'weight' else 'beta'}", name): shape
           for name, shape in shapes_of("bert_mlm").items()}  # fmt: skip
    assert recognise(old).hyperparameters[NAMES] == "gamma"
    gpt2 = {name.removeprefix("transformer."): shape for name, shape in shapes_of("gpt2").items()}
    masks = {f"h.{layer}.attn.bias": (1, 1, 64, 64) for layer in (0, 1)}  # as in the file of the hub
    model = recognise(gpt2 | masks)
    assert model.hyperparameters[NAMES] == "transformers-bare" and model.buffers == masks.keys()


def test_lines_that_are_wrong_are_refused():
    for line in (
        "path Linear a -> b, nonsense(",
        "a.{layers Linear a -> b",
        "a Unknown 3",
        "a Linear a -> b.c",
        "?a+b x y",
        "a Odd w 3: 4",
    ):
        with pytest.raises(ValueError, match=re.escape(line.split()[0])):
            list(lines_of(line))


# Hostile files


@truth
def test_numbers_in_names_cost_no_time():
    shapes = shapes_of("llama")
    qwen = shapes_of("qwen3_moe")
    hostile = [
        {name.replace("layers.1.", "layers.99999."): shape for name, shape in shapes.items()},
        {name.replace("layers.1.", f"layers.{'9' * 40}."): shape for name, shape in shapes.items()},
        {name.replace("layers.1.", "layers.01."): shape for name, shape in shapes.items()},
        {name.replace("experts.3.", "experts.99999.").replace("layers.1.", "layers.99999."): shape for name, shape in qwen.items()},
        shapes | {f"model.layers.{layer}.self_attn.q_proj.weight": (32, 32) for layer in range(600)},
        qwen | {f"model.layers.{at}.mlp.experts.{at}.up_proj.weight": (24, 32) for at in range(300)},
        {name: (0,) * len(shape) for name, shape in shapes.items()},
        {name: (2**62,) * len(shape) for name, shape in shapes.items()},
    ]
    start = time.monotonic()
    for file in hostile:
        recognise(file)
        resolve_arch("llama", file)
        resolve_arch("qwen3-moe", file)
    assert all(recognise(file) is None for file in hostile[:-2])
    assert time.monotonic() - start < 20


# The command line


@pytest.fixture
def llama(tmp_path, ckpt):
    path = tmp_path / "llama.safetensors"
    ckpt("new", "llama", "vocab=99", "hidden=32", "layers=2", "keys=16", "inner=48", "-o", path, "--seed", 1)
    return path


@truth
def test_new_writes_the_names_of_the_library(llama, ckpt):
    names = {row[0]: row[2] for row in ckpt("ls", llama).rows}
    assert names == {name: "x".join(map(str, shape)) for name, shape in shapes_of("llama").items()}
    _, _, *figures = ckpt("stats", llama, "model.layers.0.mlp.up_proj.weight").rows[0]
    assert 0.018 < float(figures[4]) < 0.022  # initializer_range of transformers


def test_summary_and_types(llama, ckpt):
    document = ckpt("summary", llama, "--json").json
    sizes = {"vocab": 99, "hidden": 32, "layers": 2, "queries": 32, "keys": 16, "inner": 48}
    assert document["architecture"] == {"name": "llama", "hyperparameters": sizes, "prefix": "", "assumed": {}}
    assert len(ckpt("ls", llama, "@RMSNorm").rows) == 5 and len(ckpt("ls", llama, "@Embedding").rows) == 1
    assert len(ckpt("ls", llama, "@Linear", "!lm_head.weight").rows) == 14
    assert "(q_proj): Linear(in_features=32, out_features=32, bias=False)" in ckpt("summary", llama, "--repr").out
    assert not ckpt("check", llama, "--arch", "llama").out and not ckpt("check", llama, "--arch", "llama(hidden=32, mlp_bias=False)").out


def test_check_compares_with_the_nearest_member(llama, tmp_path, ckpt):
    other = tmp_path / "other.safetensors"
    ckpt("drop", llama, "model.layers.1.mlp.up_proj.weight", "-o", other)
    out = ckpt("check", other, "--arch", "llama", status=1)
    assert [row[:2] for row in out.rows] == [["missing", "model.layers.1.mlp.up_proj.weight"]] and "48x32" in out.out
    assert ckpt("check", llama, "--arch", "llama(layers=3)", status=1).out.count("missing") == 9
    assert "no known architecture" in ckpt("check", other, "--arch", "auto", status=1).out


def test_training_checkpoints_are_looked_into(llama, tmp_path, ckpt):
    torch_load = pytest.importorskip("safetensors.torch").load_file
    state = {f"module.{name}": tensor for name, tensor in torch_load(llama).items()}
    moments = {number: {"exp_avg": torch.zeros_like(tensor)} for number, tensor in enumerate(state.values())}
    path = tmp_path / "training.pt"
    torch.save({"model": state, "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3}]}, "epoch": 3}, path)
    document = ckpt("summary", path, "--json").json
    assert (document["architecture"]["name"], document["architecture"]["prefix"]) == ("llama", "model.module.")
    assert len(ckpt("ls", path, "@RMSNorm").rows) == 5


def test_gguf_files_are_recognised(tmp_path, ckpt):
    gguf, numpy = pytest.importorskip("gguf"), pytest.importorskip("numpy")
    family = architectures["llama"]
    model = model_from(family, member_with(family, {"vocab": 99, "hidden": 32, "layers": 2, "keys": 16, "inner": 48, NAMES: "gguf"}))
    writer = gguf.GGUFWriter(tmp_path / "llama.gguf", "llama")
    for name, shape in model.shapes.items():
        writer.add_tensor(name, numpy.zeros(shape, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = ckpt("summary", tmp_path / "llama.gguf", "--json").json["architecture"]
    assert found["name"] == "llama" and found["hyperparameters"] == dict(model.hyperparameters)


def test_a_family_is_no_module(llama, ckpt):
    assert "pip install 'ckpt-tool[transformers]'" in ckpt("grad", llama, "--input", "2x3", status=2).err
    with pytest.raises(LibraryError):
        recognise({**resolve_arch("llama(layers=1)", {}).shapes}).module()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["llama", "layers=0"], "layers=0 makes no sense"),
        (["llama", "inner=3*hiden"], "inner=3*hiden makes no sense"),
        (["llama", "inner=hidden**9"], "inner=hidden**9 makes no sense"),
        (["llama", "layers=2000000000"], "too many layers"),
        (["llama", "names=hub"], "it has transformers"),
        (["llama", "layer=2"], "did you mean layers"),
        (["llama", "--framework", "flax"], "hyperparameter names= of llama"),
        (["llamma"], "did you mean llama"),
    ],
)
def test_errors_are_one_line(words, told, tmp_path, ckpt):
    err = ckpt("new", *words, "-o", tmp_path / "new.safetensors", status=2).err
    assert told in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_archs_lists_families(ckpt):
    rows = {row[0]: row for row in ckpt("archs").rows}
    assert rows.keys() >= {"llama", "bert", "t5", "gpt2", "mlp"} and "hidden=4096" in rows["llama"][1]
    llama = next(each for each in ckpt("archs", "--json").json["architectures"] if each["name"] == "llama")
    assert ["inner", "4*hidden", "width inside the MLP"] in ckpt("archs", "llama").rows and ckpt("archs", "llama", "--json").json == llama
    assert "did you mean llama" in ckpt("archs", "lama", status=2).err
    assert {"name": "inner", "default": "4*hidden", "meaning": "width inside the MLP"} in llama["hyperparameters"]
