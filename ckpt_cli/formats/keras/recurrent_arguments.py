"""What a Keras config says of recurrent layers that their weights do not show: other functions than those that all frameworks share.

The arguments are those of keras/src/layers/rnn/{gru,lstm,simple_rnn,bidirectional}.py: others put the outputs of both directions one after
the other, merge_mode = concat. A function is a name, or {"class_name": …, "config": {"name": …}}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .layer_classes import Config, arguments_of, name_of

_USUAL = {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
_RECURRENT = re.compile(r"(CuDNN)?(GRU|LSTM|SimpleRNN)(Cell)?")


def unusual_arguments(config: Config | None) -> dict[str, str]:
    """Return what is unusual about recurrent layers, as `recurrent_activation = hard_sigmoid`, by the names of the layers."""
    found: dict[str, dict[str, Any]] = {}
    for layer in _configs(config):
        arguments = arguments_of(layer)
        if _RECURRENT.fullmatch(str(layer.get("class_name"))):
            odd = {key: _function(arguments[key]) for key in _USUAL if key in arguments}
            found.setdefault(name_of(layer), {}).update({key: value for key, value in odd.items() if value not in _USUAL[key]})
        elif layer.get("class_name") == "Bidirectional" and arguments.get("merge_mode", "concat") != "concat":
            inner = arguments.get("layer")
            found.setdefault(name_of(inner) if isinstance(inner, dict) else "", {})["merge_mode"] = arguments["merge_mode"]
    return {name: ", ".join(f"{key} = {value}" for key, value in odd.items()) for name, odd in found.items() if odd}


def _configs(config: Any) -> Iterator[Config]:
    """All configs within a config."""
    open_values = [config]
    while open_values:
        value = open_values.pop()
        if isinstance(value, dict):
            yield value
        open_values.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())


def _function(value: Any) -> Any:
    """The name of a function; other values as they are."""
    inner = arguments_of(value).get("name") or value.get("class_name") if isinstance(value, dict) else value
    return inner if isinstance(inner, (str, bool)) else str(inner)
