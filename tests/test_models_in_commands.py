"""What the library of a model says, in commands: `@Class`, `summary --types` and `--input`, `check --arch auto`, `--arch LIBRARY:NAME`.

transformers and diffusers are judges here: their modules say which tensors a class holds, and what comes out of a layer.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CASES, Ckpt
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no real checkpoints at {CASES}: set CKPT_CASES")
with_libraries = pytest.mark.skipif(
    not (find_spec("transformers") and find_spec("diffusers")), reason="transformers and diffusers are not installed"
)

# folder → an input of the model, and how its library is given one
INPUTS: dict[str, tuple[str, Callable[[Any, torch.Tensor], Any]]] = {
    "hf5/bert": ("2x7", lambda module, x: module(input_ids=x.long())),
    "hf5/gpt2": ("3x5", lambda module, x: module(input_ids=x.long())),
    "hf5/llama_tied": ("1x4", lambda module, x: module(input_ids=x.long())),
    "hf5/t5": ("2x6", lambda module, x: module(input_ids=x.long(), decoder_input_ids=torch.zeros(2, 1).long())),
    "hf5/diffusers_unet_sharded": ("2x1x16x16", lambda module, x: module(x, torch.zeros(2))),
}
every_model = pytest.mark.parametrize("folder", INPUTS)


def module_of(folder: str) -> Any:
    """The model of a folder as its library builds it."""
    config = json.loads((CASES / folder / "config.json").read_text())
    if "_class_name" in config:
        import diffusers

        return getattr(diffusers, config["_class_name"]).from_config(config).eval()
    import transformers

    kind = getattr(transformers, config["architectures"][0])
    return kind(kind.config_class.from_dict(config)).eval()


@with_libraries
@every_model
def test_a_class_of_the_library_picks_the_parameters_of_its_modules(folder: str, ckpt: Ckpt) -> None:
    module = module_of(folder)
    in_file = [row[0] for row in ckpt("ls", CASES / folder).rows]
    kinds: dict[str, set[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        kinds.setdefault(type(layer).__name__, set()).update(f"{path}.{name}" if path else name for name in layer.state_dict())
    checked = 0
    for kind, names in kinds.items():
        wanted = [name for name in in_file if name in names]
        if wanted:
            assert [row[0] for row in ckpt("ls", CASES / folder, f"@{kind}").rows] == wanted, kind
            checked += 1
    assert checked > 5


@with_libraries
def test_what_a_class_calls_its_parameters_can_follow(ckpt: Ckpt) -> None:
    found = [row[0] for row in ckpt("ls", CASES / "hf5/bert", "@BertSelfAttention.query.bias").rows]
    assert found == [f"bert.encoder.layer.{number}.attention.self.query.bias" for number in (0, 1)]
    assert len(ckpt("ls", CASES / "hf5/bert", "@BertSelfAttention.weight").rows) == 6


@with_libraries
@every_model
def test_types_are_those_of_the_library(folder: str, ckpt: Ckpt) -> None:
    sheet = ckpt("summary", CASES / folder, "--types", "--json").json
    want = {path: type(layer).__name__ for path, layer in module_of(folder).named_modules(remove_duplicate=False)}
    assert {row["path"]: row["type"] for row in sheet["layers"]} == want


@with_libraries
@every_model
def test_output_shapes_are_those_of_a_forward(folder: str, ckpt: Ckpt) -> None:
    shape, call = INPUTS[folder]
    module, want = module_of(folder), dict[str, list[int]]()
    for path, layer in module.named_modules():
        layer.register_forward_hook(
            lambda layer, given, output, path=path: want.update({path: list(output.shape)}) if isinstance(output, torch.Tensor) else None
        )
    with torch.no_grad():
        first = call(module, torch.zeros(*map(int, shape.split("x"))))[0]
    found = {row["path"]: row["output"] for row in ckpt("summary", CASES / folder, "--input", shape, "--json").json["layers"]}
    assert found[""] == list(first.shape)
    assert len(want) > 10 and {path: found[path] for path in want} == want


@with_libraries
def test_what_print_says_is_what_the_library_prints(ckpt: Ckpt) -> None:
    assert ckpt("summary", CASES / "hf5/bert", "--repr").out == f"{module_of('hf5/bert')}\n"


@with_libraries
def test_an_input_that_does_not_fit_is_one_line(ckpt: Ckpt) -> None:
    assert "does not take an input of 2x3x9" in ckpt("summary", CASES / "hf5/diffusers_unet_sharded", "--input", "2x3x9", status=2).err


@with_libraries
@every_model
def test_a_model_as_it_was_saved_holds(folder: str, ckpt: Ckpt) -> None:
    assert ckpt("check", CASES / folder, "--arch", "auto").out == ""


def changed(folder: str, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A copy of a model folder with other tensors."""
    shutil.copy(CASES / folder / "config.json", tmp_path)
    tensors = load_file(CASES / folder / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


WRONG: list[tuple[str, Callable[[dict[str, torch.Tensor]], object], list[str]]] = [
    ("bert", lambda t: t.pop("bert.embeddings.LayerNorm.bias"), ["missing bert.embeddings.LayerNorm.bias"]),
    ("bert", lambda t: t.update({"bert.pooler.gate": torch.zeros(3)}), ["unexpected bert.pooler.gate"]),
    (
        "bert",
        lambda t: t.update({"bert.encoder.layer.1.output.dense.weight": torch.zeros(16, 30)}),
        ["shape bert.encoder.layer.1.output.dense.weight"],
    ),
    ("gpt2", lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"] + 1}), ["tied transformer.wte.weight"]),
    ("gpt2", lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].clone()}), []),
]


