"""Schemes, against torch.nn.init bit for bit, and against the mathematics where torch has no such thing."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from conftest import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import init

from ckpt_cli.errors import CkptError, EditError, UnknownName, UsageError, UserCodeError
from ckpt_cli.schemes import Target, sampling, schemes
from ckpt_cli.schemes.distribution import Constant, Normal, Uniform
from ckpt_cli.schemes.presets import presets
from ckpt_cli.schemes.roles import role_of
from ckpt_cli.schemes.rules import parse_call, parse_rule
from ckpt_cli.schemes.seeds import generator, subseed

FLOATS = ["float16", "bfloat16", "float32", "float64"]
# at a chunk of 64: under 16, tails of 15 and 16, exact, several chunks
SHAPES = [(3, 5), (1, 1), (8, 8), (79, 1), (16, 5), (13, 17), (40, 16), (4, 3, 3), (12, 4, 3, 3), (2, 3, 2, 2, 5)]


def target(shape, dtype="float32", name="0.weight", **facts):
    return Target(name, tuple(shape), dtype, **facts)


def draw(text, shape, dtype="float32", seed=7, stream=None, **facts):
    """The tensor that a scheme, written as on the command line, draws."""
    answer = parse_call(text).distribution(target(shape, dtype, **facts))
    data = b"".join(sampling.blocks(answer, dtype, tuple(shape), stream or generator(seed)))
    return tensor(data, shape, dtype)


def tensor(data, shape, dtype):
    if 0 in shape:
        return torch.empty(shape, dtype=getattr(torch, dtype))
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(getattr(torch, dtype)).reshape(tuple(shape))


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)


def bits(t):
    return t.detach().contiguous().reshape(-1).view(torch.uint8).tolist()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 64)


# ---------------------------------------------------------------- torch, bit for bit

TORCH = [
    ("uniform", lambda t, g: init.uniform_(t, generator=g)),
    ("uniform(-3, 0.5)", lambda t, g: init.uniform_(t, -3, 0.5, generator=g)),
    ("normal", lambda t, g: init.normal_(t, generator=g)),
    ("normal(0, std=0.01)", lambda t, g: init.normal_(t, 0, 0.01, generator=g)),
    ("trunc_normal", lambda t, g: init.trunc_normal_(t, generator=g)),
    ("trunc_normal(1, 0.5, a=0, b=1.5)", lambda t, g: init.trunc_normal_(t, 1, 0.5, 0, 1.5, generator=g)),
    ("trunc_normal(std=0.5, a=1, b=3)", lambda t, g: init.trunc_normal_(t, 0, 0.5, 1, 3, generator=g)),
    ("constant(0.1)", lambda t, g: init.constant_(t, 0.1)),
    ("constant(nan)", lambda t, g: init.constant_(t, math.nan)),
    ("constant(-inf)", lambda t, g: init.constant_(t, -math.inf)),
    ("ones", lambda t, g: init.ones_(t)),
    ("zeros", lambda t, g: init.zeros_(t)),
    ("eye", lambda t, g: init.eye_(t)),
    ("dirac", lambda t, g: init.dirac_(t)),
    ("dirac(groups=2)", lambda t, g: init.dirac_(t, 2)),
    ("xavier_uniform", lambda t, g: init.xavier_uniform_(t, generator=g)),
    ("xavier_uniform(gain=1.4142135623730951)", lambda t, g: init.xavier_uniform_(t, math.sqrt(2), generator=g)),
    ("xavier_normal(0.3)", lambda t, g: init.xavier_normal_(t, 0.3, generator=g)),
    ("kaiming_uniform", lambda t, g: init.kaiming_uniform_(t, generator=g)),
    ("kaiming_uniform(a=0.2, mode=fan_out)", lambda t, g: init.kaiming_uniform_(t, 0.2, "fan_out", generator=g)),
    ("kaiming_normal(nonlinearity=relu)", lambda t, g: init.kaiming_normal_(t, nonlinearity="relu", generator=g)),
    ("kaiming_normal(0, fan_out, selu)", lambda t, g: init.kaiming_normal_(t, 0, "fan_out", "selu", generator=g)),
    ("orthogonal", lambda t, g: init.orthogonal_(t, generator=g)),
    ("orthogonal(gain=2)", lambda t, g: init.orthogonal_(t, 2, generator=g)),
]
DIMS = {"eye": (2, 2), "dirac": (3, 5)}


def suits(text, shape):
    low, high = DIMS.get(text.partition("(")[0], (0, 9))
    return low <= len(shape) <= high and not ("groups" in text and shape[0] % 2)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("text", "oracle"), TORCH, ids=[text for text, _ in TORCH])
def test_equals_torch(small_chunks, text, oracle, dtype):
    through = "float32" if text.startswith("orthogonal") and dtype in ("float16", "bfloat16") else dtype
    for shape in (shape for shape in SHAPES if suits(text, shape)):
        want = oracle(torch.empty(shape, dtype=getattr(torch, through)), torch.Generator().manual_seed(7))
        assert same(draw(text, shape, dtype), want.to(getattr(torch, dtype))), shape


@pytest.mark.parametrize("count", [2**18 - 1, 2**18 + 15, 2**18 + 16, 3 * 2**18 + 5])
@pytest.mark.parametrize("text", ["uniform(-1, 1)", "normal(0, 0.02)"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_real_chunks_equal_torch(text, count, dtype):
    kind = init.uniform_ if text.startswith("uniform") else init.normal_
    numbers = parse_call(text).arguments.values()
    whole = torch.empty(count, dtype=getattr(torch, dtype))
    assert same(draw(text, (count,), dtype), kind(whole, *numbers, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("text", ["uniform", "normal"])
def test_complex_equals_torch(small_chunks, text, dtype):
    for count in (3, 79, 80, 500):
        want = getattr(init, text + "_")(torch.empty(count, dtype=getattr(torch, dtype)), generator=torch.Generator().manual_seed(7))
        assert same(draw(text, (count,), dtype), want)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
@pytest.mark.parametrize("text", ["uniform(-3, 3)", "normal", "trunc_normal", "xavier_normal", "orthogonal", "eye", "textbook"])
def test_float8_is_float32_cast(small_chunks, text, dtype):
    assert same(draw(text, (13, 17), dtype), draw(text, (13, 17), "float32").to(getattr(torch, dtype)))


def test_one_stream_equals_manual_seed():
    """What --rng torch does: one generator for all tensors, sparse's permutations included."""
    shapes = [(8, 4), (8,), (300, 900), (7, 5), (5, 5), (3, 3)]
    texts = ["xavier_uniform", "uniform(-1, 1)", "normal", "sparse(0.4, std=2)", "orthogonal", "trunc_normal"]
    oracles = [
        init.xavier_uniform_,
        lambda t: init.uniform_(t, -1, 1),
        init.normal_,
        lambda t: init.sparse_(t, 0.4, 2),
        init.orthogonal_,
        init.trunc_normal_,
    ]
    torch.manual_seed(3)
    wanted = [oracle(torch.empty(shape)) for oracle, shape in zip(oracles, shapes, strict=True)]
    stream = generator(3)
    for text, shape, want in zip(texts, shapes, wanted, strict=True):
        assert same(draw(text, shape, stream=stream), want), text


