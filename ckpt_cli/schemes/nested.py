"""Schemes made of schemes: some rows of a tensor are filled otherwise than the rest."""

from __future__ import annotations

from ..errors import EditError, UsageError
from .distribution import Distribution, Rows
from .scheme import scheme
from .signature import Filling
from .target import Target

_MOST_DIGITS = 18  # of a row's number


@scheme("pytorch")
def rows(target: Target, /, base: Filling, **rows: Filling) -> Distribution:
    """w ~ base, then w[ROW] ~ SCHEME for each ROW=SCHEME: `rows(normal(0, 0.02), 0=zeros)`

    ROW is the index of a row of axis 0, or a range of rows (`4:`, `:4`, `4:8`); negative ones count from the end. A single row has the
    shape of the tensor without axis 0, a range keeps that axis. The rows are drawn after the base, in the order given, and later ones
    overwrite earlier ones: `weight[padding_idx].zero_()`, or the thirds of a fused `in_proj_weight`, one by one.
    """
    if not target.shape:
        raise EditError("a scalar has no rows", "give the scheme alone", target.name)
    distributions: dict[int | range, Distribution] = {}
    for text, filling in rows.items():
        where = _where(text, target)
        rest = target.shape[1:]
        part = target._replace(shape=(len(where), *rest) if isinstance(where, range) else rest)
        distributions.pop(where, None)  # the order is that of the last mention
        distributions[where] = filling.distribution(part)
    return Rows(base.distribution(target), distributions)


def _where(text: str, target: Target) -> int | range:
    """The row or the range of rows that `text` names, counted from the start.

    Raises:
        UsageError: it names neither.
        EditError: the target has no such row.
    """
    numbers = text.split(":")
    count = target.shape[0]
    try:
        if any(len(number) > _MOST_DIGITS for number in numbers):
            raise ValueError
        if len(numbers) == 2:
            return range(*slice(*(int(number) if number else None for number in numbers)).indices(count))
        row = int(text)
    except ValueError:
        raise UsageError(f"{text:.20} names no row", "write rows(normal, 0=zeros) or rows(normal, 4:8=zeros)", target.name) from None
    if not -count <= row < count:
        raise EditError(f"there is no row {row}, only {count}", "rows count from 0", target.name)
    return row % count
