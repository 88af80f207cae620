"""What a library does while it initialises a model, recorded on the meta device and drawn as a scheme, against the module's own values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import WHOLE, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_modules import MODULES, bound_before, imported_by_value
from test_schemes import draw
from torch import nn

from ckpt_cli.providers.recorded_alone import alone
from ckpt_cli.providers.recorded_values import Unexplained
from ckpt_cli.providers.recording import recording
from ckpt_cli.schemes.formula_evaluation import evaluated
from ckpt_cli.schemes.formula_syntax import parsed
from ckpt_cli.schemes.rules import parse_call

DRAWS = 16 if WHOLE else 6  # of each tensor, to compare distributions


def recorded(make):
    """The scheme of each tensor of a module that is built on the meta device."""
    with recording() as record, torch.device("meta"):
        module = make()
    return {name: record.initialisation(tensor) for name, tensor in module.state_dict(keep_vars=True).items()}


def own_values(make, seeds):
    """The values that a module has on the CPU, by tensor, one for each seed."""
    states = []
    for seed in seeds:
        torch.manual_seed(seed)
        states.append({name: tensor.clone() for name, tensor in make().state_dict().items()})
    return {name: [state[name] for state in states] for name in states[0]}


def name_of(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def farthest(ours, theirs):
    """The greatest difference of two empirical distributions, in units in which two of one distribution seldom exceed 1.95 (p = 0.001)."""
    ours, theirs = np.sort(ours), np.sort(theirs)
    every = np.concatenate([ours, theirs])
    apart = np.abs(np.searchsorted(ours, every, "right") / len(ours) - np.searchsorted(theirs, every, "right") / len(theirs)).max()
    return apart * np.sqrt(len(ours) * len(theirs) / (len(ours) + len(theirs)))


@pytest.mark.parametrize("name", MODULES)
def test_draws_what_the_module_draws(name):
    make = MODULES[name]
    schemes, values = recorded(make), own_values(make, range(DRAWS))
    assert schemes.keys() == values.keys()
    for key, theirs in values.items():
        scheme, reason = schemes[key]
        assert scheme, f"{key}: {reason}"
        shape, dtype = tuple(theirs[0].shape), name_of(theirs[0])
        if all(torch.equal(theirs[0], other) for other in theirs):
            ours = draw(scheme, shape, dtype)
            assert torch.equal(ours, theirs[0]), f"{key}: {scheme}"
            continue
        ours = [draw(scheme, shape, dtype, seed).double().numpy() for seed in range(DRAWS)]
        theirs = [each.double().numpy() for each in theirs]
        assert farthest(np.ravel(ours), np.ravel(theirs)) < 2.6, f"{key}: {scheme}"
        for row in {0, shape[0] // 2, shape[0] - 1}:  # rows have distributions of their own
            assert farthest(np.ravel([each[row] for each in ours]), np.ravel([each[row] for each in theirs])) < 2.6, (
                f"{key}[{row}]: {scheme}"
            )


def test_texts():
    """The plainest scheme, and exact numbers."""
    texts = {name: scheme for make in MODULES.values() for name, (scheme, _) in recorded(make).items()}
    expected = {
        "torch": "trunc_normal(mean=0.0, std=0.02, a=-2.0, b=2.0)",
        "timm": "trunc_normal(mean=0.0, std=0.02, a=-2.0, b=2.0)",
        "timm_tf": "trunc_normal(mean=0.1, std=0.02, a=0.060000000000000005, b=0.14)",
        "scaled": "normal(mean=0.0, std=0.3)",
        "moved": "uniform(a=-1.0, b=1.0)",
        "gamma": "constant(val=1e-06)",
        "padded": "formula",
        "fused": "rows(zeros, 8:16=ones)",
        "bias_ih": "rows(uniform(a=-0.4472135954999579, b=0.4472135954999579), 5:10=ones)",
        "weight_hh": "rows(zeros, 0:5=orthogonal(gain=1), 5:10=orthogonal(gain=1), 10:15=orthogonal(gain=1), 15:20=orthogonal(gain=1))",
        "by_partial": "orthogonal(gain=0.5)",
        "gained": "orthogonal(gain=3.0)",
        "eye": "eye",
        "qkv": "normal(mean=0.0, std=0.02)",
        "expert": "uniform(a=-0.5, b=0.5)",
        "mixed": "rows(normal(mean=0.0, std=0.02), 0:2=zeros)",
        "table": "rows(normal(mean=0.0, std=1.0), 0=zeros)",
        "A_log": "formula(text='log(expand(reshape(arange(1, 17, dtype=float32), (1, 16)), (24, 16)))')",
        "ids": "formula(text='reshape(arange(12), (1, 12))')",
    }
    assert {name: texts[name] if text != "formula" else texts[name][:7] for name, text in expected.items()} == expected
    for text in texts.values():
        assert str(parse_call(text)) == text


def test_functions_are_put_back():
    functions = [getattr(nn.init, name) for name in dir(nn.init) if callable(getattr(nn.init, name))]
    codes = [getattr(function, "__code__", None) for function in functions]
    with pytest.raises(ZeroDivisionError), recording():
        assert nn.init.orthogonal_ is imported_by_value
        raise ZeroDivisionError
    assert [getattr(function, "__code__", None) for function in functions] == codes
    torch.manual_seed(3)
    ours = bound_before(torch.empty(4, 4))
    assert torch.allclose(ours @ ours.T, 0.25 * torch.eye(4), atol=1e-6)


REASONS = {
    "empty": (lambda: torch.empty(3), "the library leaves it uninitialised"),
    "half_empty": (lambda: torch.empty(4, 3).index_fill_(0, torch.tensor([0]), 1.0), "never initialised"),
    "rows_empty": (lambda: _write(torch.empty(4, 3), (0,), 1.0), "uninitialised"),
    "outside": (lambda: OUTSIDE[0], "not seen"),
    "listed": (lambda: torch.tensor(np.random.default_rng(0).normal(size=9_000)), "9000 values that the library lists"),
}
OUTSIDE = [torch.empty(3, device="meta")]


@pytest.mark.parametrize("name", REASONS)
def test_what_cannot_be_told(name):
    make, reason = REASONS[name]
    with recording() as record, torch.device("meta"):
        tensor = make()
    scheme, why = record.initialisation(tensor)
    assert not scheme
    assert reason in why


def test_values_where_python_asks_for_them():
    """Numbers that code takes from tensors on the meta device, where nothing random is in them."""
    with recording() as record, torch.device("meta"):
        rates = torch.linspace(0, 0.3, 4)
        assert rates.tolist() == torch.linspace(0, 0.3, 4, device="cpu").tolist()
        assert rates[3].item() == float(rates[-1]) == torch.tensor(0.3, device="cpu").item()
        assert rates.numpy().shape == (4,)
        tensor = torch.full((2, 2), rates[3].item())
    assert record.scheme_of(tensor) == "constant(val=0.3)"


class OfNumpy(nn.Module):
    """A module whose initialisation does not run on the meta device."""

    def __init__(self):
        super().__init__()
        self.table, self.weight, self.norm = (nn.Parameter(torch.empty(shape)) for shape in ((12, 8), (5, 8), (5,)))
        nn.init.normal_(self.weight, std=0.3)

    def reset(self):
        angles = np.arange(12)[:, None] / 10000 ** (np.arange(4) * 2 / 8)
        self.table.data.copy_(torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], 1)))
        np.multiply(self.table.detach().numpy(), 1, out=np.empty((12, 8), "float32"))
        self.norm.data.copy_(torch.from_numpy(np.linalg.norm(self.weight.detach().numpy(), axis=1)))


def test_one_module_alone():
    with recording() as record, torch.device("meta"):
        module = OfNumpy()
        with alone(record, module):
            assert not module.table.is_meta
            module.reset()
    assert module.table.is_meta
    assert record.scheme_of(module.weight) == "normal(mean=0.0, std=0.3)"
    assert "drawn" in record.initialisation(module.norm).reason
    on_cpu = OfNumpy()
    on_cpu.reset()
    assert torch.equal(draw(record.scheme_of(module.table), (12, 8)), on_cpu.table)
    with pytest.raises(Unexplained, match="too large"), recording() as record, alone(record, nn.Linear(1 << 13, 1 << 13, device="meta")):
        pass


# ---------------------------------------------------------------- formulas of any operations

STEPS = {
    "mul": lambda x, a: x * a,
    "add_": lambda x, a: x.add_(a),
    "half": lambda x, a: x[..., : max(1, x.shape[-1] // 2)].clone(),
    "turn": lambda x, a: x.transpose(0, -1).contiguous(),
    "view": lambda x, a: x.transpose(0, -1),
    "cat": lambda x, a: torch.cat([x, x * 2], -1)[..., : x.shape[-1] + 1],
    "fill": lambda x, a: _write(x, (slice(None), 0), a),
    "strided": lambda x, a: _write(x, (..., slice(None, None, 2)), x[..., ::2].sin()),
    "rows": lambda x, a: _write(x, (slice(1, None),), x[:1]),
    "minus": lambda x, a: a - x,
    "divide": lambda x, a: x / (a.abs() + 1),
    "outer": lambda x, a: x[..., None].expand(*x.shape, 2).reshape(*x.shape[:-1], -1)[..., : x.shape[-1]],
    "flip": lambda x, a: x.flip(0),
    "sum": lambda x, a: x + x.sum(0, keepdim=True),
    "cast": lambda x, a: x.double().exp().float() if x.abs().max() < 5 else x.neg(),
    "where": lambda x, a: torch.where(x > a, x, -x),
}


def _write(x, where, value):
    x = x.contiguous()
    x[where] = value
    return x


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8), st.tuples(st.integers(1, 4), st.integers(1, 5)), st.integers(0, 9))
def test_formulas_give_what_was_computed(steps, shape, seed):
    from ckpt_cli.providers.recorded_formulas import formula_text

    with recording() as record:
        x, a = torch.arange(float(shape[0] * shape[1])).reshape(shape) / 7, torch.tensor(seed / 4)
        for step in steps:
            x = STEPS[step](x, a)
        text = formula_text(record.read(x))
    value = evaluated(parsed(text), tuple(x.shape), "cpu")
    assert torch.equal(value, x), text
    assert torch.equal(record.values_of(x), x)