def test_sparse_depends_on_its_own_generator_alone():
    torch.manual_seed(1)
    first = draw("sparse(0.25)", (8, 6))
    torch.manual_seed(2)
    assert same(first, draw("sparse(0.25)", (8, 6)))
    assert ((first == 0).sum(dim=0) == 2).all()


def test_torch_family_has_torch_signatures():
    names = "uniform normal trunc_normal constant ones zeros eye dirac xavier_uniform xavier_normal kaiming_uniform kaiming_normal"
    for name in [*names.split(), "orthogonal", "sparse"]:
        theirs = [p for p in inspect.signature(getattr(init, name + "_")).parameters.values() if p.name not in ("tensor", "generator")]
        ours = [p for p in schemes[name].parameters.values() if p.name != "fan"]
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs], name
        assert schemes[name].family == "pytorch"


# ---------------------------------------------------------------- constants

CONSTANTS = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint64",
    *FLOATS,
    "float8_e4m3fn",
    "float8_e5m2",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_constants_fill_every_dtype(dtype):
    for value in (0, 1, True):
        got = draw(f"constant({value})", (3, 5), dtype)
        assert same(got, torch.full((3, 5), value, dtype=torch.float32).to(getattr(torch, dtype))), value


@settings(max_examples=examples(300), deadline=None)
@given(st.floats(-400, 400), st.sampled_from([*FLOATS, "float8_e4m3fn", "float8_e5m2"]))
@example(1 + 2**-11 + 2**-40, "float16")  # rounded twice: to float32, and from there to even
@example(1 + 2**-8 + 2**-40, "bfloat16")
def test_constants_round_as_torch_does(value, dtype):
    want = torch.full((1,), value, dtype=torch.float32 if dtype.startswith("float8") else getattr(torch, dtype)).to(getattr(torch, dtype))
    assert same(tensor(sampling.constant_bytes(value, dtype), (1,), dtype), want)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (300, "uint8"),
        (-1, "uint64"),
        (0.5, "int64"),
        (math.nan, "int32"),
        (2, "bool"),
        (70000.0, "float16"),
        (1e39, "float32"),
        (1e39, "bfloat16"),
        (math.inf, "float8_e4m3fn"),
        (1000, "float8_e4m3fn"),
        (1e6, "float8_e5m2"),
        (1j, "float32"),
        (1j, "bfloat16"),
        (2**63, "int64"),
        (0, "float8_e8m0fnu"),
        (-1, "float8_e8m0fnu"),
        (1e39, "complex64"),
        (10**400, "float64"),
        (10**400, "float16"),
    ],
)
def test_constants_that_cannot_be_held(value, dtype):
    with pytest.raises(EditError, match="hold"):
        sampling.blocks(Constant(value), dtype, (2,))


def test_big_integers_stay_exact():
    assert draw("constant(9007199254740993)", (2,), "int64").tolist() == [2**53 + 1] * 2


def test_constants_need_no_torch():
    code = (
        "import sys; from ckpt_cli.schemes import Target; from ckpt_cli.schemes.sampling import blocks\n"
        "from ckpt_cli.schemes.rules import parse_rule\n"
        "from ckpt_cli.schemes.presets import presets\n"
        "for text in ('*=zeros', '*=constant(42)', '*=mxnet.One'):\n"
        "    print(len(b''.join(blocks(parse_rule(text).call.distribution(Target('a', (300, 1000))), 'float32', (300, 1000)))))\n"
        "print(len(presets) > 5, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1200000"] * 3 + ["True", "False", "False"]


# ---------------------------------------------------------------- fans and variance

IO = {"layout": "io"}
FANS = [
    # layout, shape, fan=, fan_in, fan_out
    ("oi", (8, 4), "", 4, 8),
    ("oi", (8, 4), "io", 8, 4),
    ("io", (4, 8), "", 4, 8),
    ("io", (4, 8), "oi", 8, 4),
    ("oi", (16, 3, 5, 5), "", 75, 400),
    ("io", (5, 5, 3, 16), "", 75, 400),
    ("oi", (6,), "2x3", 2, 3),
    ("oi", (8, 4), "768x2304", 768, 2304),
    ("io", (3, 2, 7), "", 6, 21),
    ("io", (3, 3, 4, 2), "", 36, 18),  # as Keras counts a depthwise kernel, H×W×in×multiplier
]


