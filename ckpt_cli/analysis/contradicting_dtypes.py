"""The dtype and the quantisation that a config tells, and that the weights contradict."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ..configs.quantisation import titled
from ..configs.settings import dtype_said
from ..tensors.checkpoint import Checkpoint
from .compared import Compared, Contradiction


def dtype(compared: Compared) -> Iterator[Contradiction]:
    """Yield the dtype of most elements that are floats and not packed; a variant that is called by its dtype is of that one."""
    said = dtype_said(compared.config.entries)
    floats = {name: count for name, count in compared.dtypes.items() if name.startswith(("float", "bfloat"))}
    if not said or not any(floats.values()):
        return
    most = max(floats, key=floats.__getitem__)
    if most != said[0] and dtype_of_variant(compared.own) != most:
        share = floats[most] / sum(floats.values())
        yield Contradiction(said[1], said[0], most if share == 1 else f"{most} in {share:.3g} of the elements")


def dtype_of_variant(own: Checkpoint) -> str:
    """Return the dtype by which a file is called, as `model.fp16.safetensors` is; empty for others."""
    variant = _VARIANT.search(os.path.basename(own.origin.path if own.origin else ""))
    return _VARIANTS[variant[1]] if variant else ""


def quantised(compared: Compared) -> Iterator[Contradiction]:
    """Yield that nothing is quantised where the config says so: it was left in the config of a model that was decoded."""
    keys = ("quantization_config", "quantization")
    entries = compared.config.entries
    key, entry = next(((key, value) for key in keys if isinstance(value := entries.get(key), dict)), ("", {}))
    is_decoded = entry.get("quant_method") in _DECODED_AS_LOADED or entry.get("quantization_status", "compressed") != "compressed"
    title = titled(entry)
    if title and not compared.packed and not is_decoded and all(name in _PLAIN_FLOATS for name in compared.dtypes):
        yield Contradiction(key, title, "nothing but plain floats")


_PLAIN_FLOATS = ("float16", "bfloat16", "float32", "float64")
_DECODED_AS_LOADED = ("bitnet", "fbgemm_fp8")  # methods that may quantise a plain model as it is loaded
_VARIANTS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_VARIANT = re.compile(rf"[._-]({'|'.join(_VARIANTS)})(?=[._-])")
