"""Tensor and pipeline parallel ranks of Megatron-LM and Llama: cut here as their layers cut, and read as the whole."""

from __future__ import annotations

import json
import os
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ckpt
from oracles import all_bits, read_bits

from ckpt_cli.disk.overwriting import Overwriting

Tensors = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]
HIDDEN, HEADS, WIDE, VOCABULARY = 4, 2, 6, 12


def numbered(shapes: Shapes, dtype: torch.dtype = torch.float32) -> Tensors:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def core(layers: int, gated: bool, dtype: torch.dtype = torch.float32) -> Tensors:
    """A GPT of Megatron Core, as one rank would hold it."""
    first = WIDE * (1 + gated)
    shapes: Shapes = {"embedding.word_embeddings.weight": (VOCABULARY, HIDDEN), "embedding.position_embeddings.weight": (5, HIDDEN)}
    for layer in range(layers):
        at = f"decoder.layers.{layer}"
        shapes |= {
            f"{at}.input_layernorm.weight": (HIDDEN,),
            f"{at}.self_attention.linear_proj.weight": (HIDDEN, HIDDEN),
            f"{at}.self_attention.linear_proj.bias": (HIDDEN,),
            f"{at}.self_attention.linear_qkv.layer_norm_weight": (HIDDEN,),
            f"{at}.self_attention.linear_qkv.weight": (3 * HIDDEN, HIDDEN),
            f"{at}.self_attention.linear_qkv.bias": (3 * HIDDEN,),
            f"{at}.mlp.linear_fc1.weight": (first, HIDDEN),
            f"{at}.mlp.linear_fc1.bias": (first,),
            f"{at}.mlp.linear_fc2.weight": (HIDDEN, WIDE),
            f"{at}.mlp.linear_fc2.bias": (HIDDEN,),
        }
    shapes |= {"decoder.final_layernorm.weight": (HIDDEN,), "output_layer.weight": (VOCABULARY, HIDDEN)}
    return numbered(shapes, dtype)


def of_rank(name: str, whole: torch.Tensor, rank: int, world: int, gated: bool = False) -> torch.Tensor:
    """What a tensor-parallel rank holds, by hand: column-parallel rows, row-parallel columns, all of the rest."""
    if "norm" in name or "position" in name or name.endswith(("linear_proj.bias", "fc2.bias", "4h_to_h.bias")):
        return whole
    if "linear_proj" in name or "fc2" in name or "4h_to_h" in name:
        return whole.chunk(world, 1)[rank].clone()
    if gated and "fc1" in name:
        return torch.cat([half.chunk(world)[rank] for half in whole.chunk(2)])
    return whole.chunk(world)[rank].clone()


def written(run: Path, whole: Tensors, tensor: int, pipeline: int = 1, gated: bool = False, **more: Any) -> Path:
    """A folder of ranks; layers are divided over the stages, each of which counts its own from 0."""
    layers = max((int(name.split(".")[2]) for name in whole if ".layers." in name), default=0) + 1
    size = layers // pipeline
    args = Namespace(tensor_model_parallel_size=tensor, pipeline_model_parallel_size=pipeline)
    for stage in range(pipeline):
        for rank in range(tensor):
            model: dict[str, Any] = {}
            for name, value in whole.items():
                layer = int(name.split(".")[2]) if ".layers." in name else 0 if "embedding" in name else layers - 1
                if layer // size == stage:
                    local = name.replace(f".layers.{layer}.", f".layers.{layer % size}.")
                    model[local] = of_rank(name, value, rank, tensor, gated)
            model["decoder.layers.0.mlp._extra_state"] = torch.zeros(rank + 1, dtype=torch.uint8)
            folder = run / "iter_0000005" / (f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if pipeline > 1 else ""))
            folder.mkdir(parents=True)
            optimizer = {"state": {0: torch.full((3,), float(rank))}}
            state = {"args": args, "checkpoint_version": 3.0, "iteration": 5, "model": model, "optimizer": optimizer}
            torch.save(state | more, folder / "model_optim_rng.pt")
    (run / "latest_checkpointed_iteration.txt").write_text("5\n")
    return run