@pytest.mark.parametrize(("layout", "shape", "fan", "into", "out"), FANS)
def test_fans(layout, shape, fan, into, out):
    suffix = f"(fan={fan})" if fan else ""
    facts = {"layout": layout}
    assert parse_call("lecun_uniform" + suffix).distribution(target(shape, **facts)).high == pytest.approx(math.sqrt(3 / into))
    assert parse_call("glorot_uniform" + suffix).distribution(target(shape, **facts)).high == pytest.approx(math.sqrt(6 / (into + out)))
    assert parse_call("xavier_uniform" + suffix).distribution(target(shape, **facts)).high == pytest.approx(math.sqrt(6 / (into + out)))


VARIANCES = [
    # scheme, variance as a function of fan-in and fan-out
    ("xavier_uniform", lambda i, o: 2 / (i + o)),
    ("xavier_normal", lambda i, o: 2 / (i + o)),
    ("xavier_normal(2)", lambda i, o: 8 / (i + o)),
    ("glorot_uniform", lambda i, o: 2 / (i + o)),
    ("glorot_normal", lambda i, o: 2 / (i + o)),
    ("he_uniform", lambda i, o: 2 / i),
    ("he_normal", lambda i, o: 2 / i),
    ("lecun_uniform", lambda i, o: 1 / i),
    ("lecun_normal", lambda i, o: 1 / i),
    ("kaiming_normal(nonlinearity=relu)", lambda i, o: 2 / i),
    ("kaiming_uniform(mode=fan_out, nonlinearity=linear)", lambda i, o: 1 / o),
    ("kaiming_uniform(a=1)", lambda i, o: 1 / i),
    ("kaiming_normal(nonlinearity=tanh)", lambda i, o: (5 / 3) ** 2 / i),
    ("variance_scaling", lambda i, o: 1 / i),
    ("variance_scaling(3, fan_out, untruncated_normal)", lambda i, o: 3 / o),
    ("variance_scaling(scale=3, mode=fan_avg, distribution=uniform)", lambda i, o: 6 / (i + o)),
    ("Xavier", lambda i, o: 2 / (i + o)),
    ("mxnet.Xavier(gaussian, in, 2)", lambda i, o: 2 / i),
    ("Xavier(factor_type=out, magnitude=6)", lambda i, o: 2 / o),
    ("MSRAPrelu(in, 0)", lambda i, o: 2 / i),
    ("MSRAPrelu", lambda i, o: 4 / (i + o) / (1 + 0.25**2)),
]


@pytest.mark.parametrize(("text", "variance"), VARIANCES, ids=[text for text, _ in VARIANCES])
@pytest.mark.parametrize(("layout", "shape"), [("oi", (200, 120)), ("io", (120, 200)), ("oi", (64, 16, 3, 3)), ("io", (3, 3, 16, 64))])
def test_variance_formula(text, variance, layout, shape):
    into, out = {200: (120, 200), 120: (120, 200), 64: (144, 576), 3: (144, 576)}[shape[0]]
    values = draw(text, shape, layout=layout)
    assert values.var().item() == pytest.approx(variance(into, out), rel=0.05)
    assert abs(values.mean().item()) < 5 * math.sqrt(variance(into, out) / values.numel())


@pytest.mark.parametrize("text", ["he_normal", "glorot_normal", "truncated_normal(1, 0.5)", "variance_scaling"])
def test_truncated_at_two_deviations(text):
    values = draw(text, (100, 120))
    sigma = {"he_normal": math.sqrt(2 / 120), "glorot_normal": math.sqrt(2 / 220), "variance_scaling": math.sqrt(1 / 120)}.get(text, 0.5)
    bound = 2 * sigma / (1 if text.startswith("trunc") else 0.87962566103423978)
    far = (values - (1 if text.startswith("trunc") else 0)).abs().max().item()
    assert 0.95 * bound < far <= bound * 1.000001


MOMENTS = [
    # scheme, least, most, mean, std
    ("random_uniform", -0.05, 0.05, 0, 0.1 / math.sqrt(12)),
    ("random_uniform(1, 3)", 1, 3, 2, 2 / math.sqrt(12)),
    ("random_normal", -1, 1, 0, 0.05),
    ("random_normal(1, stddev=2)", -20, 20, 1, 2),
    ("truncated_normal", -0.1, 0.1, 0, 0.05 * 0.8796),
    ("Uniform", -0.07, 0.07, 0, 0.14 / math.sqrt(12)),
    ("mxnet.Uniform(2)", -2, 2, 0, 4 / math.sqrt(12)),
    ("Normal", -0.1, 0.1, 0, 0.01),
    ("Normal(sigma=3)", -30, 30, 0, 3),
    ("textbook", -10, 10, 0, math.sqrt(175 / 6)),
    ("gpt2_residual(layers=8)", -1, 1, 0, 0.005),
]


@pytest.mark.parametrize(("text", "least", "most", "mean", "std"), MOMENTS)
def test_moments_and_bounds(text, least, most, mean, std):
    values = draw(text, (200, 300))
    assert values.min() >= least
    assert values.max() <= most
    assert values.mean().item() == pytest.approx(mean, abs=5 * std / math.sqrt(60000))
    assert values.std().item() == pytest.approx(std, rel=0.02)


def test_textbook_is_the_chapters_own():
    want = torch.empty(100, 80).uniform_(-10, 10, generator=torch.Generator().manual_seed(7))
    want *= want.abs() >= 5
    values = draw("textbook", (100, 80))
    assert same(values, want)
    assert ((values == 0) | (values.abs() >= 5)).all()
    assert (values == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (values >= 5).float().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("text", ["orthogonal", "orthogonal(3)", "Orthogonal", "Orthogonal(scale=1, rand_type=normal)"])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5), (4, 3, 2, 2), (16, 2, 2)])
