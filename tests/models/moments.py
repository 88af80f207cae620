"""Whether two samples are of one distribution: constants, mean, standard deviation, kurtosis, extremes, and Kolmogorov–Smirnov's distance.

Limits are six standard errors: of some 20,000 comparisons none fails by chance, and with 10,000 values a standard deviation that is
5 % off, or a normal distribution that is cut off at two standard deviations, does.
"""

from __future__ import annotations

import numpy as np

Sample = np.ndarray
ERRORS = 6.0
KOLMOGOROV = 3.2  # 2·exp(-2·3.2²) = 3e-9 (Kolmogorov 1933)
ENOUGH = 2000  # values below which the kurtosis and the extremes say nothing


def difference(ours: Sample, theirs: Sample) -> str:
    """Return how two samples differ; empty if they may be of one distribution.

    Args:
        ours: values that the product drew, over all seeds.
        theirs: values that the library drew.
    """
    a, b = (np.sort(without_strays(x.astype(np.float64).ravel())) for x in (ours, theirs))
    if a[0] == a[-1] or b[0] == b[-1]:
        return "" if np.allclose([a[0], a[-1]], [b[0], b[-1]], rtol=1e-6, atol=0) else f"{a[0]:g} … {a[-1]:g}, not {b[0]:g} … {b[-1]:g}"
    scale = b.std()
    checks = {
        "mean": (a.mean(), b.mean(), scale * np.sqrt(1 / a.size + 1 / b.size)),
        "std": (a.std(), b.std(), error_of_std(a, b)),
    }
    if min(a.size, b.size) >= ENOUGH:
        four = kurtosis(a), kurtosis(b)
        checks["kurtosis"] = (*four, max(error_of_kurtosis(a), error_of_kurtosis(b), 0.02) * 1.5)
        loose = 0.35 if max(four) < 2.5 else 3.2  # of a normal distribution the largest value itself varies by a fifth of the deviation
        checks |= {name: (a[at], b[at], scale * loose / ERRORS) for name, at in (("minimum", 0), ("maximum", -1))}
    for name, (one, other, error) in checks.items():
        if abs(one - other) > ERRORS * error:
            return f"{name} {one:g}, not {other:g} ± {error:.2g}"
    apart = distance(a, b) * np.sqrt(a.size * b.size / (a.size + b.size))
    return f"distributed otherwise: Kolmogorov-Smirnov {apart:.2f}" if apart > KOLMOGOROV else ""


def without_strays(x: Sample) -> Sample:
    """Return a sample without the odd value at the bound: erfinv of a float32 is infinite for one in 2²⁴, then clamped (timm)."""
    far = np.abs(x - np.median(x)) > 12 * np.quantile(np.abs(x - np.median(x)), 0.68)
    return x[~far] if x.size >= ENOUGH and far.sum() <= 3 else x


def kurtosis(x: Sample) -> float:
    """Return the fourth standardised moment: 3 of a normal distribution, 1.8 of a uniform one."""
    centred = x - x.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def error_of_std(a: Sample, b: Sample) -> float:
    """Return the standard error of the difference of two standard deviations."""
    return float(np.sqrt(sum(x.var() * max(kurtosis(x) - 1, 0.1) / (4 * x.size) for x in (a, b))))


def error_of_kurtosis(x: Sample) -> float:
    """Return the standard error of a kurtosis, from 16 parts of a sample in random order."""
    parts = np.array_split(np.random.default_rng(0).permutation(x), 16)
    return float(np.std([kurtosis(part) for part in parts]) / 4)


def distance(a: Sample, b: Sample) -> float:
    """Return the largest difference between two empirical distributions; both are sorted."""
    both = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, both, "right") / a.size - np.searchsorted(b, both, "right") / b.size).max())


def reference(init: list, size: int, seed: int = 0) -> Sample | None:
    """Return a sample of a distribution that has a name, drawn by numpy; None of others."""
    draw, (kind, *a) = np.random.default_rng(seed), init
    if kind == "normal":
        return draw.normal(a[0], a[1], size)
    if kind == "uniform":
        return draw.uniform(a[0], a[1], size)
    if kind == "constant":
        return np.full(size, a[0])
    if kind != "trunc_normal":
        return None
    values = draw.normal(a[0], a[1], size)
    while (out := (values < a[2]) | (values > a[3])).any():
        values[out] = draw.normal(a[0], a[1], int(out.sum()))
    return values
