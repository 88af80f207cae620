"""Modules whose initialisation is written as it is found in timm, diffusers, torchvision and transformers, for tests of its recording."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.init import orthogonal_ as imported_by_value

bound_before = partial(imported_by_value, gain=0.5)


class Tensors(nn.Module):
    """A module whose parameters are made by one function; tensors of other dtypes than floats are buffers."""

    def __init__(self, make):
        super().__init__()
        for name, value in make().items():
            if value.is_floating_point():
                self.register_parameter(name, value if isinstance(value, nn.Parameter) else nn.Parameter(value.detach()))
            else:
                self.register_buffer(name, value)


def trunc_normal_by_inverse(tensor, mean, std, a, b):
    """timm, layers/weight_init.py; torch itself before 2.13."""
    low, high = ((1 + math.erf((x - mean) / std / math.sqrt(2))) / 2 for x in (a, b))
    tensor.uniform_(2 * low - 1, 2 * high - 1)
    tensor.erfinv_()
    tensor.mul_(std * math.sqrt(2.0))
    tensor.add_(mean)
    tensor.clamp_(min=a, max=b)
    return tensor


def truncated():
    tf = trunc_normal_by_inverse(torch.empty(40, 30), 0, 1.0, -2.0, 2.0)
    return {
        "torch": nn.init.trunc_normal_(torch.empty(40, 30), std=0.02),
        "far": nn.init.trunc_normal_(torch.empty(40, 30), 0, 0.5, 0.6, 2.0),
        "timm": trunc_normal_by_inverse(torch.empty(40, 30), 0.0, 0.02, -2.0, 2.0),
        "timm_tf": tf.mul_(0.02).add_(0.1),
    }


def arithmetic():
    return {
        "scaled": torch.empty(40, 30).normal_().mul_(0.3),
        "divided": torch.randn(40, 30) / math.sqrt(30),
        "moved": torch.rand(40, 30) * 2 - 1,
        "turned": 1 - torch.rand(40, 30),
        "gamma": 1e-6 * torch.ones(40),
        "scale": nn.Parameter(torch.ones([]) * np.log(1 / 0.07)),
        "square": torch.randn(40, 30) ** 2,
        "cut": torch.randn(40, 30).clamp_(-0.5, 0.5),
        "in_bfloat16": torch.empty(40, 30).normal_(0, 0.1).to(torch.bfloat16),
        "by_tensor": torch.randn(40, 30) * torch.tensor(30.0).rsqrt(),
    }


def rows():
    padded, block, fused, gates, columns = (
        nn.Embedding(20, 8, padding_idx=3).weight,
        torch.empty(24, 8),
        *map(torch.empty, (24, 24, (6, 8))),
    )
    for third in range(3):
        nn.init.xavier_uniform_(block[8 * third : 8 * third + 8])
    nn.init.orthogonal_(gates_weight := torch.empty(16, 8)[:8])
    fused.zero_()
    fused[8:16].fill_(1)
    gates.normal_(0, 0.5)
    gates.data[-4:] = 2.0
    columns[:, :4].normal_(0, 0.1)
    columns[:, 4:].zero_()
    return {"padded": padded, "block": block, "fused": fused, "gates": gates, "columns": columns, "part": gates_weight}


def recurrent():
    """An LSTM with orthogonal blocks and a forget gate of ones."""
    cell = nn.LSTMCell(6, 5)
    for weight in cell.weight_hh.chunk(4, 0):
        nn.init.orthogonal_(weight)
    cell.bias_ih.data[5:10].fill_(1)
    return dict(cell.named_parameters())


def matrices():
    return {
        "by_value": imported_by_value(torch.empty(8, 6)),
        "by_partial": bound_before(torch.empty(6, 8, 2)),
        "gained": nn.init.orthogonal_(torch.empty(8, 6)).mul_(3.0),
        "turned": nn.init.orthogonal_(torch.empty(6, 8)).t(),
        "dirac": nn.init.dirac_(torch.empty(4, 4, 3)),
        "eye": nn.init.eye_(torch.empty(5, 4)),
        "sparse": nn.init.sparse_(torch.empty(10, 6), 0.3, 0.5),
    }


def converted():
    """What converters of names do: fused, split, stacked, transposed."""
    q, k, v = (nn.init.normal_(torch.empty(8, 6), std=0.02) for _ in range(3))
    experts = torch.stack([torch.empty(5, 7).uniform_(-0.5, 0.5) for _ in range(3)])
    table = nn.Embedding(10, 4, padding_idx=0).weight
    return {
        "qkv": torch.cat([q, k, v]),
        "q": torch.cat([q, k, v]).chunk(3)[0].clone(),
        "experts": experts.transpose(1, 2).contiguous(),
        "expert": experts[1],
        "wide": torch.cat([q, k], 1),
        "mixed": torch.cat([torch.zeros(2, 6), q]),
        "table": table.detach()[:5].clone(),
    }


def sinusoids():
    n, d = 16, 12
    position = torch.arange(n, dtype=torch.float).unsqueeze(1)
    rates = torch.exp(torch.arange(0, d, 2, dtype=torch.float) * (-math.log(10000.0) / d))
    pe = torch.zeros(n, d)
    pe[:, 0::2], pe[:, 1::2] = torch.sin(position * rates), torch.cos(position * rates)
    angles = torch.arange(n)[:, np.newaxis] * torch.exp(-math.log(10000) / (d // 2 - 1) * torch.arange(d // 2))[np.newaxis, :]
    loops = np.array([[p / np.power(10000, 2 * (j // 2) / d) for j in range(d)] for p in range(n)])
    marian = torch.empty(n, d)
    marian[:, : d // 2], marian[:, d // 2 :] = torch.FloatTensor(np.sin(loops[:, 0::2])), torch.FloatTensor(np.cos(loops[:, 1::2]))
    padded = pe.clone()
    padded[0, :] = 0
    return {"pe": pe, "whisper": torch.cat([angles.sin(), angles.cos()], dim=1), "marian": marian, "padded": padded}


def state_space():
    a = torch.arange(1, 17, dtype=torch.float32)[None, :].expand(24, -1).contiguous()
    dt = torch.exp(torch.rand(200) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
    bias = torch.zeros(200)
    bias.copy_(dt + torch.log(-torch.expm1(-dt)))
    return {"A_log": torch.log(a), "D": torch.ones(24), "dt_bias": bias, "A": -torch.empty(500).uniform_(1, 16).log()}


def decays():
    n = 32
    speed = torch.tensor([-5 + 8 * (h / (n - 1)) ** (0.7 + 1.3 / 3) for h in range(n)])
    zigzag = torch.tensor([(i + 1) % 3 - 1 for i in range(n)]) * 0.5
    return {"decay": speed, "first": torch.ones_like(speed) * math.log(0.3) + zigzag, "mix": torch.pow(torch.ones(n) * 0.5, 0.25)}


def indices():
    window = 5
    grid = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    relative = (grid[:, :, None] - grid[:, None, :]).permute(1, 2, 0).contiguous()
    relative[:, :, 0] += window - 1
    relative[:, :, 1] += window - 1
    relative[:, :, 0] *= 2 * window - 1
    beit = torch.zeros((window**2 + 1,) * 2, dtype=relative.dtype)
    beit[1:, 1:] = relative.sum(-1)
    beit[0, 0:], beit[0:, 0], beit[0, 0] = 81, 82, 83
    return {
        "ids": torch.arange(12).expand((1, -1)),
        "swin": relative.sum(-1),
        "beit": beit,
        "mask": torch.tril(torch.ones(6, 6, dtype=torch.bool)).view(1, 1, 6, 6),
        "biases": torch.linspace(-3, 3, 7)[:, None].repeat(1, 3).int(),
    }


def tables():
    slopes = torch.tensor([2 ** (-8 * (i + 1) / 8) for i in range(8)])
    k, n = torch.arange(8)[:, None], torch.arange(12)[None, :]
    basis = torch.cos(math.pi / 12 * (n + 0.5) * k) * math.sqrt(2.0 / 12)
    basis[0] *= 1.0 / math.sqrt(2.0)
    points = [torch.linspace(0, 0.1, 4)[i].item() for i in range(4)]
    offsets = torch.arange(4, dtype=torch.float32) * (2.0 * math.pi / 4)
    around = torch.stack([offsets.cos(), offsets.sin()], -1)
    around = (around / around.abs().max(-1, keepdim=True)[0]).view(4, 1, 1, 2).repeat(1, 2, 3, 1)
    for i in range(3):
        around[:, :, i, :] *= i + 1
    return {
        "slopes": slopes,
        "dct": basis.t(),
        "inv_freq": 1.0 / (10000 ** (torch.arange(0, 8, 2, dtype=torch.int64).float() / 8)),
        "stages": torch.tensor(points),
        "offsets": around.flatten(),
        "hann": torch.hann_window(9),
        "of_numpy": torch.from_numpy(np.linspace(0, 1, 7)).float(),
        "scalar": torch.tensor(2.6592),
    }


def overwritten():
    """The last whole write wins."""
    twice, tied = nn.Linear(30, 40).weight, torch.empty(40, 30)
    nn.init.normal_(twice, std=0.3)
    view = tied.view(-1)
    view.uniform_(-1, 1)
    swapped = nn.Linear(30, 40)
    swapped.weight.data = torch.empty(40, 30).uniform_(0, 2)
    return {"twice": twice, "tied": tied, "swapped": swapped.weight, "zeroed": nn.init.zeros_(torch.randn(5))}


def layers():
    kinds = [
        nn.Linear(30, 40), nn.Bilinear(8, 9, 40), nn.Conv1d(8, 12, 3), nn.Conv2d(8, 12, 3, groups=2), nn.ConvTranspose2d(6, 8, 3),
        nn.Embedding(40, 30), nn.EmbeddingBag(40, 30, padding_idx=1), nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm2d(8), nn.PReLU(3),
        nn.LSTM(12, 10, 2), nn.GRU(12, 10, bidirectional=True), nn.RNN(12, 10), nn.MultiheadAttention(12, 2),
        nn.MultiheadAttention(12, 2, kdim=10, vdim=8, add_bias_kv=True), nn.TransformerEncoderLayer(12, 2, 20),
        nn.TransformerDecoderLayer(12, 2, 20), nn.RMSNorm(8), nn.InstanceNorm1d(8, affine=True, track_running_stats=True),
    ]  # fmt: skip
    return {
        f"{type(each).__name__}{at}_{name}".replace(".", "_"): t
        for at, each in enumerate(kinds)
        for name, t in each.state_dict(keep_vars=True).items()
    }


MODULES = {
    make.__name__: partial(Tensors, make)
    for make in (
        layers, truncated, arithmetic, rows, recurrent, matrices, converted, sinusoids, state_space, decays, indices, tables, overwritten,
    )
}  # fmt: skip
