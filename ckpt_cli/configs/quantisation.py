"""How weights are quantised, as the config beside them says: the entry, and its title."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..tensors.checkpoint import Checkpoint
from .finding import find
from .sizes import entry_of

OF_PACKED = ("quantization_config", "quantization", "compression_config")  # entries of a config.json that say how weights are packed
# File beside the weights → the entry in it; where none is named, the whole file is the entry.
_ENTRIES = (
    ("config.json", (*OF_PACKED, "text_config.quantization_config")),
    ("quantize_config.json", ()),  # of AutoGPTQ
    ("quant_config.json", ()),  # of AutoAWQ
    ("hf_quant_config.json", ("quantization",)),  # of ModelOpt
)


FILES_OF_PACKED = tuple(name for name, _ in _ENTRIES if name != "config.json")  # that are about nothing but how weights are packed


def quantisation_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the entry of the config beside a checkpoint that says how its weights are quantised; an empty one where there is none."""
    folder = find(checkpoint).folder
    for file_name, keys in _ENTRIES if folder else ():
        document = folder.object(file_name) if folder else {}
        entry = next((value for key in keys if isinstance(value := entry_of(document, key), dict)), {} if keys else document)
        if entry:
            return entry
    return {}


def titled(entry: Mapping[str, Any]) -> str:
    """Return how weights are quantised in words: `GPTQ 4 bit, group 128`; empty where nothing says it."""
    method = _text(entry.get("quant_method")) or _text(entry.get("quant_algo")) or _text(entry.get("quant_type"))
    if method in _TITLES:
        return _TITLES[method](entry)
    if not method and type(entry.get("bits")) is int and type(entry.get("group_size")) is int:
        return f"MLX{_details(entry)}"
    return f"{method:.60}{_details(entry)}" if method else ""


def _details(entry: Mapping[str, Any]) -> str:
    """Bits and the size of groups, where they are numbers."""
    bits, group = (next((entry[key] for key in keys if type(entry.get(key)) in (int, float)), None) for keys in (_BITS, _GROUPS))
    blocks = entry.get("weight_block_size")
    is_block = isinstance(blocks, list) and len(blocks) == 2 and all(type(size) is int for size in blocks)
    return (
        (f" {bits:g} bit" if bits is not None else "")
        + (f", group {group}" if type(group) is int and group > 0 else "")
        + (f", blocks of {blocks[0]}x{blocks[1]}" if blocks and is_block else "")
    )


_BITS = ("bits", "w_bit", "wbits", "nbits", "num_bits")
_GROUPS = ("group_size", "q_group_size")


def _bitsandbytes(entry: Mapping[str, Any]) -> str:
    if entry.get("load_in_8bit") is True:
        return "bitsandbytes int8"
    nested = ", double-quantised" if entry.get("bnb_4bit_use_double_quant") is True else ""
    return f"bitsandbytes {_text(entry.get('bnb_4bit_quant_type')) or 'fp4':.20}{nested}"


def _compressed_tensors(entry: Mapping[str, Any]) -> str:
    groups = entry.get("config_groups")
    weights = [group.get("weights") for group in groups.values() if isinstance(group, dict)] if isinstance(groups, dict) else []
    details = next((_details(each) for each in weights if isinstance(each, dict)), "")
    return f"compressed-tensors {_text(entry.get('format')):.60}".rstrip() + (f",{details}" if details else "")


def _torchao(entry: Mapping[str, Any]) -> str:
    kinds = entry.get("quant_type")
    default = kinds.get("default") if isinstance(kinds, dict) else kinds
    kind = _text(default.get("_type")) if isinstance(default, dict) else _text(default)
    return f"torchao {kind:.60}".rstrip()


def _hqq(entry: Mapping[str, Any]) -> str:
    settings = entry.get("quant_config")
    weights = settings.get("weight_quant_params") if isinstance(settings, dict) else None
    return f"HQQ{_details(weights)}" if isinstance(weights, dict) else "HQQ"


# The method as transformers' quantization_config.py calls it → its title. Others are called as they call themselves.
_TITLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "gptq": lambda entry: f"GPTQ{_details(entry)}",
    "awq": lambda entry: f"AWQ{_details(entry)}",
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "torchao": _torchao,
    "hqq": _hqq,
    "quanto": lambda entry: f"quanto {_text(entry.get('weights')):.20}".rstrip(),
    "mxfp4": lambda entry: "MXFP4",
    "fp8": lambda entry: f"fp8{_details(entry)}",
    "modelopt": lambda entry: f"ModelOpt {_text(entry.get('quant_algo')):.40}".rstrip(),
}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
