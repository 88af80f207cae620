"""What a module is called with, for an input of one shape: the input under the name that it has there, and what the module needs besides.

transformers says in `main_input_name` which argument of `forward` takes the input; a diffusers model takes a time step, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, NamedTuple

from .layers import Shape

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_IMAGES = ("pixel_values", "sample")  # arguments that take batch×channels×height×width, or ×frames


class Call(NamedTuple):
    """How a module is called.

    Attributes:
        name: the argument that takes the input; empty for the first.
        extra: the other arguments.
    """

    name: str
    extra: dict[str, Any]

    def run(self, module: Module, x: Tensor) -> None:
        """Run the module forward."""
        if self.name:
            module(**{self.name: x}, **self.extra)
        else:
            module(x, **self.extra)

    @property
    def of_indices(self) -> bool:
        """Whether the input is known to be indices of tokens."""
        return self.name.endswith("_ids")


def call_of(module: Module, shape: Shape) -> Call:
    """Return how `module` is called for an input of `shape`, with tensors on the device in force."""
    known = signature(module.forward).parameters
    name = _name_of_input(module, known, shape)
    positional = name or next(iter(known), "")
    makers = {key: make for key, make in _EXTRA.items() if key in known and key != positional}
    made = {key: make(module, shape) for key, make in makers.items()}
    return Call(name, {key: value for key, value in made.items() if value is not None})


def _name_of_input(module: Module, known: Mapping[str, Parameter], shape: Shape) -> str:
    """The argument that takes an input of this shape; empty where that is the first, or nothing tells."""
    if len(shape) > 3:
        return next((name for name in _IMAGES if name in known), "")
    name = getattr(module, "main_input_name", "")
    return name if name in known else ""


def _setting(module: Module, *names: str) -> Any:
    """The first of the entries `names` that the module's config has; None where there is none."""
    config = getattr(module, "config", None)
    values = (config.get(name) if isinstance(config, Mapping) else getattr(config, name, None) for name in names)
    return next((value for value in values if value is not None), None)


def _tokens(batch: int) -> Tensor:
    import torch

    return torch.zeros((batch, 1), dtype=torch.int64)


def _decoder_tokens(module: Module, shape: Shape) -> Tensor | None:
    """One token for each sequence, for a decoder behind an encoder."""
    return _tokens(shape[0]) if _setting(module, "is_encoder_decoder") and shape else None


def _text(module: Module, shape: Shape) -> Tensor | None:
    """One token for each image, where the model takes text and images."""
    return _tokens(shape[0]) if _setting(module, "text_config") and len(shape) > 3 else None


def _image(module: Module, shape: Shape) -> Tensor | None:
    """An image for each text, where the model takes text and images (CLIP)."""
    import torch

    vision = _setting(module, "vision_config")
    size = getattr(vision, "image_size", None)
    two_towers = vision is not None and _setting(module, "projection_dim") is not None
    if not two_towers or not isinstance(size, int) or len(shape) != 2:
        return None
    return torch.zeros((shape[0], getattr(vision, "num_channels", 3), size, size))


def _time(module: Module, shape: Shape) -> Tensor:
    """A time step for each sample."""
    import torch

    return torch.zeros(shape[:1], dtype=torch.int64)


def _context(module: Module, shape: Shape) -> Tensor | None:
    """One position of what a U-Net or a transformer of diffusers attends to."""
    import torch

    width = _setting(module, "cross_attention_dim")
    width = width[0] if isinstance(width, (list, tuple)) and width else width
    return torch.zeros((shape[0], 1, width)) if isinstance(width, int) and shape else None


def _class(module: Module, shape: Shape) -> Tensor | None:
    """A class for each sample, where a model of diffusers is conditioned on it."""
    import torch

    return torch.zeros((shape[0],), dtype=torch.int64) if _setting(module, "num_class_embeds", "num_embeds_ada_norm") and shape else None


# argument of `forward` → what it is given; None leaves it out
_EXTRA: dict[str, Callable[[Module, Shape], Any]] = {
    "decoder_input_ids": _decoder_tokens,
    "input_ids": _text,
    "pixel_values": _image,
    "timestep": _time,
    "encoder_hidden_states": _context,
    "class_labels": _class,
    "use_cache": lambda module, shape: False,
}
