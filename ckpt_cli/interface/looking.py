"""Looking and comparing from Python: figures, digests, differences, summaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..analysis.diff import Difference
from ..analysis.diff import diff as compared
from ..analysis.diff_lists import Listed, Sort
from ..analysis.figures import Figures
from ..analysis.layer_paths import DEEPEST, of_one
from ..analysis.summary import Summary
from ..commands.layer_types import layers_of
from ..errors import UsageError, number_of
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Named, select
from ..tensors.tensor import Tensor
from .edits import Texts
from .opening import AnyCheckpoint, opened, place, texts
from .wording import about

if TYPE_CHECKING:
    from ..analysis.config_summary import ConfigSummary
    from ..analysis.stats_rows import Row


def stats(
    checkpoint: AnyCheckpoint,
    patterns: Texts = (),
    *,
    total: bool = False,
    by_layer: bool | int = False,
    dequantise: bool = False,
    arch: str = "auto",
) -> dict[str, Figures]:
    """Compute the figures of each tensor's values: `ckpt stats`. All their bytes are read.

    Args:
        checkpoint: The checkpoint, or its path.
        patterns: Which tensors; all without one.
        total: Whether all count together, under the name `*`; without patterns, those of the model.
        by_layer: Whether the tensors of a layer count together, and how many parts of its path tell a layer; `True` for all.
        dequantise: Whether each packed parameter (integers with scales) is one plain tensor.
        arch: What patterns `@Type` speak of.

    Returns:
        By name `min`, `max`, `mean`, `std`, `l2`, `zeros`, `nan`, `inf`, in file order; tensors without plain elements are left out.

    Raises:
        CkptError: A pattern matches nothing, or a tensor that is named in full has no plain elements.
    """
    if total and by_layer:
        raise UsageError("total is one figure, and by_layer one a layer", "choose one")
    from ..analysis.optimizer import of_model

    whole = opened(checkpoint)
    with about(place(whole)):
        plain = _decoded(whole, dequantise)
        tensors = _picked(plain, patterns, arch)
        asked = {name: tensor.decoded(name) for name, tensor in tensors.items() if tensor.numeric or name in texts(patterns)}
        if total and not texts(patterns):
            asked = {name: asked[name] for name in of_model(plain, asked)}
        return {row.name: row.figures for row in _rows(plain, asked, total, _depth(by_layer)) if row.figures}


def _rows(checkpoint: Checkpoint, tensors: dict[str, Tensor], total: bool, depth: int | None) -> Iterable[Row]:
    """A row for all, one a layer, or one a tensor."""
    from ..analysis.stats_rows import layer_rows, tensor_rows, whole_row

    if total:
        return [whole_row(tensors)[0]]
    return tensor_rows(tensors) if depth is None else layer_rows(tensors, of_one(checkpoint, tensors, depth))[0]


def _depth(by_layer: bool | int) -> int | None:
    """How many parts of its path tell a layer; None where tensors count by themselves."""
    if by_layer < 0:
        raise UsageError("by_layer counts the parts of a path", "give 1 or more, or True")
    return DEEPEST if by_layer is True else by_layer or None


def _picked(checkpoint: Checkpoint, patterns: Texts, arch: str) -> dict[str, Tensor]:
    """The tensors that patterns pick."""
    return {name: checkpoint[name] for name in select(checkpoint, texts(patterns), layers_of(checkpoint, arch))}


def _decoded(checkpoint: Checkpoint, dequantise: bool) -> Checkpoint:
    """The checkpoint, if need be with each packed parameter as one plain tensor."""
    if not dequantise:
        return checkpoint
    from ..packing import dequantised

    return dequantised(checkpoint)


class Digests(NamedTuple):
    """Digests of a checkpoint, whatever format holds it.

    Attributes:
        sha256: The digest of all that was picked, in hexadecimal: what `ckpt hash` prints last.
        tensors: The digest of each tensor by its name.
    """

    sha256: str
    tensors: dict[str, str]

    def __repr__(self) -> str:
        return f"Digests({self.sha256}, {number_of(len(self.tensors), 'tensor')})"


def hash(checkpoint: AnyCheckpoint, patterns: Texts = (), *, arch: str = "auto") -> Digests:
    """Compute SHA-256 of the values: `ckpt hash`. The same weights in another format, order or sharding have the same digests.

    Args:
        checkpoint: The checkpoint, or its path.
        patterns: Which tensors; without one, all of them and the bytes that are in no tensor.
        arch: What patterns `@Type` speak of.

    Raises:
        CkptError: A pattern matches nothing, or bytes cannot be read.
    """
    from ..analysis.digest import digests, undecoded_digests, whole

    read = opened(checkpoint)
    with about(place(read)):
        found = list(digests(_picked(read, patterns, arch)))
        found += [] if texts(patterns) else undecoded_digests(read.undecoded)
    return Digests(whole(found), {digest.name: digest.sha256 for digest in found})


def diff(
    a: AnyCheckpoint,
    b: AnyCheckpoint,
    patterns: Texts = (),
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    exact: bool = False,
    by_layer: bool | int = False,
    unchanged: bool = False,
    sort: Literal["changed", "max_abs", "rel_l2", "cosine", "name"] | None = None,
    dequantise: bool = False,
    arch: str = "auto",
) -> Iterator[Difference]:
    """Compare two checkpoints, parameter by parameter: `ckpt diff`. Where nothing is yielded, they are the same.

    Args:
        a: The checkpoint before, or its path.
        b: The one after; its format may be another.
        patterns: The names to compare; without one, all, and the bytes that are in no tensor.
        rtol: Relative tolerance: |a-b| ≤ atol + rtol·|b| is equal.
        atol: Absolute tolerance.
        exact: Whether bytes decide: -0 is not 0, and NaNs are equal where their bits are.
        by_layer: Whether the tensors of a layer count together, and how many parts of its path tell a layer; `True` for all.
        unchanged: Whether what is the same is yielded, instead of what differs.
        sort: By name, or by a number, the largest change first; without it as in the files.
        dequantise: Whether packed parameters are plain tensors.
        arch: What patterns `@Type` speak of, in `a`.

    Yields:
        Records of `status` (changed, added, removed, shape, dtype, tied, untied, unread), `name`, `before`, `after`, `numbers`.

    Raises:
        CkptError: A pattern matches nothing, or bytes cannot be read.
    """
    _check_tolerances(rtol, atol)
    one, two = (_decoded(opened(each), dequantise) for each in (a, b))
    with about(place(one)):
        names = select(Named([*one, *two], one), texts(patterns), layers_of(one, arch)) if texts(patterns) else None
        wanted = Listed(one, two, names, [], _order(sort), _depth(by_layer), unchanged)
        yield from _listed(wanted, compared(one, two, names, rtol, atol, exact))


def _check_tolerances(*given: float) -> None:
    """Raises UsageError for a negative tolerance, and for NaN."""
    if not all(tolerance >= 0 for tolerance in given):
        raise UsageError("tolerances are 0 or more")


def _listed(wanted: Listed, differences: Iterator[Difference]) -> Iterable[Difference]:
    """The differences, each as it is found where nothing asks for all of them."""
    asks = wanted.sort or wanted.depth is not None or wanted.unchanged
    return wanted._replace(differences=list(differences)).entries() if asks else differences


def _order(sort: str | None) -> Sort | None:
    """The order of that name."""
    if sort and sort not in list(Sort):
        raise UsageError(f"differences are not sorted by {sort!r}", f"one of {', '.join(Sort)}")
    return Sort(sort) if sort else None


@dataclass(frozen=True, repr=False)
class Sheet(Summary):
    """What is in a checkpoint. Printed, it is what `ckpt summary` prints on a terminal.

    Attributes:
        config: What the config beside the file says.
        notes: What else there is to say.
    """

    config: ConfigSummary | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        name = self.model.architecture if self.model and self.model.architecture else "no known architecture"
        return f"Summary({self.path!r}, {name}, {number_of(self.params, 'parameter')}, {self.tensors:,} tensors)"

    def __str__(self) -> str:
        from ..show.answer import Answer
        from ..show.summary_view import show_summary

        with redirect_stdout(StringIO()) as text:
            out = Answer()
            out.terminal = True
            show_summary(out, self, self.layers, self.config)
        return text.getvalue().rstrip("\n")


def summary(checkpoint: AnyCheckpoint, *, depth: int | None = None, arch: str = "auto") -> Sheet:
    """Summarise a checkpoint, from headers alone: `ckpt summary`. `print(summary(PATH))` shows all of it.

    Args:
        checkpoint: The checkpoint, or its path.
        depth: Layers no deeper than that; what is below is counted in.
        arch: The architecture, where it is not to be recognised: auto, none, a name, `FILE.py:CALLABLE`.

    Raises:
        CkptError: The file is not of the architecture that is named.
    """
    from ..analysis.config_summary import summarise_config
    from ..analysis.summary import summarise, to_depth
    from ..architectures.mismatch import require_match
    from ..packing import dequantised, find
    from ..providers import asking

    whole = opened(checkpoint)
    with about(place(whole)):
        found = find(whole)
        plain = dequantised(whole, found)
        model = asking.model_of(plain, arch)
        if model and arch != "auto":
            require_match(model, {name: tensor.shape for name, tensor in plain.items()})
        facts = summarise(plain, model, None, found)
        config, notes = summarise_config(plain, facts)
    layers = facts.layers if depth is None else to_depth(facts.layers, depth)
    return Sheet(**{**vars(facts), "layers": layers}, config=config, notes=tuple(notes))
