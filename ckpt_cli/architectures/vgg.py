"""VGG: where a convolution stands in `features` depends on all stages before it, so that code says it more shortly than lines would.

Simonyan, Zisserman 2014, arXiv:1409.1556; the names and layers are those of torchvision, models/vgg.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from . import Architecture, Member, architecture
from .layers import Layer, Shape, linear

if TYPE_CHECKING:
    from torch.nn import Module

Sizes = int | tuple[int, ...]


@architecture
class VGG(Architecture):
    """VGG: stages of 3x3 convolutions with a pooling behind each, then three Linear layers"""

    name = "vgg"

    def layers(
        self,
        *,
        depths: Sizes = (2, 2, 3, 3, 3),
        widths: Sizes = (64, 128, 256, 512, 512),
        norm: bool = False,
        side: int = 7,
        hidden: int = 4096,
        channels: int = 3,
        classes: int = 1000,
    ) -> Layer:
        """Return the network.

        depths: convolutions in each stage
        widths: channels in each stage
        norm: a BatchNorm2d behind each convolution
        side: height and width of what the Linear layers see
        hidden: width of the Linear layers
        channels: channels of the image
        classes: classes of the head
        """
        stages = list(zip(as_tuple(depths), as_tuple(widths), strict=False))
        last = stages[-1][1] if stages else channels
        features = numbered(features_of(stages, norm, channels))
        head = [linear(last * side * side, hidden), relu(), dropout(), linear(hidden, hidden), relu(), dropout(), linear(hidden, classes)]
        size = (side, side)
        pooled = Layer("AdaptiveAvgPool2d", {"output_size": size}, make=lambda _: _torch("AdaptiveAvgPool2d")(size))
        parts = {"features": features, "avgpool": pooled, "classifier": numbered(head)}
        return Layer("VGG", children=parts, make=vgg_module)

    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member that has these convolutions: a pooling lies where their numbers are one more apart."""
        found = {name.split(".")[1]: shape for name, shape in shapes.items() if name.startswith("features.") and len(shape) == 4}
        numbers = sorted(int(number) for number in found if number.isdecimal() and len(number) < 5)
        first, last = shapes.get("classifier.0.weight", ()), shapes.get("classifier.6.weight", ())
        if len(first) != 2 or len(last) != 2 or not numbers or numbers[0]:
            return None
        norm = "features.1.running_mean" in shapes
        ends = [before for before, after in pairwise([*numbers, 10**6]) if after - before > (3 if norm else 2)]
        depths = tuple(sum(start < number <= end for number in numbers) for start, end in pairwise([-1, *ends]))
        widths = tuple(found[str(end)][0] for end in ends)
        sizes: dict[str, Any] = {
            "depths": depths,
            "widths": widths,
            "norm": norm,
            "side": int((first[1] // max(widths[-1], 1)) ** 0.5),
            "hidden": first[0],
            "channels": found["0"][1],
            "classes": last[0],
        }
        return Member(sizes, self.layers(**sizes))


def as_tuple(sizes: Sizes) -> tuple[int, ...]:
    """Return one size or several as a tuple."""
    return sizes if isinstance(sizes, tuple) else (sizes,)


def features_of(stages: list[tuple[int, int]], norm: bool, channels: int) -> Iterator[Layer]:
    """Yield the layers of all stages: (convolutions, channels) each."""
    for depth, width in stages:
        for _ in range(depth):
            yield convolution(channels, width)
            if norm:
                yield batch_norm(width)
            yield relu()
            channels = width
        printed = {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1, "ceil_mode": False}
        yield Layer("MaxPool2d", printed, make=lambda _: _torch("MaxPool2d")(2, 2))


def convolution(inputs: int, outputs: int) -> Layer:
    """Return a 3x3 convolution with a bias that keeps height and width."""
    printed = {f"{inputs}, {outputs}": ..., "kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}
    parameters: dict[str, Shape] = {"weight": (outputs, inputs, 3, 3), "bias": (outputs,)}
    return Layer("Conv2d", printed, parameters, make=lambda _: _torch("Conv2d")(inputs, outputs, 3, padding=1))


def batch_norm(size: int) -> Layer:
    """Return a BatchNorm2d of that many channels."""
    printed = {f"{size}": ..., "eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True}
    buffers: dict[str, Shape] = {"running_mean": (size,), "running_var": (size,), "num_batches_tracked": ()}
    return Layer("BatchNorm2d", printed, {"weight": (size,), "bias": (size,)}, buffers, make=lambda _: _torch("BatchNorm2d")(size))


def relu() -> Layer:
    """Return a ReLU that overwrites its input."""
    return Layer("ReLU", {"inplace": True})


def dropout() -> Layer:
    """Return a Dropout of one half."""
    return Layer("Dropout", {"p": 0.5, "inplace": False})


def numbered(layers: Iterator[Layer] | list[Layer]) -> Layer:
    """Return a Sequential of these layers."""
    return Layer("Sequential", children={str(number): layer for number, layer in enumerate(layers)})


def _torch(kind: str) -> Callable[..., Module]:
    """Return a class of torch.nn."""
    from torch import nn

    made: Callable[..., Module] = getattr(nn, kind)
    return made


def vgg_module(child: Callable[[str], Module]) -> Module:
    """Build the module."""
    from torch import Tensor, nn

    class VGG(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.avgpool, self.classifier = (child(name) for name in ("features", "avgpool", "classifier"))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
            return logits

    return VGG()
