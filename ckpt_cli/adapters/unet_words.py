"""The layers of a U-Net in the words of latent diffusion (`input_blocks.4.1`) and of diffusers (`down_blocks.1.attentions.0`).

Source: diffusers' loaders/single_file_utils.py (convert_ldm_unet_checkpoint).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

_ENDS = {  # of latent diffusion → of diffusers
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_BLOCK = re.compile(r"(?P<side>input|output)_blocks\.(?P<index>[0-9]+)\.(?P<part>[0-9]+)\.(?P<rest>.+)")
_LEVEL = re.compile(
    r"(?P<side>down|up)_blocks\.(?P<level>[0-9]+)\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<layer>[0-9]+)\.(?P<rest>.+)"
)
_ROOT = re.compile(r"(?P<before>(?:.*\.)?)input_blocks\.0\.0")
_OTHER_ROOT = re.compile(r"(?P<before>(?:.*\.)?)down_blocks\.0\.resnets\.0\.conv1")


def to_diffusers(paths: Collection[str]) -> Mapping[str, str]:
    """Return what diffusers calls each layer of the U-Net of latent diffusion that is among `paths`; nothing where there is none."""
    before = _before(paths, _ROOT)
    if before is None:
        return {}
    downs = [int(match[1]) for path in paths if (match := re.fullmatch(rf"{re.escape(before)}input_blocks\.([0-9]+)\.0\.op", path))]
    return _translated(paths, before, lambda path: _of_diffusers(path, min(downs, default=3)))


def to_latent_diffusion(paths: Collection[str]) -> Mapping[str, str]:
    """Return what latent diffusion calls each layer of the U-Net of diffusers that is among `paths`; nothing where there is none."""
    before = _before(paths, _OTHER_ROOT)
    if before is None:
        return {}
    known = set(paths)
    step = 1 + sum(f"{before}down_blocks.0.resnets.{index}.conv1" in known for index in range(16))

    def translate(path: str) -> str:
        match = _LEVEL.fullmatch(path)
        has_attention = match is not None and f"{before}up_blocks.{match['level']}.attentions.0.norm" in known
        return _of_latent_diffusion(path, step, has_attention)

    return _translated(paths, before, translate)


def _before(paths: Collection[str], root: re.Pattern[str]) -> str | None:
    found = (match for path in paths if (match := root.fullmatch(path)))
    first = next(found, None)
    return first["before"] if first else None


def _translated(paths: Collection[str], before: str, translate: Callable[[str], str]) -> Mapping[str, str]:
    made = {path: translate(path[len(before) :]) for path in paths if path.startswith(before)}
    return {path: before + name for path, name in made.items() if name}


def _of_diffusers(path: str, step: int) -> str:
    """The path in diffusers' words, where a level of the U-Net takes `step` blocks; empty where there is none."""
    if path in _ENDS:
        return _ENDS[path]
    match = re.fullmatch(r"middle_block\.([012])\.(.+)", path)
    if match:
        return f"mid_block.{_MIDDLE[match[1]]}.{_RESNET.get(match[2], match[2])}"
    match = _BLOCK.fullmatch(path)
    if match is None:
        return ""
    down = match["side"] == "input"
    level, layer = divmod(int(match["index"]) - down, step)
    side, rest = ("down_blocks", match["rest"]) if down else ("up_blocks", match["rest"])
    if rest == "op":
        return f"{side}.{level}.downsamplers.0.conv"
    if rest == "conv":
        return f"{side}.{level}.upsamplers.0.conv"
    kind = "resnets" if match["part"] == "0" else "attentions"
    return f"{side}.{level}.{kind}.{layer}.{_RESNET.get(rest, rest)}"


def _of_latent_diffusion(path: str, step: int, has_attention: bool) -> str:
    """The path in the words of latent diffusion; empty where there is none."""
    if path in _OTHER_ENDS:
        return _OTHER_ENDS[path]
    match = re.fullmatch(r"mid_block\.((?:resnets|attentions)\.[01])\.(.+)", path)
    if match:
        return f"middle_block.{_OTHER_MIDDLE[match[1]]}.{_OTHER_RESNET.get(match[2], match[2])}" if match[1] in _OTHER_MIDDLE else ""
    match = _LEVEL.fullmatch(path)
    if match is None:
        return ""
    down, rest = match["side"] == "down", match["rest"]
    first = int(match["level"]) * step + down
    if match["kind"] == "downsamplers":
        return f"input_blocks.{first + step - 1}.0.op" if rest == "conv" else ""
    if match["kind"] == "upsamplers":
        return f"output_blocks.{first + step - 1}.{1 + has_attention}.conv" if rest == "conv" else ""
    part = 0 if match["kind"] == "resnets" else 1
    return f"{'input' if down else 'output'}_blocks.{first + int(match['layer'])}.{part}.{_OTHER_RESNET.get(rest, rest)}"


_OTHER_ENDS, _OTHER_RESNET, _OTHER_MIDDLE = ({new: old for old, new in table.items()} for table in (_ENDS, _RESNET, _MIDDLE))
