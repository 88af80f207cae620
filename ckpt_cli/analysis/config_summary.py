"""What the config of a checkpoint says of the model, for its summary, and what in the weights contradicts it."""

from __future__ import annotations

from dataclasses import dataclass

from ..configs import Config, find
from ..configs.named_code import Named, code_named_by
from ..configs.quantisation import quantisation_of, titled
from ..configs.reader import reader_of
from ..configs.settings import dtype_said
from ..configs.sizes import Number, parts_of
from ..configs.ties import tied
from ..tensors.checkpoint import Checkpoint
from .compared import Contradiction
from .contradictions import contradictions
from .summary import Summary, model_tensors


@dataclass(frozen=True)
class ConfigSummary:
    """What `ckpt summary` says of a config.

    Attributes:
        config: the config.
        sizes: the sizes of each part of the model, those of the whole under an empty name.
        dtype: the dtype of the weights; empty where it is not told.
        tied: whether input and output embeddings are one tensor; None where it is not told.
        quantised: how the weights are quantised; empty where they are not.
        told: what else the kind of config tells, in words.
        code: the code that the config names.
        contradictions: what in the weights contradicts the config.
    """

    config: Config
    sizes: dict[str, dict[str, Number]]
    dtype: str
    tied: bool | None
    quantised: str
    told: tuple[str, ...]
    code: tuple[Named, ...]
    contradictions: tuple[Contradiction, ...]


def summarise_config(checkpoint: Checkpoint, summary: Summary) -> tuple[ConfigSummary | None, tuple[str, ...]]:
    """Return what the config of a checkpoint says, None where there is none; and notes on files that are broken.

    Args:
        checkpoint: the checkpoint, in which each packed parameter is one plain tensor.
        summary: its summary.
    """
    found = find(checkpoint)
    config = found.config
    if config is None:
        return None, found.notes
    dtype = dtype_said(config.entries)
    own = model_tensors(checkpoint, summary.model)
    return ConfigSummary(
        config,
        sizes={part: {name: size.value for name, size in sizes.items()} for part, sizes in parts_of(config).items()},
        dtype=dtype[0] if dtype else "",
        tied=tied(config),
        quantised=titled(quantisation_of(checkpoint)) or reader_of(config).quantised(config),
        told=tuple(reader_of(config).told(config)),
        code=tuple(code_named_by(found)),
        contradictions=tuple(contradictions(config, own, summary.dtypes, bool(summary.packed))),
    ), found.notes