@with_libraries
@pytest.mark.parametrize(("folder", "change", "want"), WRONG)
def test_what_does_not_agree_with_the_config_is_named(
    folder: str, change: Callable[[dict[str, torch.Tensor]], object], want: list[str], tmp_path: Path, ckpt: Ckpt
) -> None:
    result = ckpt("check", changed(f"hf5/{folder}", tmp_path, change), "--arch", "auto", status=None)
    assert result.status == (1 if want else 0), result.err
    assert [f"{kind} {name}" for kind, name, _ in result.rows] == want


@with_libraries
def test_a_file_of_another_class_than_the_config_names_does_not_hold(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = changed("hf5/bert", tmp_path, lambda tensors: None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForTokenClassification"]}))
    rows = ckpt("check", folder, "--arch", "auto", status=1).rows
    assert ["architecture", "", "the config names BertForTokenClassification; the file holds BertForMaskedLM"] in rows


@with_libraries
def test_another_config_can_be_named(tmp_path: Path, ckpt: Ckpt) -> None:
    shutil.copy(CASES / "hf5/gpt2/model.safetensors", tmp_path / "alone.safetensors")
    arch = f"transformers:{CASES / 'hf5/gpt2'}"
    assert ckpt("check", tmp_path / "alone.safetensors", "--arch", arch).out == ""
    rows = ckpt("ls", tmp_path / "alone.safetensors", "@GPT2MLP", "--arch", arch).rows
    assert len(rows) == len([row for row in ckpt("ls", CASES / "hf5/gpt2").rows if ".mlp." in row[0]]) > 0
    assert (
        "does not hold transformers:BertForMaskedLM"
        in ckpt("summary", tmp_path / "alone.safetensors", "--arch", f"transformers:{CASES / 'hf5/bert'}", status=2).err
    )


# Where the library is not there


def timm_folder(tmp_path: Path) -> Path:
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "num_classes": 10}')
    return tmp_path


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_a_library_that_is_not_installed_is_named_with_its_extra(tmp_path: Path, ckpt: Ckpt) -> None:
    folder = timm_folder(tmp_path)
    remedy = "timm is not installed (pip install 'ckpt-tool[timm]')"
    sheet = ckpt("summary", folder, "--types")
    assert remedy in sheet.err and "layer\tconv1" in sheet.out
    result = ckpt("check", folder, "--arch", "auto", status=1)
    assert remedy in result.err and result.rows[0][0] == "architecture"
    error = ckpt("ls", folder, "@BasicBlock", status=2).err
    assert "no layer of type 'BasicBlock' is known: timm is not installed (pip install 'ckpt-tool[timm]', or name" in error
    assert remedy in ckpt("ls", folder, "@Conv2d", "--arch", "timm:resnet18", status=2).err


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_library_that_is_named_and_not_installed_is_an_error(tmp_path: Path, ckpt: Ckpt) -> None:
    for command in (["summary"], ["check"], ["ls", "@Linear"], ["grad", "--random", "1"]):
        error = ckpt(command[0], timm_folder(tmp_path), *command[1:], "--arch", "torchvision:resnet18", status=2).err
        assert "torchvision is not installed (pip install 'ckpt-tool[torchvision]')" in error, command


@pytest.mark.parametrize(
    ("arch", "error"),
    [
        ("timm:resnet18(10)", "takes its arguments by name (as in timm:resnet18(num_classes=10))"),
        ("torchvision:resnet18(10)", "takes its arguments by name"),
        ("torchvision:resnet18(num_classes=print(1))", "write literals"),
        ("transformers:nowhere", "nowhere"),
        ("transformers:", "transformers: names no model"),
        ("timm:", "timm: names no model"),
        ("diffusers:nowhere/", "nowhere"),
    ],
)
def test_a_model_that_makes_no_sense_is_one_line(arch: str, error: str, tmp_path: Path, ckpt: Ckpt) -> None:
    assert error in ckpt("summary", timm_folder(tmp_path), "--arch", arch, status=2).err


# Runs commands in one process; then the modules that these have loaded are printed.
CODE = """
import json, sys
from ckpt_cli.cli import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0
print(*sys.modules, file=sys.stderr)
"""


def test_what_does_not_ask_loads_no_library() -> None:
    folder = str(CASES / "hf5/bert")
    asked = [["ls", folder], ["summary", folder], ["stats", folder, "*.bias"], ["check", folder], ["summary", folder, "--json"]]
    done = subprocess.run([sys.executable, "-c", CODE, json.dumps(asked)], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "ckpt_cli" in loaded and loaded.isdisjoint({"torch", "transformers", "diffusers", "timm", "torchvision", "huggingface_hub"})


# Keras: the config in the file


def keras_with(initializer: object, tmp_path: Path) -> Path:
    """A real .keras file whose first layer, of 4 inputs and 8 outputs, has another initializer in the config."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(CASES / "keras3/plain.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["config"]["layers"][1]["config"]["kernel_initializer"] = initializer
                data = json.dumps(config).encode()
            target.writestr(name, data)
    return path


def keras(class_name: str, **config: object) -> dict[str, object]:
    return {"module": "keras.initializers", "class_name": class_name, "config": config, "registered_name": None}


CUT = 0.87962566103423978  # the standard deviation of the standard normal distribution within ±2


def uniform(limit: float) -> str:
    return f"uniform({-limit:.6g}, {limit:.6g})"


def truncated(std: float, mean: float = 0) -> str:
    return f"trunc_normal({mean:.6g}, {std:.6g}, {mean - 2 * std:.6g}, {mean + 2 * std:.6g})"


@pytest.mark.parametrize(
    ("initializer", "draw"),
    [
        (keras("Zeros"), "constant(0)"),
        (keras("Ones"), "constant(1)"),
        (keras("Constant", value=0.25), "constant(0.25)"),
        (keras("RandomNormal", mean=1, stddev=0.5, seed=None), "normal(1, 0.5)"),
        (keras("RandomUniform", minval=-0.5, maxval=2.0, seed=7), "uniform(-0.5, 2)"),
        (keras("TruncatedNormal", mean=1.0, stddev=0.5), truncated(0.5, 1)),
        (keras("GlorotUniform", input_axes=None, output_axes=None), uniform(math.sqrt(6 / 12))),
        (keras("GlorotNormal"), truncated(math.sqrt(2 / 12) / CUT)),
        (keras("HeUniform"), uniform(math.sqrt(6 / 4))),
        (keras("HeNormal"), truncated(math.sqrt(2 / 4) / CUT)),
        (keras("LecunUniform"), uniform(math.sqrt(3 / 4))),
        (keras("LecunNormal"), truncated(math.sqrt(1 / 4) / CUT)),
        (keras("VarianceScaling", scale=3, mode="fan_out", distribution="uniform"), uniform(math.sqrt(9 / 8))),
        (keras("VarianceScaling", scale=3, mode="fan_avg", distribution="untruncated_normal"), f"normal(0, {math.sqrt(3 / 6):.6g})"),
        (keras("OrthogonalInitializer", gain=2.0), "orthogonal(2)"),
        (keras("IdentityInitializer", gain=1.0), "eye"),
        ("he_uniform", uniform(math.sqrt(6 / 4))),
        (
            {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal"}},
            truncated(math.sqrt(1 / 6) / CUT),
        ),
    ],
    ids=str,
)
def test_keras_draws_what_its_config_says(initializer: object, draw: str, tmp_path: Path, ckpt: Ckpt) -> None:
    plan = ckpt("reinit", keras_with(initializer, tmp_path), "--preset", "own", "-n", "--seed", "1").rows
    assert [row[2] for row in plan] == [draw, "constant(0)", uniform(math.sqrt(6 / 9)), "constant(0)"]


@pytest.mark.parametrize(
    ("initializer", "why"),
    [
        (keras("STFT"), "the initializer STFT is not one of Keras'"),
        ({"module": "os", "class_name": "HeNormal", "config": {}, "registered_name": None}, "HeNormal is not one of Keras'"),
        ({"module": "keras.initializers", "class_name": "HeNormal", "registered_name": "mine>HeNormal"}, "HeNormal is not one of Keras'"),
        (keras("Constant", value="rm -rf"), "value is no number"),
        (keras("Constant", value=True), "value is no number"),
        (keras("VarianceScaling", mode="__class__"), "mode or distribution is not known"),
        ([1, 2], "its initializer is not named"),
        (None, "its initializer is not named"),
    ],
    ids=str,
)
def test_an_initializer_that_is_not_known_is_refused_by_name(initializer: object, why: str, tmp_path: Path, ckpt: Ckpt) -> None:
    error = ckpt("reinit", keras_with(initializer, tmp_path), "--preset", "own", "-n", status=2).err
    assert "layers/dense/vars/0" in error and why in error


@pytest.mark.parametrize(
    "name", ["keras3/plain.keras", "keras3/image.legacy.h5", "keras3/rgnet.keras", "keras3/tied.keras", "tf2_21/conv.keras"]
)
def test_every_tensor_of_a_whole_keras_model_is_initialised_as_its_layer_says(name: str, ckpt: Ckpt) -> None:
    plan = {row[0]: row[1] for row in ckpt("reinit", CASES / name, "--preset", "own", "-n", "--seed", "1").rows}
    model = {row[0]: row[2] for row in ckpt("ls", CASES / name).rows if not row[0].startswith("optimizer")}
    assert plan.keys() == model.keys()
    for each, scheme in plan.items():
        sizes = [int(size) for size in model[each].split("x")]
        fans = f"fan={math.prod(sizes[:-1])}x{math.prod(sizes[:-2]) * sizes[-1]}"
        assert scheme == (f"glorot_uniform({fans})" if len(sizes) > 1 else scheme) and scheme.startswith(("glorot", "zeros", "ones")), each


@with_libraries
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "the JSON is broken"),
        ("", "the JSON is broken"),
        ("[1]", "a JSON object is needed"),
        ("{}", "names no model"),
        ({"model_type": "foo"}, "no model_type 'foo'"),
        ({"hidden_size": 33}, "cannot build the model"),
        ({"num_hidden_layers": 10**9}, "is given no more than"),
        ({"num_hidden_layers": 10**5}, "has more than"),
    ],
)
def test_a_config_that_nothing_is_compared_with_does_not_hold(text: str | dict[str, Any], what: str, tmp_path: Path, ckpt: Ckpt) -> None:
    folder = changed("hf5/bert", tmp_path, lambda tensors: None)
    if isinstance(text, dict):
        text = json.dumps(json.loads((folder / "config.json").read_text()) | text)
    (folder / "config.json").write_text(text)
    rows = ckpt("check", folder, "--arch", "auto", status=1).rows
    assert [row[:2] for row in rows if what in row[2]] == [["config", ""]], rows
    assert "did you mean yoso" not in str(rows)
    assert ckpt("check", folder).out == ""


def test_a_prefix_before_all_names_is_told(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = load_file(CASES / "hf5/bert/model.safetensors")
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "m.safetensors")
    result = ckpt("check", tmp_path / "m.safetensors", "--arch", "auto")
    assert result.err.count("'module.'") == 1 and result.out == ""
