"""Each family of `families.py` through the product, against what its library does: ten where transformers and diffusers are installed,
all of them by `make models`.

Names, shapes and ties are those of the file that the library writes; layers, kinds and parameters of distributions those that are traced
on the CPU; values drawn over several seeds are distributed as the library's; a recipe gives the same bytes without the library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ckpt
from families import FAMILIES
from moments import difference
from own import Elsewhere, Tiny, disagreement, tiny
from truth import load

ALL = os.environ.get("CKPT_TESTS") == "models"
TEN = ["gpt2", "llama_tied", "mixtral", "bert_classifier", "t5", "whisper", "vit", "wav2vec2", "mamba", "unet", "vae"]
CHOSEN = os.environ.get("CKPT_MODELS", "").split() or (list(FAMILIES) if ALL else TEN)  # `make models FAMILIES='bert t5'`
SEEDS = 16 if ALL else 6
# How the library initialises these is refused by name.
REFUSED = {"pegasus": "model.decoder.embed_positions.weight"}

LARGE = 4 << 20  # bytes of a file from which on one seed is enough
ENOUGH = 40_000  # values of a tensor that are compared


@pytest.fixture(scope="module", params=CHOSEN)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    if not find_spec(FAMILIES[request.param].library):
        pytest.skip(f"{FAMILIES[request.param].library} is not installed")
    return tiny(request.param, tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def explained(model: Tiny) -> None:
    """Of a model whose initialisation can be told."""
    if model.name in REFUSED:
        pytest.skip(f"{REFUSED[model.name]} is refused")


@pytest.fixture(scope="module")
def truth(model: Tiny) -> dict[str, Any]:
    """What the library that is installed does."""
    from trace import trace

    return trace(model.family)


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    process = Elsewhere()
    yield process
    process.close()


def test_the_stored_truth_is_true(model: Tiny, truth: dict[str, Any]) -> None:
    stored = load()[model.name]
    if stored["version"] != truth["version"]:
        pytest.skip(f"stored of {stored['library']} {stored['version']}: `python tests/models/trace.py` stores it anew")
    assert {**truth, "config": stored["config"]} == stored


def test_names_and_shapes_are_those_of_the_file(model: Tiny, ckpt: Ckpt) -> None:
    result = ckpt("check", model.weights, *(model.arch or ("--arch", "auto")), status=None)
    assert (result.status, result.out, result.err) == (0, "", "")


@pytest.mark.usefixtures("explained")
def test_a_new_model_has_the_names_of_the_file(model: Tiny, ckpt: Ckpt, tmp_path: Path) -> None:
    if model.arch or model.weights.stat().st_size > LARGE:
        pytest.skip("no config, or a large file")
    ckpt("new", model.folder / "config.json", "-o", f"{tmp_path}/new/")
    assert layout(tmp_path / "new" / model.weights.name) == layout(model.weights)


def layout(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Return the dtypes and shapes in a file, as safetensors reads them."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return {name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def test_layers_are_the_library_s(model: Tiny, truth: dict[str, Any], ckpt: Ckpt) -> None:
    layers = ckpt("summary", model.weights, "--types", "--json", *model.arch).json["layers"]
    types = {layer["path"]: layer["type"] for layer in layers}
    same_name = {name: true for name, true in truth["tensors"].items() if "source" not in true}
    assert {name: types.get(true["path"]) for name, true in same_name.items()} == {name: plain(true) for name, true in same_name.items()}


def plain(true: dict[str, Any]) -> str:
    """Return the class of a layer in the model with plain attention, which the product builds; SAM has one of its own for each kind."""
    return str(true["layer_type"]).replace("Sdpa", "")


def test_ties_are_the_library_s(model: Tiny, truth: dict[str, Any]) -> None:
    from ckpt_cli.providers.asking import ask
    from ckpt_cli.reading import open as opened

    provided = ask(opened(str(model.weights)), *model.arch[1:])
    assert provided is not None
    assert {frozenset(group) for group in provided.model.ties} == {frozenset(group) for group in truth["ties"]}


@pytest.mark.usefixtures("explained")
def test_distributions_are_the_library_s(model: Tiny, truth: dict[str, Any], ckpt: Ckpt) -> None:
    plan = ckpt("reinit", model.weights, "--preset", "own", "-n", "--json", "--seed", 1, *model.arch).json
    assert disagreement(plan, truth["tensors"]) == {}


@pytest.mark.usefixtures("explained")
def test_draws_are_distributed_as_the_library_s(model: Tiny, truth: dict[str, Any], ckpt: Ckpt, tmp_path: Path) -> None:
    """Drawn by the recipe, so that the library is asked once."""
    from trace import drawn

    from safetensors.numpy import load_file

    size = model.weights.stat().st_size
    seeds = range(1 if size > 16 * LARGE else 3 if size > LARGE else SEEDS)
    recipe = recipe_of(model, ckpt, tmp_path)
    runs = []
    for seed in seeds:
        text = recipe.read_text().replace("seed = 1\n", f"seed = {seed}\n")
        (tmp_path / "seed.toml").write_text(text)
        ckpt("apply", model.weights, tmp_path / "seed.toml", "-o", tmp_path / "drawn.safetensors", "--force")
        runs.append(load_file(tmp_path / "drawn.safetensors"))
    theirs = drawn(model.family, seeds)
    wrong = {}
    for name, true in truth["tensors"].items():
        ours = np.stack([run[name].astype(np.float64) for run in runs])
        if problem := unlike(ours, theirs[name], true):
            wrong[name] = problem
    assert wrong == {}


def unlike(ours: np.ndarray, theirs: np.ndarray, true: dict[str, Any]) -> str:
    """Return how two samples of a tensor differ: value by value what no seed changes, row by row what rows have of their own."""
    if true["init"][0] == "fixed":
        return "" if np.allclose(ours, theirs, rtol=1e-6, atol=1e-7) else f"up to {np.abs(ours - theirs).max():g} off"
    if not ours.size:
        return ""
    special = [int(row) for row in true.get("rows", {})]
    plain = [row for row in range(ours.shape[1]) if row not in special] if special else slice(None)
    parts = [plain, *([row] for row in special)]
    return next((problem for part in parts if (problem := difference(few(ours, part), few(theirs, part)))), "")


def few(values: np.ndarray, rows: Any) -> np.ndarray:
    """Return some of the values of rows, the same places for both samples."""
    chosen = (values[:, rows] if values.ndim > 1 else values).ravel()
    return chosen if chosen.size <= ENOUGH else np.random.default_rng(0).choice(chosen, ENOUGH, replace=False)


@pytest.mark.usefixtures("explained")
def test_a_recipe_gives_the_same_bytes_without_the_library(model: Tiny, ckpt: Ckpt, elsewhere: Elsewhere, tmp_path: Path) -> None:
    direct, replayed = tmp_path / "direct.safetensors", tmp_path / "replayed.safetensors"
    ckpt("reinit", model.weights, "--preset", "own", "--seed", 1, "-o", direct, *model.arch)
    assert elsewhere.run("apply", model.weights, recipe_of(model, ckpt, tmp_path), "-o", replayed) == 0
    assert direct.read_bytes() == replayed.read_bytes()


@pytest.mark.parametrize("name", [name for name in CHOSEN if name in REFUSED])
def test_what_cannot_be_told_is_refused_by_name(name: str, ckpt: Ckpt, tmp_path: Path) -> None:
    refused = tiny(name, tmp_path)
    assert REFUSED[name] in ckpt("reinit", refused.folder, "--preset", "own", "-n", status=2).err
    ckpt("reinit", refused.folder, "--preset", "own", "*.embed_positions.weight=keep", "-n")


def recipe_of(model: Tiny, ckpt: Ckpt, folder: Path) -> Path:
    """Return the recipe of a draw by seed 1."""
    path = folder / "recipe.toml"
    path.write_text(ckpt("reinit", model.weights, "--preset", "own", "--seed", 1, "--print-recipe", *model.arch).out)
    assert "seed = 1\n" in path.read_text()
    return path
