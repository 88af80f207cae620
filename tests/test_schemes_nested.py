"""The scheme `rows`, against writes to rows of a torch tensor, bit for bit."""

from __future__ import annotations

import json

import pytest
import torch
from test_schemes import draw, same, target
from torch.nn import init

from ckpt_cli.errors import CkptError
from ckpt_cli.schemes import sampling
from ckpt_cli.schemes.rules import parse_call, parse_rule

SHAPE = (13, 17)


def _thirds(w, g):
    for block in w[:4], w[4:8], w[8:]:
        init.xavier_uniform_(block, generator=g)


# the scheme, and the same as writes to a tensor of SHAPE by one generator
WRITES = [
    ("rows(normal(0, 0.02), 0=zeros)", lambda w, g: (init.normal_(w, 0, 0.02, generator=g), w[0].zero_())),
    ("rows(normal(0, 0.02), -1=zeros)", lambda w, g: (init.normal_(w, 0, 0.02, generator=g), w[-1].zero_())),
    ("rows(zeros, 4:8=ones)", lambda w, g: (w.zero_(), w[4:8].fill_(1))),
    ("rows(zeros, :4=xavier_uniform, 4:8=xavier_uniform, 8:=xavier_uniform)", _thirds),
    ("rows(uniform, 3=normal, 11:=constant(3))", lambda w, g: (w.uniform_(generator=g), w[3].normal_(generator=g), w[11:].fill_(3))),
    ("rows(normal, 2:9=zeros, 5:=ones)", lambda w, g: (w.normal_(generator=g), w[2:9].zero_(), w[5:].fill_(1))),
    ("rows(normal, 3:3=ones, 8:3=ones)", lambda w, g: w.normal_(generator=g)),
    ("rows(zeros, 2:=rows(normal, 0=ones))", lambda w, g: (w.zero_(), w[2:].normal_(generator=g), w[2].fill_(1))),
    ("rows(normal, 2:7=orthogonal)", lambda w, g: (w.normal_(generator=g), init.orthogonal_(w[2:7], generator=g))),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("text", "writes"), WRITES, ids=[text for text, _ in WRITES])
def test_equals_writes_to_rows(monkeypatch, text, writes, dtype):
    monkeypatch.setattr(sampling, "CHUNK", 64)
    theirs, ours = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    want = torch.empty(SHAPE, dtype=getattr(torch, dtype))
    writes(want, theirs)
    assert same(draw(text, SHAPE, dtype, stream=ours), want)
    assert torch.equal(ours.get_state(), theirs.get_state())  # so that the next tensor of one stream is the same, too


@pytest.mark.parametrize("text", [text for text, _ in WRITES])
def test_text_parses_to_the_same(text):
    rule = parse_rule(f"*.weight={text}")
    assert rule.pattern == "*.weight"
    assert str(parse_rule(str(rule))) == str(rule)
    assert same(draw(str(rule.call), SHAPE), draw(text, SHAPE))


REFUSED = [
    ("rows", "rows() needs base"),
    ("rows(normal, 0=0)", "rows() takes a scheme for 0, not 0"),
    ("rows(normal, zeros)", "takes at most 1 argument without a name"),
    ("rows(nomal, 0=zeros)", "no scheme is called 'nomal'"),
    ("rows(normal, x=zeros)", "x names no row"),
    ("rows(normal, 13=zeros)", "there is no row 13, only 13"),
    ("rows(normal, -14=zeros)", "there is no row -14, only 13"),
    ("rows(normal, 0=xavier_normal)", "a vector has no fan-in"),
    (f"rows(normal, {'9' * 5000}=zeros)", "names no row"),
    ("rows(" * 500 + "zeros" + ")" * 500, "is no scheme"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refused(text, reason):
    with pytest.raises(CkptError) as error:
        parse_call(text).distribution(target(SHAPE))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_plan_nests(ckpt, tmp_path):
    torch.save({"wte.weight": torch.ones(5, 3), "b": torch.ones(3)}, tmp_path / "a.pt")
    (entry,) = json.loads(ckpt("reinit", tmp_path / "a.pt", "*.weight=rows(normal(0, 0.02), 0=zeros)", "-n", "--json").out)["tensors"]
    assert entry["draw"] == "rows(normal(0, 0.02), 0=zeros)"