def right(whole: Tensors) -> Tensors:
    return {f"model.{name}": value for name, value in whole.items()}


LAYOUTS = [
    (2, 1, False, torch.float32),
    (2, 1, True, torch.bfloat16),
    (2, 2, True, torch.float32),
    (1, 2, False, torch.float32),
    (1, 1, True, torch.float16),
]


@pytest.mark.parametrize(("tensor", "pipeline", "gated", "dtype"), LAYOUTS)
def test_ranks_are_read_as_the_whole(tensor: int, pipeline: int, gated: bool, dtype: torch.dtype, tmp_path: Path, ckpt: Ckpt) -> None:
    whole = core(4, gated, dtype)
    run = written(tmp_path / "run", whole, tensor, pipeline, gated)
    for path in (run, run / "iter_0000005"):
        assert read_bits(path) == all_bits(right(whole))
    note = ckpt("ls", run).err
    assert "iter_0000005 is opened" in note and "_extra_state, optimizer are left out" in note
    ckpt("convert", run, tmp_path / "out.safetensors")
    assert read_bits(tmp_path / "out.safetensors") == all_bits(right(whole))
    assert ckpt("check", run).out == ""


def test_one_rank_alone_says_which_it_is(tmp_path: Path, ckpt: Ckpt) -> None:
    run = written(tmp_path / "run", core(2, False), 2, 2)
    for path in ("mp_rank_01_000", "mp_rank_01_000/model_optim_rng.pt"):
        listed = ckpt("ls", run / "iter_0000005" / path)
        assert "part 3 of 4" in listed.err
        assert {row[0]: row[2] for row in listed.rows}["model.embedding.word_embeddings.weight"] == "6x4"


def test_a_missing_rank_is_named(tmp_path: Path, ckpt: Ckpt) -> None:
    run = written(tmp_path / "run", core(2, False), 2, 2)
    shutil.rmtree(run / "iter_0000005" / "mp_rank_01_001")
    assert "part mp_rank_01_001 of 4 is missing" in ckpt("ls", run, status=2).err
    (run / "latest_checkpointed_iteration.txt").write_text("7")
    assert "names the step 7, which is not there" in ckpt("ls", run, status=2).err


def test_query_key_value_of_old_versions_are_cut_each(tmp_path: Path) -> None:
    name = "language_model.encoder.layers.0.attention.query_key_value.weight"
    whole = torch.arange(48.0).reshape(12, 4)
    for version, parts in (
        (0, [torch.cat([third.chunk(2)[rank] for third in whole.chunk(3)]) for rank in (0, 1)]),
        (2.0, list(whole.chunk(2))),
    ):
        run = tmp_path / f"run{version}"
        for rank in (0, 1):
            folder = run / "iter_0000001" / f"mp_rank_0{rank}"
            folder.mkdir(parents=True)
            torch.save({"checkpoint_version": version, "model": {name: parts[rank].clone()}}, folder / "model_optim_rng.pt")
        assert read_bits(run / "iter_0000001") == all_bits({f"model.{name}": whole})


def test_what_all_ranks_hold_is_compared_as_it_is_read(tmp_path: Path, ckpt: Ckpt) -> None:
    run = written(tmp_path / "run", core(1, False), 2)
    ckpt("set", run / "iter_0000005" / "mp_rank_01" / "model_optim_rng.pt", "*.final_layernorm.weight = 9", "-i")
    assert ckpt("ls", run).rows
    assert "final_layernorm.weight is to be the same in all parts" in ckpt("hash", run, status=2).err
    assert [row[:2] for row in ckpt("check", run, status=1).rows] == [["copies", "model.decoder.final_layernorm.weight"]]


