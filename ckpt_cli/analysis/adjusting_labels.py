"""The labels of a classifier: `num_labels`, or the names in `id2label` and `label2id`, of which transformers writes none for two labels."""

from __future__ import annotations

from collections.abc import Iterator

from .adjusting_sizes import changed_size
from .edited import Adjustment, Edited

_DEFAULT = 2  # labels of a config that tells none (PreTrainedConfig of transformers)
_MOST_LABELS, _MOST_DIGITS = 1_000_000, 7


def labels(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entries that tell how many labels there are, and their names; known names stay, new ones are LABEL_2 and so on."""
    entries = edited.config.entries
    names = entries.get("id2label") if isinstance(entries.get("id2label"), dict) else None
    told = [(entry, said) for part, size, entry, said in edited.sizes() if size == "labels" and not part]
    entry, said = ("id2label", len(names)) if isinstance(names, dict) else told[0] if told else ("id2label", _default(edited))
    new = changed_size(edited, "", "labels", entry, said) if said else said
    if isinstance(new, str):
        yield new.replace(f"{entry} stays {said:,}", f"{entry} keeps its {said:,} labels", 1) if entry == "id2label" else new
    elif new != said and 0 < new <= _MOST_LABELS:
        for each, value in told:
            yield from edited.adjusted("labels", each, value, new) if value == said else ()
        if isinstance(names, dict) or not told:
            yield from _named(edited, names if isinstance(names, dict) else {}, new)
    elif not new and said:
        yield f"{entry} stays: no label is left"


def _default(edited: Edited) -> int:
    """How many labels a classifier of transformers has whose config does not tell; 0 for other models."""
    config = edited.config
    return _DEFAULT if config.library == "transformers" and config.class_name.endswith("Classification") else 0


def _named(edited: Edited, names: dict[str, object], count: int) -> Iterator[Adjustment]:
    """The names of labels by number, and the numbers by name."""
    known = {key: name for key, name in names.items() if key.isdecimal() and len(key) <= _MOST_DIGITS and int(key) < count}
    new = known | {str(number): f"LABEL_{number}" for number in range(count) if str(number) not in known}
    yield Adjustment(("id2label",), edited.config.entries.get("id2label"), new)
    yield Adjustment(("label2id",), edited.config.entries.get("label2id"), {str(name): int(key) for key, name in new.items()})
