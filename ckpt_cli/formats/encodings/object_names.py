"""The names of what is reached in a pickle's tree: the keys of its path, joined by dots, each name once."""

from __future__ import annotations

from typing import Any

from ...errors import Malformed
from .object_nodes import ByteString, Call, Node, Tuple

_MOST_CHARACTERS = 1 << 28
_DEEPEST_KEY = 32
_MOST_OF_A_KEY = 10_000

Path = tuple[Any, ...]


def key_text(key: Any) -> str:
    """A key as it stands in a name. Raises Malformed where that would be too long."""
    if type(key) is str:
        return key
    if type(key) is ByteString:
        return key.text
    if type(key) is Tuple:
        _check_key(key)
        return _tuple_text(key)
    if type(key) is Call:
        return f"{key.path}({', '.join([key_text(part) for part in key.arguments()[:8] if not isinstance(part, (Call, Tuple))])})"
    if isinstance(key, Node):
        return getattr(key, "path", type(key).__name__)
    return str(key)


def _tuple_text(key: Tuple) -> str:
    return "(" + ", ".join([_tuple_text(item) if type(item) is Tuple else key_text(item) for item in key.items]) + ")"


def _check_key(key: Tuple) -> None:
    """Raise Malformed where the text of a key would be too long: a tuple may hold another one many times over."""
    level, parts = [key], 0
    for _ in range(_DEEPEST_KEY):
        parts += sum(len(one.items) for one in level)
        if not level or parts > _MOST_OF_A_KEY:
            break
        level = [item for one in level for item in one.items if type(item) is Tuple]
    if level:
        raise Malformed("a key of the pickle is nested too deep, or too long")


def spellings(key: Any) -> tuple[str, str, str]:
    """The three ways in which `names` may write the last key of a path: plain, escaped, bracketed."""
    return key_text(key), _escaped((key,)), _bracketed((key,))


def joined(path: Path) -> str:
    """The keys of a path, joined by dots."""
    return ".".join(map(key_text, path))


def names(tensors: list[Path], others: list[Path]) -> list[str]:
    r"""The names of tensors and of other leaves: the keys of each path, joined by dots.

    Where two names would be the same, dots inside a key are escaped (`a\.b`), then integer keys are put in brackets (`[7]`).

    Raises:
        Malformed: Two tensors, or a tensor and another leaf, have the same name all the same; or the names are too long.
    """
    paths, texts, characters = tensors + others, [], 0
    for path in paths:
        texts.append(joined(path))
        characters += len(texts[-1])
        if characters > _MOST_CHARACTERS:
            raise Malformed("the names of the tensors are too long")
    if len(set(texts)) == len(texts):
        return texts
    for spell in (_escaped, _bracketed):
        counts: dict[str, int] = {}
        for text in texts:
            counts[text] = counts.get(text, 0) + 1
        texts = [spell(path) if counts[text] > 1 else text for path, text in zip(paths, texts, strict=True)]
    if len(set(texts[: len(tensors)])) != len(tensors) or not set(texts[: len(tensors)]).isdisjoint(texts[len(tensors) :]):
        raise Malformed("two tensors go by the same path")
    return texts


def _escaped(path: Path) -> str:
    return ".".join(key_text(key).replace("\\", "\\\\").replace(".", "\\.") for key in path)


def _bracketed(path: Path) -> str:
    return ".".join(_escaped((key,)) if type(key) is str else f"[{key_text(key)}]" for key in path)
