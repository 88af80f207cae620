"""What a formula may call: functions of torch that compute each result from their arguments alone, and draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor

_SAME_SHAPE = (
    "abs neg sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan sinh cosh tanh asin acos atan asinh acosh "
    "atanh sigmoid softplus relu gelu silu erf erfc erfinv lgamma digamma floor ceil round trunc frac logit deg2rad rad2deg isnan "
    "isfinite isinf nan_to_num logical_not bitwise_not clamp clamp_min clamp_max cumsum cumprod softmax tril triu flip roll"
)
_BROADCAST = (
    "add sub mul div rsub pow remainder fmod floor_divide atan2 maximum minimum fmax fmin hypot copysign eq ne lt le gt ge logical_and "
    "logical_or logical_xor bitwise_and bitwise_or bitwise_xor where masked_fill lerp addcmul addcdiv xlogy"
)
_OTHER = (
    "sum mean prod amax amin all any var std argmax argmin norm linalg_vector_norm mm bmm dot mv reshape permute transpose unsqueeze "
    "squeeze expand repeat as_strided as_strided_scatter "
    "contiguous select cat stack diagonal gather index_select constant_pad_nd polar complex real imag "
    "index view_as_real fft_rfftfreq cross"
)
_MADE = "arange linspace logspace zeros ones full eye tril_indices triu_indices hann_window hamming_window"
CONSTANTS = {"pi": math.pi, "inf": math.inf, "nan": math.nan, "True": True, "False": False, "None": None}
DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64", "complex128")

FUNCTIONS = frozenset(f"{_SAME_SHAPE} {_BROADCAST} {_OTHER} to tensor values".split())  # of tensors; each also of a device
FACTORIES = frozenset(_MADE.split())
_IN_PYTHON = ("reshape", "where", "var", "std", "cross")  # what operators warn of goes to standard error past Python
_OF_NUMBERS = ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "floor", "ceil", "log2", "log10", "log1p", "expm1")


def number_function(name: str) -> Callable[[float], float] | None:
    """Return the function of Python numbers of that name: `log(10000) / 8` needs no tensor."""
    return getattr(math, name) if name in _OF_NUMBERS else {"abs": abs}.get(name)


def tensor_function(name: str) -> Callable[..., Any]:
    """Return torch's operator of that name, which takes what a formula gives it in torch's order."""
    import torch

    if name == "contiguous":
        return torch.Tensor.contiguous
    if name in FACTORIES or name in _IN_PYTHON:
        return getattr(torch, name)  # type: ignore[no-any-return]
    operator = getattr(torch.ops.aten, "_to_copy" if name == "to" else name)
    if name.startswith("as_strided"):  # strides count in the order of the elements, wherever torch has put them
        return lambda x, *rest: operator(x.clone(memory_format=torch.contiguous_format), *rest)
    return (lambda x, dtype: operator(x, dtype=dtype)) if name == "to" else operator


def _uniform(tensor: Tensor, generator: Generator, a: float = 0.0, b: float = 1.0) -> Any:
    tensor.uniform_(a, b, generator=generator)


def _normal(tensor: Tensor, generator: Generator, mean: float = 0.0, std: float = 1.0) -> Any:
    tensor.normal_(mean, std, generator=generator)


def _trunc_normal(tensor: Tensor, generator: Generator, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Any:
    from torch.nn.init import trunc_normal_

    trunc_normal_(tensor, mean, std, a, b, generator=generator)


def _orthogonal(tensor: Tensor, generator: Generator, gain: float = 1.0) -> Any:
    from torch.nn.init import orthogonal_

    orthogonal_(tensor, gain, generator=generator)


def _sparse(tensor: Tensor, generator: Generator, sparsity: float, std: float = 0.01) -> Any:
    from torch import randperm

    if tensor.ndim != 2:
        raise ValueError("sparse is for tensors of two axes")
    rows, columns = tensor.shape
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[randperm(rows, generator=generator)[: math.ceil(sparsity * rows)], column] = 0


def _dirac(tensor: Tensor, generator: Generator, groups: int = 1) -> Any:
    from torch.nn.init import dirac_

    dirac_(tensor, groups)


def _randint(tensor: Tensor, generator: Generator, low: int, high: int) -> Any:
    tensor.random_(low, high, generator=generator)


def _bernoulli(tensor: Tensor, generator: Generator, p: float = 0.5) -> Any:
    tensor.bernoulli_(p, generator=generator)


def _exponential(tensor: Tensor, generator: Generator, lambd: float = 1.0) -> Any:
    tensor.exponential_(lambd, generator=generator)


def _log_normal(tensor: Tensor, generator: Generator, mean: float = 1.0, std: float = 2.0) -> Any:
    tensor.log_normal_(mean, std, generator=generator)


def _randperm(tensor: Tensor, generator: Generator) -> Any:
    from torch import randperm

    tensor.copy_(randperm(len(tensor), generator=generator))


# Each fills a new tensor, of the target's shape unless `size` is given, float32 unless `dtype` is.
DRAWS: dict[str, Callable[..., Any]] = {
    "uniform": _uniform,
    "normal": _normal,
    "trunc_normal": _trunc_normal,
    "orthogonal": _orthogonal,
    "sparse": _sparse,
    "dirac": _dirac,
    "randint": _randint,
    "bernoulli": _bernoulli,
    "exponential": _exponential,
    "log_normal": _log_normal,
    "randperm": _randperm,
}
