"""How the summary of a config looks: a line and its contradictions, records, or a JSON object."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..analysis.config_summary import ConfigSummary
from ..configs.sizes import Number
from ..errors import shortened

# What is said of a size on a terminal; a size that is not here is in the records and in JSON alone.
_WORDS = {
    "layers": "{} layers",
    "decoder_layers": "{} decoder layers",
    "depths": "depths {}",
    "hidden": "hidden {}",
    "widths": "widths {}",
    "heads": "{} heads",
    "intermediate": "intermediate {}",
    "experts": "{} experts",
    "state": "state {}",
    "vocabulary": "vocabulary {}",
    "image": "image {}",
    "patch": "patch {}",
    "mel_bins": "{} mel bins",
}
_OF = {"heads": ("kv_heads", "{} key-value"), "experts": ("experts_per_token", "{} per token")}


def config_head(path: str, summary: ConfigSummary | None) -> Iterator[str]:
    """Yield the lines of the sheet: the model that the config of the file at `path` names, how it is quantised, what contradicts it."""
    if summary is None:
        return
    source = "the file itself" if path == summary.config.path else os.path.basename(summary.config.path)
    yield f"{'; '.join(filter(None, [_whole(summary), *_parts(summary)]))} ({source})"
    if summary.quantised:
        yield f"quantised: {summary.quantised}"
    for entry, says, found in summary.contradictions:
        yield f"contradicts {source}: {entry} says {says}, the weights have {found}"


def _whole(summary: ConfigSummary) -> str:
    config = summary.config
    name, within = (shortened(each) for each in (config.class_name or config.model_type or config.library, config.within))
    return ", ".join(filter(None, [f"{name} of {within}" if within else name, *_in_words(summary.sizes.get("", {})), *summary.told]))


def _parts(summary: ConfigSummary) -> Iterator[str]:
    for part, sizes in summary.sizes.items():
        words = list(_in_words(sizes))
        if part and words:
            yield f"{shortened(part)}: {', '.join(words)}"


def _in_words(sizes: Mapping[str, Number]) -> Iterator[str]:
    for size, words in _WORDS.items():
        if size not in sizes:
            continue
        told = _told(words, sizes[size])
        more, details = _OF.get(size, ("", ""))
        yield told + (f" ({_told(details, sizes[more])})" if more in sizes else "")


def _told(words: str, value: Number) -> str:
    told = words.format(value if isinstance(value, int) else "-".join(map(str, value)))
    return told.removesuffix("s") if value == 1 and words.startswith("{}") else told


def config_records(summary: ConfigSummary | None) -> Iterator[tuple[Any, ...]]:
    """Yield the records of a config in a pipe: the kind of each, then its fields."""
    if summary is None:
        return
    config = summary.config
    yield "config", config.path, config.library, config.class_name, config.model_type, config.within
    yield from (("size", name, _field(value)) for name, value in _flat(summary).items())
    said = {"dtype": summary.dtype, "tied": "" if summary.tied is None else str(summary.tied).lower(), "quantised": summary.quantised}
    yield from (("said", name, value) for name, value in said.items() if value)
    yield from (("said", "adapter", value) for value in summary.told)
    yield from (("contradicts", *each) for each in summary.contradictions)


def _field(value: Number) -> str:
    return str(value) if isinstance(value, int) else ",".join(map(str, value))


def _flat(summary: ConfigSummary) -> dict[str, Number]:
    """The sizes of all parts: `layers`, `text.layers`."""
    return {f"{part}.{name}" if part else name: value for part, sizes in summary.sizes.items() for name, value in sizes.items()}


def config_document(summary: ConfigSummary | None) -> dict[str, Any]:
    """Return the last entries of the JSON document of a summary."""
    if summary is None:
        return {"config": None, "contradictions": []}
    config = summary.config
    return {
        "config": {
            "path": config.path,
            "library": config.library or None,
            "class": config.class_name or None,
            "model_type": config.model_type or None,
            "within": config.within or None,
            "sizes": {name: value if isinstance(value, int) else list(value) for name, value in _flat(summary).items()},
            "dtype": summary.dtype or None,
            "tied": summary.tied,
            "quantised": summary.quantised or None,
            "told": list(summary.told),
        },
        "contradictions": [each._asdict() for each in summary.contradictions],
    }
