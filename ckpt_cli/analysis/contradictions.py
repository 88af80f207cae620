"""What in the weights contradicts the config beside them, by names, dtypes and shapes alone. What names do not tell is no contradiction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..configs import Config, find
from ..formats.locate import part_notes
from ..formats.safetensors.index_names import shard_name
from ..tensors.checkpoint import Checkpoint
from .compared import Compared, Contradiction
from .contradicting_adapters import rank, target_modules
from .contradicting_dtypes import dtype, quantised
from .contradicting_sizes import experts, hidden_size, layers, vocabulary
from .contradicting_ties import tied_embeddings
from .summary import model_tensors

_Check = Callable[[Compared], Iterator[Contradiction]]
_OF_WHOLE: tuple[_Check, ...] = (dtype, quantised, layers, hidden_size, vocabulary, experts, tied_embeddings)
_OF_SHARDS: tuple[_Check, ...] = (dtype, vocabulary)
_OF_RANKS: tuple[_Check, ...] = (dtype,)
_OF_ADAPTERS: tuple[_Check, ...] = (rank, target_modules)


def contradictions(config: Config, own: Checkpoint, dtypes: Mapping[str, int], packed: bool = False) -> list[Contradiction]:
    """Return what in the weights contradicts a config, in the order of `_OF_WHOLE`.

    Args:
        config: the config that belongs to the weights.
        own: the tensors of the model, packed parameters as plain ones. Of a part of a model, only what a part can show is compared.
        dtypes: the number of elements of each dtype, without those of packed parameters.
        packed: whether parameters are packed.
    """
    path = own.origin.path if own.origin else ""
    if config.path == path and not config.library:
        return []  # arguments that a training kept, which may be about anything
    compared = Compared(config, own, dtypes, packed)
    return [each for check in _checks(config, own) for each in check(compared)]


def contradicting_sizes(checkpoint: Checkpoint) -> list[Contradiction]:
    """Return what in a checkpoint contradicts the number and the width of the layers that its config tells."""
    config = find(checkpoint).config
    if config is None or config.path == (checkpoint.origin.path if checkpoint.origin else ""):
        return []
    own = model_tensors(checkpoint, None)
    compared = Compared(config, own, {}, False)
    return [each for check in (layers, hidden_size, experts) if check in _checks(config, own) for each in check(compared)]


def _checks(config: Config, own: Checkpoint) -> tuple[_Check, ...]:
    if config.library == "peft":
        return _OF_ADAPTERS
    if own.origin and part_notes(own.origin.path, own):
        return _OF_RANKS
    return _OF_SHARDS if _is_shard(own) else _OF_WHOLE


def _is_shard(own: Checkpoint) -> bool:
    return own.origin is not None and own.origin.format != "sharded" and shard_name(own.origin.path) is not None