def test_orthogonal_is_orthogonal(text, shape):
    gain = {"orthogonal": 1, "orthogonal(3)": 3, "Orthogonal": 1.414}.get(text, 1)
    q = draw(text, shape, "float64").reshape(shape[0], -1)
    gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    assert torch.allclose(gram, gain**2 * torch.eye(len(gram), dtype=torch.float64), atol=1e-12)


def test_deterministic_shapes():
    assert draw("identity(2)", (2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    assert draw("eye", (2, 2), "int64").tolist() == [[1, 0], [0, 1]]
    assert draw("LSTMBias(2)", (8,), "float16").tolist() == [0, 0, 2, 2, 0, 0, 0, 0]
    kernel = draw("Bilinear", (2, 1, 4, 4))
    row = [0.25, 0.75, 0.75, 0.25]
    assert torch.allclose(kernel[1, 0], torch.tensor([[a * b for b in row] for a in row]))
    up = nn.functional.conv_transpose2d(torch.ones(1, 1, 5, 5), kernel[:1], stride=2, padding=1)
    assert torch.allclose(up[0, 0, 1:-1, 1:-1], torch.ones(8, 8))


@pytest.mark.parametrize(
    "text", ["normal", "xavier_uniform(fan=2x3)", "eye", "orthogonal", "textbook", "zeros", "trunc_normal", "Orthogonal", "xavier_normal"]
)
def test_empty_tensors(text):
    assert draw(text, (0, 4)).shape == (0, 4)
    assert draw(text, (3, 0)).shape == (3, 0)


# ---------------------------------------------------------------- warm starts


def old(values, dtype="float32", **facts):
    raw = values.to(getattr(torch, dtype)).contiguous().view(torch.uint8).numpy().tobytes()
    return {"old": lambda: raw, **facts}


def test_shrink_perturb():
    before = torch.arange(600, dtype=torch.float32).reshape(20, 30)
    noise = torch.empty(20, 30).normal_(0, 0.1, generator=torch.Generator().manual_seed(7))
    assert same(draw("shrink_perturb(0.25, 0.1)", (20, 30), **old(before)), before * 0.25 + noise)
    assert same(draw("shrink_perturb(1, 0)", (20, 30), "bfloat16", **old(before, "bfloat16")), before.bfloat16())


class Held:
    """A tensor of another checkpoint."""

    def __init__(self, array):
        self.shape, self.dtype, self.array = array.shape, array.dtype, array

    def tobytes(self):
        return self.array.tobytes()


def test_copy_from():
    array = np.linspace(-2, 3, 12, dtype="float64").reshape(3, 4)
    opened = {"0.weight": Held(array), "b": Held(array.astype("float32")), "wide": Held(array[:, :2])}
    facts = {"open": lambda path: {"dir/other.pt": opened}[path]}
    assert draw("copy_from(dir/other.pt)", (3, 4), "float64", **facts).tolist() == array.tolist()
    assert draw('copy_from("dir/other.pt", name=b)', (3, 4), "float32", **facts).tolist() == array.astype("float32").tolist()
    half = draw("copy_from(dir/other.pt, b)", (3, 4), "bfloat16", **facts)
    assert half.view(torch.int16).numpy().tobytes() == array.astype(ml_dtypes.bfloat16).tobytes()
    with pytest.raises(EditError, match=r"has the shape \(3, 2\), not \(3, 4\)"):
        draw("copy_from(dir/other.pt, wide)", (3, 4), **facts)


@pytest.mark.parametrize("dtype", FLOATS)
def test_mean_rows(dtype):
    before = torch.randn(10, 6, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    after = draw("mean_rows(start=7)", (10, 6), dtype, **old(before, dtype))
    assert same(after[:7], before[:7])
    assert same(after[7:], before[:7].double().mean(0).to(before.dtype).expand(3, 6).contiguous())


def test_resized_embeddings():
    plan = torch.Generator().manual_seed(1)
    mixing = torch.randn(4, 4, generator=plan, dtype=torch.float64)
    before = torch.randn(8000, 4, generator=plan, dtype=torch.float64) @ mixing + 3
    after = draw("resized_embeddings(4000, scale=1)", (8000, 4), "float64", **old(before, "float64"))
    assert same(after[:4000], before[:4000])
    assert torch.allclose(after[4000:].mean(0), before[:4000].mean(0), atol=0.2)
    assert torch.allclose(after[4000:].T.cov(), before[:4000].T.cov(), rtol=0.1, atol=0.3)
    near = draw("resized_embeddings(4000)", (8000, 4), "float64", **old(before, "float64"))
    assert torch.allclose(near[4000:], before[:4000].mean(0).expand(4000, 4), atol=1e-2)
    assert not torch.equal(near[4000], near[4001])
    few = draw("resized_embeddings(2)", (5, 40), "float32", **old(torch.randn(5, 40)))
    assert few.isfinite().all()


def test_gpt2_residual_counts_layers():
    shapes = {f"h.{i}.{part}.weight": (4, 4) for i in range(12) for part in ("attn", "mlp")} | {"wte.weight": (9, 4)}
    assert parse_call("gpt2_residual").distribution(target((4, 4), shapes=shapes)) == Normal(0.0, 0.02 / math.sqrt(24))
    shapes = {f"model.layers.{i}.a": () for i in range(2)}
    assert parse_call("gpt2_residual").distribution(target((4, 4), shapes=shapes)) == Normal(0.0, 0.01)
    with pytest.raises(EditError, match="how many layers"):
        parse_call("gpt2_residual").distribution(target((4, 4)))


# ---------------------------------------------------------------- seeds


def test_three_lines_reproduce_a_tensor():
    import hashlib

    seed = int.from_bytes(hashlib.sha256(b"0:2.weight").digest()[:8], "little") & (2**63 - 1)
    assert subseed(0, "2.weight") == seed == 3047241606834024738
    want = torch.empty(8, 4)
    init.xavier_uniform_(want, generator=torch.Generator().manual_seed(seed))
    assert same(draw("xavier_uniform", (8, 4), seed=subseed(0, "2.weight")), want)
    assert len({subseed(s, n) for s in range(20) for n in "abc"}) == 60


# ---------------------------------------------------------------- roles


class Net(nn.Module):
    """One of each kind of layer."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.conv1d, self.conv3d = nn.Conv1d(2, 4, 3), nn.Conv3d(2, 4, 3)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.ConvTranspose2d(8, 4, 2))
        self.embed = nn.Embedding(10, 6)
        self.norm, self.group, self.rms = nn.LayerNorm(6), nn.GroupNorm(2, 8), nn.RMSNorm(6)
        self.lstm, self.cell = nn.LSTM(6, 5, 2, bidirectional=True), nn.GRUCell(6, 5)
        self.attention = nn.MultiheadAttention(6, 2)


def parts(module):
    """name, layer type, tensor."""
    for path, layer in module.named_modules():
        for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
            yield f"{path}.{name}" if path else name, type(layer).__name__, value


def kind_by_torch(layer, name):
    leaf = name.rpartition(".")[2]
    statistics = {"running_mean": "running_mean", "running_var": "running_var", "num_batches_tracked": "counter"}
    if leaf in statistics:
        return statistics[leaf]
    if layer in ("LSTM", "GRUCell"):
        return "recurrent_bias" if "bias" in leaf else "recurrent" if "hh" in leaf else "recurrent_input"
    if "Norm" in layer:
        return "norm_shift" if leaf == "bias" else "norm_scale"
    if "bias" in leaf:
        return "bias"
    return {"Embedding": "embedding", "PReLU": "slope"}.get(layer, "conv" if "Conv" in layer else "linear")


def test_roles_over_a_real_state_dict():
    shapes = {name: tuple(value.shape) for name, _, value in parts(Net())}
    assert len(shapes) == 46
    for name, layer, value in parts(Net()):
        facts = target(value.shape, str(value.dtype).removeprefix("torch."), name, shapes=shapes)
        want = kind_by_torch(layer, name)
        typed, assumed = role_of(facts, layer), role_of(facts)
        assert typed.role == want, name
        assert typed.reason == f"by type {layer}" or want == "counter"
        assert assumed.role == ("unknown" if want == "slope" else want), name
        assert assumed.reason.startswith("assumed from") or want in ("counter", "slope")


ROLES = [
    # name, shape, kind, reason; with the weights beside them
    ("transformer.wte.weight", (50, 8), "embedding", "name"),
    ("transformer.wpe.weight", (20, 8), "embedding", "name"),
    ("transformer.h.0.ln_1.weight", (8,), "norm_scale", "name"),
    ("transformer.h.0.ln_1.bias", (8,), "norm_shift", "name"),
    ("transformer.ln_f.weight", (8,), "norm_scale", "name"),
    ("transformer.h.0.attn.c_attn.weight", (8, 24), "linear", "shape"),
    ("transformer.h.0.attn.c_attn.bias", (24,), "bias", "name"),
    ("bert.embeddings.LayerNorm.gamma", (8,), "norm_scale", "name"),
    ("bert.embeddings.LayerNorm.beta", (8,), "norm_shift", "name"),
    ("bert.embeddings.word_embeddings.weight", (99, 8), "embedding", "name"),
    ("model.layers.0.input_layernorm.weight", (8,), "norm_scale", "name"),
    ("model.embed_tokens.weight", (99, 8), "embedding", "name"),
    ("tok_embeddings.weight", (99, 8), "embedding", "name"),
    ("patch_embed.proj.weight", (8, 3, 4, 4), "conv", "shape"),
    ("pos_embed", (1, 17, 8), "position", "name"),
    ("cls_token", (1, 1, 8), "token", "name"),
    ("bn1.weight", (8,), "norm_scale", "name"),
    ("layer1.0.downsample.1.weight", (8,), "norm_scale", "shape"),
    ("layer1.0.downsample.1.bias", (8,), "norm_shift", "shape"),
    ("layer1.0.downsample.1.running_var", (8,), "running_var", "name"),
    ("norm1.linear.weight", (8, 8), "linear", "shape"),
    ("norm1.linear.bias", (8,), "bias", "name"),
    ("optimizer.state.0.exp_avg", (8, 8), "other", "name"),
    ("optimizer.state.0.sum", (8, 8), "other", "name"),
    ("optimizers/0/weight", (8, 8), "other", "name"),
    ("dense/kernel", (4, 8), "linear", "shape"),
    ("dense/bias", (8,), "bias", "name"),
    ("batch_normalization/moving_variance", (8,), "running_var", "name"),
    ("lstm/lstm_cell/recurrent_kernel", (8, 32), "recurrent", "name"),
    ("embedding/embeddings", (9, 8), "embedding", "name"),
    ("layers/dense/vars/0", (4, 8), "linear", "shape"),
    ("layers/dense/vars/1", (8,), "bias", "shape"),
    ("dense0_weight", (8, 4), "linear", "shape"),
    ("dense0_bias", (8,), "bias", "name"),
    ("batchnorm0_gamma", (8,), "norm_scale", "name"),
    ("batchnorm0_running_mean", (8,), "running_mean", "name"),
    ("lstm0_l0_h2h_weight", (32, 8), "recurrent", "name"),
    ("lstm0_l0_i2h_bias", (32,), "recurrent_bias", "name"),
    ("logit_scale", (), "logit", "name"),
    ("2.bias", (1,), "bias", "name"),
    ("2.weight", (1, 8), "linear", "shape"),
]


@pytest.mark.parametrize(("name", "shape", "kind", "reason"), ROLES, ids=[row[0] for row in ROLES])
def test_roles_by_name_and_shape(name, shape, kind, reason):
    shapes = {row[0]: row[1] for row in ROLES}
    assert role_of(target(shape, name=name, shapes=shapes)) == (kind, f"assumed from {reason}")


def test_roles_are_for_floats():
    for dtype in ("int64", "bool", "complex64", "complex32", "float8_e8m0fnu"):
        assert role_of(target((8, 4), dtype), "Linear") == ("other", "by dtype")
    assert role_of(target((), "int64", "bn.num_batches_tracked")).role == "counter"


@pytest.mark.parametrize(
    ("layer", "name", "shape", "kind"),
    [
        ("Dense", "a/kernel", (3, 4), "linear"),
        ("Conv2D", "a/kernel", (3, 3, 3, 4), "conv"),
        ("Conv1D", "h.0.c_attn.weight", (8, 24), "linear"),
        ("BatchNormalization", "a/gamma", (4,), "norm_scale"),
        ("LlamaRMSNorm", "x.weight", (4,), "norm_scale"),
        ("Embedding", "a/embeddings", (9, 4), "embedding"),
        ("LSTM", "a/kernel", (9, 16), "recurrent_input"),
        ("LSTM", "a/recurrent_kernel", (4, 16), "recurrent"),
        ("LSTM", "a/bias", (16,), "recurrent_bias"),
        ("EinsumDense", "a/kernel", (3, 4), "linear"),
        ("Dense", "a/bias", (4,), "bias"),
        ("GELU", "x.weight", (4, 4), "linear"),
        ("Bilinear", "b.bias", (4,), "bias"),
    ],
)
def test_roles_by_type(layer, name, shape, kind):
    assert role_of(target(shape, name=name), layer).role == kind


# ---------------------------------------------------------------- presets

RESET = [
    nn.Linear(7, 5),
    nn.Conv1d(4, 6, 3),
    nn.Conv2d(4, 6, 3, groups=2),
    nn.Conv3d(2, 4, 2),
    nn.ConvTranspose2d(4, 6, 3),
    nn.Embedding(30, 5),
    nn.LSTM(6, 5, 2, bidirectional=True),
    nn.GRU(3, 4),
    nn.LSTM(6, 5, proj_size=3),
    nn.RNNCell(4, 6),
    nn.BatchNorm2d(4),
    nn.LayerNorm(6),
    nn.GroupNorm(2, 4),
]


def by_preset(preset, module, types=True, layout="oi"):
    shapes = {name: tuple(value.shape) for name, _, value in parts(module)}
    for name, layer, value in parts(module):
        facts = target(value.shape, str(value.dtype).removeprefix("torch."), name, shapes=shapes, layout=layout)
        yield facts, presets[preset](facts, role_of(facts, layer if types else None).role), value


@pytest.mark.parametrize("types", [True, False])
@pytest.mark.parametrize("module", RESET, ids=str)
def test_pytorch_preset_is_reset_parameters(module, types):
    """Bit for bit: the layers draw their parameters in the order in which they hold them."""
    torch.manual_seed(11)
    module.reset_parameters()
    stream = generator(11)
    holder = nn.Sequential()
    holder.add_module("embed" if isinstance(module, nn.Embedding) else "layer", module)
    for facts, answer, value in by_preset("pytorch", holder, types):
        data = b"".join(sampling.blocks(answer, facts.dtype, facts.shape, stream))
        assert same(tensor(data, facts.shape, facts.dtype), value.detach()), facts.name


def test_pytorch_preset_of_attention():
    answers = {facts.name: answer for facts, answer, _ in by_preset("pytorch", nn.Sequential(nn.MultiheadAttention(6, 2)))}
    bound = math.sqrt(6 / (6 + 18))
    assert answers["0.in_proj_weight"].high == -answers["0.in_proj_weight"].low == pytest.approx(bound)
    assert answers["0.in_proj_bias"] == answers["0.out_proj.bias"] == Constant(0)
    assert answers["0.out_proj.weight"].high == pytest.approx(1 / math.sqrt(6))


def test_pytorch_preset_of_prelu():
    assert [answer for _, answer, _ in by_preset("pytorch", nn.PReLU(3))] == [Constant(0.25)]


PRESETS = [
    # preset, kind, shape, answer
    ("keras", "linear", (4, 8), Uniform(-math.sqrt(3.0) * math.sqrt(1 / 6), math.sqrt(3.0) * math.sqrt(1 / 6))),
    ("keras", "bias", (8,), Constant(0)),
    ("keras", "embedding", (9, 4), Uniform(-0.05, 0.05)),
    ("mxnet", "linear", (4, 8), Uniform(-0.07, 0.07)),
    ("mxnet", "bias", (8,), Constant(0)),
    ("mxnet", "embedding", (9, 8), Uniform(-0.07, 0.07)),
    ("gpt2", "linear", (4, 8), Normal(0.0, 0.02)),
    ("gpt2", "embedding", (4, 8), Normal(0.0, 0.02)),
    ("bert", "linear", (4, 8), Normal(0.0, 0.02)),
    ("bert", "bias", (8,), Constant(0)),
    ("pytorch", "embedding", (9, 4), Normal(0.0, 1.0)),
]


@pytest.mark.parametrize(("preset", "kind", "shape", "answer"), PRESETS)
def test_presets(preset, kind, shape, answer):
    assert presets[preset](target(shape, layout="io" if preset == "keras" else "oi"), kind) == answer


@pytest.mark.parametrize("preset", sorted(set(presets) - {"own", "auto", "gemma"}))
def test_presets_agree_on_the_rest(preset):
    kinds = {
        "norm_scale": Constant(1),
        "norm_shift": Constant(0),
        "running_mean": Constant(0),
        "running_var": Constant(1),
        "counter": Constant(0),
        "other": None,
        "unknown": None,
        "computed": None,
        "weight_gain": None,
    }
    assert {kind: presets[preset](target((8,)), kind) for kind in kinds} == kinds
    assert inspect.getdoc(presets[preset])


def test_keras_preset_of_lstm():
    shapes = {"lstm/recurrent_kernel": (2, 8), "lstm/kernel": (5, 8), "lstm/bias": (8,)}
    facts = {name: target(shape, name=name, shapes=shapes, layout="io") for name, shape in shapes.items()}
    answers = {name: presets["keras"](fact, role_of(fact, "LSTM").role) for name, fact in facts.items()}
    assert str(answers["lstm/recurrent_kernel"]) == "orthogonal(1)"
    assert tensor(b"".join(sampling.blocks(answers["lstm/bias"], "float32", (8,))), (8,), "float32").tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    gru = target((6,), name="gru/bias", shapes={"gru/recurrent_kernel": (2, 6)}, layout="io")
    assert presets["keras"](gru, "recurrent_bias") == Constant(0)


def test_gpt2_preset_scales_residual_projections():
    shapes = {f"h.{i}.{part}.c_proj.weight": (4, 4) for i in range(2) for part in ("attn", "mlp")}
    assert presets["gpt2"](target((4, 4), name="h.1.mlp.c_proj.weight", shapes=shapes), "linear") == Normal(0.0, 0.01)
    assert presets["gpt2"](target((4, 4), name="h.1.mlp.c_fc.weight", shapes=shapes), "linear") == Normal(0.0, 0.02)


# ---------------------------------------------------------------- rules

RULES = [
    # text, pattern, scheme, arguments
    ("0.weight=constant(42)", "0.weight", "constant", {"val": 42}),
    ("*.bias=zeros", "*.bias", "zeros", {}),
    ("*.bias = zeros()", "*.bias", "zeros", {}),
    ("0.block 1.0.bias=ones", "0.block 1.0.bias", "ones", {}),
    ("a=b.weight=normal(0, std=0.01)", "a=b.weight", "normal", {"mean": 0, "std": 0.01}),
    ("re:^(?=x)(a|b)\\(=zeros", "re:^(?=x)(a|b)\\(", "zeros", {}),
    ("*=kaiming_uniform(mode=fan_out, fan=io)", "*", "kaiming_uniform", {"mode": "fan_out", "fan": "io"}),
    ("*=xavier_normal(fan=768x2304)", "*", "xavier_normal", {"fan": "768x2304"}),
    ("*=mxnet.Xavier('gaussian', in, 2.5)", "*", "mxnet.Xavier", {"rnd_type": "gaussian", "factor_type": "in", "magnitude": 2.5}),
    ("*=Normal(0.5)", "*", "mxnet.Normal", {"sigma": 0.5}),
    ("x=copy_from(../a b/other-1.pt)", "x", "copy_from", {"file": "../a b/other-1.pt"}),
    ("x=copy_from('a,b=zeros(1).pt', name=0.weight)", "x", "copy_from", {"file": "a,b=zeros(1).pt", "name": "0.weight"}),
    ("x=constant(-inf)", "x", "constant", {"val": -math.inf}),
    ("x=constant(True)", "x", "constant", {"val": True}),
    ("x=constant(1+2j)", "x", "constant", {"val": 1 + 2j}),
]


@pytest.mark.parametrize(("text", "pattern", "name", "arguments"), RULES, ids=[row[0] for row in RULES])
def test_rules(text, pattern, name, arguments):
    rule = parse_rule(text)
    assert (rule.pattern, rule.call.scheme.name, rule.call.arguments) == (pattern, name, arguments)
    assert parse_rule(str(rule)) == rule


NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CALLS = st.builds(lambda v: schemes["constant"].bind([v], {}), NUMBERS).map(lambda a: ("constant", a)) | st.builds(
    lambda file, name: ("copy_from", {"file": file, "name": name}), TEXTS, TEXTS
)
PATTERNS = st.text(st.sampled_from("ab.*=()[]{}'\", 0é"), min_size=1, max_size=12).filter(lambda p: p == p.strip())


@settings(max_examples=examples(400), deadline=None)
@given(PATTERNS, CALLS)
def test_rules_round_trip(pattern, parts):
    from ckpt_cli.schemes.rules import Call, Rule

    rule = Rule(pattern, Call(schemes[parts[0]], parts[1]))
    read = parse_rule(str(rule))
    assert (read.pattern, read.call.scheme.name) == (pattern, parts[0])
    assert repr(read.call.arguments) == repr(dict(parts[1]))


@settings(max_examples=examples(300), deadline=None)
@given(st.text(st.sampled_from("ab1.=(),'\"[]{}-: \\\n"), max_size=25))
def test_any_text_is_a_rule_or_an_error_of_ours(text):
    with contextlib.suppress(CkptError):
        assert parse_rule(text).pattern


ERRORS = [
    ("zeros", UsageError, "'zeros' is no rule"),
    ("=zeros", UsageError, "is no rule"),
    ("x=normal(0,", UsageError, "is no rule"),
    ("x=zeroes", UnknownName, "did you mean zeros"),
    ("x=xavier_uniform__", UnknownName, "xavier_uniform"),
    ("x=constant(value=3)", UsageError, r"constant\(\) takes val, not value"),
    ("x=constant", UsageError, r"constant\(\) needs val \(see `ckpt schemes constant`\)"),
    ("x=normal(0, 1, 2)", UsageError, "takes at most 2 arguments, not 3"),
    ("x=normal(0, mean=1)", UsageError, "was given mean twice"),
    ("x=normal(std=1, std=2)", UsageError, "std is given twice"),
    ("x=normal(std=1, 2)", UsageError, "follows an argument that is given by name"),
    ("x=normal(std=wide)", UsageError, "takes a number for std, not 'wide'"),
    ("x=normal(True)", UsageError, "takes a number for mean, not True"),
    ("x=kaiming_normal(mode=fan_avg)", UsageError, "takes fan_in or fan_out for mode"),
    ("x=dirac(groups=1.5)", UsageError, "takes a whole number"),
    ("x=nowhere.py:fill", UsageError, "no such file"),
    ("x=constant(__import__('os').system('true'))", UsageError, "takes a number for val"),
]


@pytest.mark.parametrize(("text", "error", "match"), ERRORS, ids=[row[0] for row in ERRORS])
def test_rule_errors(text, error, match):
    with pytest.raises(error, match=match):
        parse_rule(text)


REFUSED = [
    ("xavier_uniform", (8,), "float32", "a vector has no fan-in and fan-out"),
    ("he_normal", (), "float32", "a scalar has no fan-in"),
    ("xavier_uniform(fan=sideways)", (8, 4), "float32", "fan=sideways is no layout"),
    ("normal", (8, 4), "int64", "cannot be drawn in int64"),
    ("uniform", (8, 4), "bool", "cannot be drawn in bool"),
    ("orthogonal", (8, 4), "int8", "cannot be drawn in int8"),
    ("textbook", (8, 4), "complex64", "cannot be drawn in complex64"),
    ("eye", (8,), "float32", "eye is for tensors of 2 dimensions"),
    ("dirac", (8, 4), "float32", "3 to 5 dimensions"),
    ("dirac(3)", (8, 4, 3), "float32", "cannot be split into 3 groups"),
    ("orthogonal", (8,), "float32", "2 or more dimensions"),
    ("sparse(2)", (8, 4), "float32", "between 0 and 1"),
    ("Bilinear", (8, 4), "float32", "4 dimensions"),
    ("LSTMBias", (6,), "float32", "four gates"),
    ("uniform(2, 1)", (8, 4), "float32", "makes no sense"),
    ("normal(0, -1)", (8, 4), "float32", "makes no sense"),
    ("uniform(0, 1e6)", (8, 4), "float16", "cannot be drawn in float16"),
    ("trunc_normal(a=2, b=1)", (8, 4), "float32", "nothing lies within"),
    ("mean_rows(0)", (8, 4), "float32", "0 < start <= 8"),
    ("mean_rows(9)", (8, 4), "float32", "0 < start <= 8"),
    ("resized_embeddings(2)", (8,), "float32", "table of rows"),
    ("mean_rows(2)", (8, 4), "int64", "cannot average int64"),
]


@pytest.mark.parametrize(("text", "shape", "dtype", "match"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_drawn(text, shape, dtype, match):
    with pytest.raises(CkptError, match=match) as caught:
        draw(text, shape, dtype)
    assert caught.value.mend
    assert "\n" not in str(caught.value)


def test_every_scheme_is_documented():
    assert len(schemes) > 40
    for name, scheme in schemes.items():
        lines = scheme.doc.split("\n")
        assert lines[0], name
        assert lines[1] == "", name
        assert lines[2], name
        assert re.fullmatch(r"[\w.]+\(.*\)", scheme.signature)
    assert schemes["Normal"] is schemes["mxnet.Normal"]
    assert schemes["normal"].signature == "normal(mean=0.0, std=1.0)"


# ---------------------------------------------------------------- the user's own

OWN = """
import torch
from neighbour import SCALE

def filled(tensor, low=0.0, *, generator):
    tensor.uniform_(low, 1, generator=generator)

def returned(tensor, name, fan_in, fan_out):
    return torch.full(tensor.shape, SCALE * fan_in + fan_out if name == "0.weight" else -1.0)

def careless(tensor):
    torch.nn.init.normal_(tensor)

def wrong_shape(tensor):
    return torch.zeros(3)

def failing(tensor):
    return 1 / 0

def shouting(tensor):
    raise ValueError("two\\nlines")
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "neighbour.py").write_text("SCALE = 10\n")
    (tmp_path / "own.py").write_text(OWN)
    return f"{tmp_path}/own.py"


def test_own_schemes(own):
    paths = list(sys.path)
    want = torch.empty(8, 4).uniform_(0.5, 1, generator=torch.Generator().manual_seed(7))
    assert same(draw(f"{own}:filled(low=0.5)", (8, 4)), want)
    assert draw(f"{own}:returned", (8, 4)).unique().tolist() == [48]
    assert draw(f"{own}:returned", (4, 8), layout="io").unique().tolist() == [48]
    assert sys.path == paths


def test_own_scheme_without_generator_leaves_the_global_one_alone(own):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    want = torch.empty(8, 4).normal_(generator=torch.Generator().manual_seed(7))
    assert same(draw(f"{own}:careless", (8, 4)), want)
    assert torch.equal(torch.get_rng_state(), state)


def test_own_schemes_share_one_stream(own):
    stream = generator(9)
    got = [draw(f"{own}:careless", (8, 4), stream=stream), draw("normal", (20,), stream=stream)]
    torch.manual_seed(9)
    assert all(same(a, b) for a, b in zip(got, [torch.randn(8, 4), torch.randn(20)], strict=True))


def test_own_schemes_that_fail(own, tmp_path):
    for name, match in [
        ("wrong_shape", r"returned \(3,\), not a tensor of shape \(8, 4\)"),
        ("failing", r"own.py:18: ZeroDivisionError: division by zero"),
        ("shouting", r"own.py:21: ValueError: two lines"),
    ]:
        with pytest.raises(UserCodeError, match=match) as caught:
            draw(f"{own}:{name}", (8, 4))
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="did you mean filled"):
        parse_call(f"{own}:fille")
    with pytest.raises(UsageError, match="takes low, not high"):
        parse_call(f"{own}:filled(high=1)")
    (tmp_path / "broken.py").write_text("x = 1\nif x\n")
    with pytest.raises(UserCodeError, match=r"broken.py:2: SyntaxError"):
        parse_call(f"{tmp_path}/broken.py:f")