def test_another_layer_is_cut_as_the_user_says(tmp_path: Path, ckpt: Ckpt) -> None:
    whole = core(1, False) | {"decoder.layers.0.mixer.odd.weight": torch.arange(24.0).reshape(6, 4)}
    run = written(tmp_path / "run", whole, 2)
    error = ckpt("ls", run, status=2).err
    assert "along which axis model.decoder.layers.0.mixer.odd.weight is cut is not known" in error and "ckpt-parts.toml" in error
    for place in (run, run / "iter_0000005"):
        (place / "ckpt-parts.toml").write_text('"*.odd.weight" = 0\n')
        assert read_bits(run) == all_bits(right(whole))
        (place / "ckpt-parts.toml").unlink()
    for text, says in (
        ('"*.odd.weight" = "some"', "neither an axis"),
        ('"*.odd.weight" = 7', "does not fit along axis 7"),
        ("no", "no TOML"),
        ('"re:(" = 0', "("),
    ):
        (run / "ckpt-parts.toml").write_text(text)
        assert says in ckpt("ls", run, status=2).err


def test_an_unknown_layer_that_is_the_same_everywhere_is_whole(tmp_path: Path) -> None:
    run = written(tmp_path / "run", core(1, False), 2, model={"odd.norm_like": torch.arange(6.0)})
    assert read_bits(run) == all_bits({"model.odd.norm_like": torch.arange(6.0)})


def test_values_are_set_in_place_on_every_rank(tmp_path: Path, ckpt: Ckpt) -> None:
    whole = core(2, True)
    run = written(tmp_path / "run", whole, 2, gated=True)
    at = "decoder.layers.1"
    edits: dict[str, Callable[[], object]] = {
        f"model.{at}.mlp.linear_fc1.weight[2:8] = 7": lambda: whole[f"{at}.mlp.linear_fc1.weight"][2:8].fill_(7),
        f"model.{at}.mlp.linear_fc2.weight[1] *= 3": lambda: whole[f"{at}.mlp.linear_fc2.weight"][1].mul_(3),
        f"model.{at}.input_layernorm.weight[2] = 5": lambda: whole[f"{at}.input_layernorm.weight"].__setitem__(2, 5),
    }
    ckpt("set", run, *edits, "-i")
    for edit in edits.values():
        edit()
    assert read_bits(run) == all_bits(right(whole))
    assert ckpt("check", run).out == ""
    for rank in (0, 1):
        model = torch.load(run / "iter_0000005" / f"mp_rank_0{rank}" / "model_optim_rng.pt", weights_only=False)["model"]
        for name, value in whole.items():
            assert torch.equal(model[name], of_rank(name, value, rank, 2, gated=True)), name


