"""PEFT: `base_model.model.….lora_A.weight`, and `adapter_config.json` beside it, which has rank and alpha."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import EditError
from ..tensors.checkpoint import Checkpoint
from .layer import Layer
from .naming import LORA, LYCORIS, Naming, Notes, Source, namings, ratio
from .pattern import alpha_of, rank_of

_PREFIX = "base_model.model."
_KINDS = ("LORA", "LOHA", "LOKR", "IA3")
# What a config may say, and no sum of weights does: the residual that some initialisations leave in the base, layers that are repeated,
# adapters that act on some tokens only (peft tuners/lora/config.py).
_OTHER_BASES = re.compile(r"pissa|corda|olora|loftq|lora_ga", re.IGNORECASE)
_NOT_FOLDED = (
    "layer_replication", "alora_invocation_tokens", "use_qalora", "arrow_config", "monteclora_config", "velora_config", "kasa_config",
    "use_bdlora",
)  # fmt: skip
_SAVED = re.compile(r"\.modules_to_save(?:\.default)?(?=\.)")
_MEND = "put the one beside it that was saved with it"


class Peft(Naming):
    """Names of PEFT (peft utils/save_and_load.py)."""

    name = "peft"
    title = "PEFT"
    ends: ClassVar[Mapping[str, str]] = {
        **LORA,
        **LYCORIS,
        r"\.lora_embedding_A(?:NAME)?": "embedding_down",
        r"\.lora_embedding_B(?:NAME)?": "embedding_up",
        r"\.ia3_l(?:NAME)?": "ia3",
        r"(?:\.token_adapter)?\.trainable_tokens_delta(?:NAME)?": "tokens",
    }
    components: ClassVar[Mapping[str, str]] = {r"base_model\.model\.": ""}

    def claims(self, source: Source) -> bool:
        """Whether a config of PEFT is beside it, or all names begin as PEFT's."""
        return "peft_type" in source.config or all(key.startswith(_PREFIX) for key in source.checkpoint)

    def layers(self, source: Source) -> list[Layer]:
        """The layers. Raises EditError for what cannot be folded in."""
        _check(source.config)
        layers = super().layers(source._replace(checkpoint=_without_copies(source.checkpoint)))
        for layer in layers:
            if "tokens" in layer.parts:
                layer.indices = _tokens(source.config.get("trainable_token_indices"), layer)
            layer.module = layer.module.replace(".base_layer", "")
            if "whole" in layer.parts:
                layer.module, _, layer.leaf = layer.module.rpartition(".")
            _find_experts(source.config, layer)
        return layers

    def place(self, key: str) -> tuple[str, str, str] | None:
        """Where a tensor belongs. One that is no part of a change takes the place of the base's."""
        found = super().place(key)
        if found is not None:
            return found
        return "", _SAVED.sub("", key.removeprefix(_PREFIX)).replace(".base_layer.", "."), "whole"

    def scale(self, source: Source, layer: Layer, rank: int, notes: Notes) -> float:
        """Alpha / rank, or alpha / √rank where ranks are stabilised (Kalajdzievski 2023, arXiv:2312.03732)."""
        config = source.config
        if not config:
            raise EditError("there is no adapter_config.json beside it, which says alpha", "put it there, as it was saved with it")
        alpha, known = alpha_of(config, layer.module, ("lora_alpha", "alpha")), rank_of(config, layer.module)
        if alpha is None:
            raise EditError("its adapter_config.json says no alpha", _MEND)
        rank = rank or int(known or 0)
        if known is not None and known != rank:
            raise EditError(f"{layer.key} has rank {rank}, its adapter_config.json says {known:g}", _MEND)
        return _scale(config, alpha, rank, layer)


def _scale(config: Mapping[str, Any], alpha: float, rank: float, layer: Layer) -> float:
    return ratio(alpha, rank**0.5 if config.get("use_rslora") is True else rank, layer.key)


def _without_copies(checkpoint: Checkpoint) -> Checkpoint:
    """Leave out layers as they were before training, and what `bias="all"` saves a second time of `modules_to_save`."""
    kept = {
        key: tensor
        for key, tensor in checkpoint.items()
        if ".original_module." not in key and not (_SAVED.search(key) and _SAVED.sub("", key) in checkpoint)
    }
    return checkpoint.replacing(tensors=kept)


def _find_experts(config: Mapping[str, Any], layer: Layer) -> None:
    """Find the parameters of stacked experts that a layer may be for: those of `target_parameters`, where its rank is that of several."""
    entry, module = config.get("target_parameters"), f".{layer.module}"
    paths = [path.rpartition(".") for path in entry if isinstance(path, str)] if isinstance(entry, list) else []
    if "down" not in layer.parts or layer.parts["down"].tensor.shape[:1] == (rank_of(config, layer.module),):
        return
    for name in (name for above, _, name in paths if not above or module.endswith(f".{above}")):
        path = f"{layer.module}.{name}"
        rank, alpha = rank_of(config, path), alpha_of(config, path, ("lora_alpha",))
        if rank and alpha is not None:
            layer.experts[name] = int(rank), _scale(config, alpha, rank, layer)


def _tokens(entry: Any, layer: Layer) -> tuple[int, ...]:
    """The rows of an embedding that the config names: a list, or a list for each layer by the end of its path."""
    if isinstance(entry, Mapping):
        entry = next((found for path, found in entry.items() if f".{layer.module}".endswith(f".{path}")), None)
    if not isinstance(entry, list) or not entry or any(type(index) is not int or not 0 <= index < 1 << 40 for index in entry):
        raise EditError(f"{layer.key}: the config does not say which tokens these are (trainable_token_indices)", _MEND)
    return tuple(entry)


def _check(config: Mapping[str, Any]) -> None:
    """Raises EditError where a config says what no sum of weights does."""
    kind = config.get("peft_type", "LORA")
    if kind not in _KINDS:
        raise EditError(f"it is an adapter of the kind {kind!r:.40}", f"{', '.join(_KINDS)} are folded in")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and _OTHER_BASES.match(start):
        mend = "convert it with PEFT: save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        raise EditError(f"it was begun by {start:.20}, which takes a part out of the base: it fits what was left of it", mend)
    for entry in _NOT_FOLDED:
        if config.get(entry):
            raise EditError(f"its config has {entry}, which cannot be folded into the weights", "load it with PEFT")


namings.add(Peft.name, Peft())