def test_an_edit_that_is_cut_short_between_two_ranks_is_undone(tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    run = written(tmp_path / "run", core(2, True), 2)
    before = {path: path.read_bytes() for path in run.rglob("*.pt")}
    write = Overwriting.write

    def write_and_die(self: Overwriting, *args: Any) -> None:
        write(self, *args)
        os._exit(9)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Overwriting, "write", write_and_die)
        ckpt("set", run, "*.word_embeddings.weight[:, 0] = 7", "-i", status=None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert {path: path.read_bytes() for path in before} != before
    assert "has been undone" in ckpt("ls", run).err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.suffix == ".pt"} == before
    assert not list(run.rglob(".*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"expert_model_parallel_size": 2}, "expert-parallel"),
        ({"num_query_groups": 1, "group_query_attention": True}, "fewer query groups"),
        ({"tensor_model_parallel_size": 1}, "say tensor_model_parallel_size 1, and there are 2"),
        ({"tensor_model_parallel_size": 10**9}, "part mp_rank_02 of 10000 is missing"),
    ],
)
def test_layouts_that_are_not_understood_are_refused(options: dict[str, Any], says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    args = Namespace(**({"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 1} | options))
    run = written(tmp_path / "run", core(1, False), 2, args=args)
    assert says in ckpt("ls", run, status=2).err


def test_a_distributed_checkpoint_is_the_step_that_the_tracker_names(tmp_path: Path, ckpt: Ckpt) -> None:
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": {"w": torch.ones(3)}}, checkpoint_id=str(tmp_path / "run" / "iter_0000012"))
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("12")
    (tmp_path / "run" / "iter_0000009").mkdir()
    listed = ckpt("ls", tmp_path / "run")
    assert [row[0] for row in listed.rows] == ["model.w"] and "iter_0000012 is opened" in listed.err


def test_the_reported_folder_is_read(case: Callable[[str], Path], ckpt: Ckpt, tmp_path: Path) -> None:
    folder = case("reports/megatron-tp2")
    ckpt("convert", folder / "run", tmp_path / "out.pt")
    assert ckpt("diff", tmp_path / "out.pt", folder / "right.pt", "--exact").out == ""


# --- Llama


def llama(folder: Path, ranks: int, embeddings: int, params: bool = True) -> Tensors:
    """Original weights: `embeddings` is the axis along which tok_embeddings are cut."""
    shapes: Shapes = {"tok_embeddings.weight": (VOCABULARY, HIDDEN), "norm.weight": (HIDDEN,), "output.weight": (VOCABULARY, HIDDEN)}
    for part in ("wq", "wk", "wv", "wo"):
        shapes[f"layers.0.attention.{part}.weight"] = (HIDDEN, HIDDEN)
    shapes |= {f"layers.0.feed_forward.{part}.weight": (HIDDEN, WIDE) if part == "w2" else (WIDE, HIDDEN) for part in ("w1", "w2", "w3")}
    shapes |= {"layers.0.attention_norm.weight": (HIDDEN,), "layers.0.ffn_norm.weight": (HIDDEN,), "rope.freqs": (2,)}
    whole = numbered(shapes, torch.bfloat16)
    folder.mkdir()

    def part(name: str, rank: int) -> torch.Tensor:
        if "norm" in name or name == "rope.freqs":
            return whole[name]
        axis = embeddings if "tok" in name else 1 if ".wo." in name or ".w2." in name else 0
        return whole[name].chunk(ranks, axis)[rank].clone()

    for rank in range(ranks):
        torch.save({name: part(name, rank) for name in whole}, folder / f"consolidated.{rank:02d}.pth")
    if params:
        (folder / "params.json").write_text(json.dumps({"dim": HIDDEN, "n_heads": HEADS, "n_layers": 1, "vocab_size": -1}))
    return whole


@pytest.mark.parametrize(("ranks", "embeddings"), [(1, 0), (2, 1), (2, 0)])
def test_llama_is_read_as_the_whole(ranks: int, embeddings: int, tmp_path: Path, ckpt: Ckpt) -> None:
    whole = llama(tmp_path / "llama", ranks, embeddings)
    assert read_bits(tmp_path / "llama") == all_bits(whole)
    ckpt("set", tmp_path / "llama", "norm.weight[1] = 7", "layers.0.attention.wo.weight[0, 3] = 8", "-i")
    whole["norm.weight"][1], whole["layers.0.attention.wo.weight"][0, 3] = 7, 8
    assert read_bits(tmp_path / "llama") == all_bits(whole)
    assert ckpt("ls", tmp_path / "llama", "--json").json["format"] == ("llama" if ranks > 1 else "torch")
    note = ckpt("ls", tmp_path / "llama" / "consolidated.00.pth").err
    assert ("part 1 of 2" in note) == (ranks == 2)


def test_a_missing_rank_of_llama_is_told_by_the_sizes(tmp_path: Path, ckpt: Ckpt) -> None:
    llama(tmp_path / "llama", 2, 0)
    (tmp_path / "llama" / "consolidated.01.pth").rename(tmp_path / "last.pth")
    assert "part consolidated.01.pth of 2 is missing" in ckpt("ls", tmp_path / "llama", status=2).err
    (tmp_path / "llama" / "consolidated.00.pth").rename(tmp_path / "llama" / "consolidated.01.pth")
    assert "part consolidated.00.pth of 2 is missing" in ckpt("ls", tmp_path / "llama", status=2).err


def test_without_sizes_the_embeddings_axis_is_not_guessed(tmp_path: Path, ckpt: Ckpt) -> None:
    whole = llama(tmp_path / "llama", 2, 1, params=False)
    assert "along which axis tok_embeddings.weight is cut" in ckpt("ls", tmp_path / "llama", status=2).err
    (tmp_path / "llama" / "ckpt-parts.toml").write_text('"tok_embeddings.weight" = 1')
    assert read_bits(tmp_path / "llama") == all_bits(whole)
