"""Plain functions as methods, for the tests of the engine."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from neuraxis.volume import Array, Grid, Tensor


def double(raw: Array, extra: Array | None = None, *, factor: float = 2.0) -> Array:
    """Doubles.

    Parameters
    ----------
    raw
        What comes in.
    factor
        What to multiply by;
        above 0.

    Returns
    -------
    Twice.

    References
    ----------
    Nobody 2000, doi:10.1000/xyz.
    """
    return raw * factor


def needs_extra(raw: Array, extra: Array) -> Array:
    """Needs more."""
    return raw + extra


def triple(
    raw: Array,
    *,
    factor: float = 3.0,
    mode: Literal["a", "b"] = "a",
    count: int = 1,
    flag: bool = False,
    sizes: tuple[float, ...] = (1.0,),
    either: float | Literal["auto"] = 1.0,
) -> Array:
    """Triples."""
    return raw * factor


def shift(raw: Array, grid: Grid, *, by: int = 1) -> Array:
    """Shifts."""
    if by < 0:
        raise ValueError(f"by={by} is negative")
    assert grid.shape == raw.shape
    return raw + by


def combine(raw: Array, doubled: Array, shifted: Array) -> Array:
    """Combines."""
    return doubled + shifted * 4


def total(combined: Array) -> float:
    """Sums."""
    return float(combined.sum())


def wrong_shape(raw: Array) -> Array:
    """Cuts."""
    return raw[:1]


def not_finite(raw: Array) -> Array:
    """Breaks."""
    return raw * np.nan


def warner(raw: Array) -> Array:
    """Warns."""
    warnings.warn("take care", UserWarning, stacklevel=2)
    return raw


def tensor(raw: Tensor) -> Tensor:
    """Doubles a tensor."""
    return raw * 2


def crash(raw: Array) -> Array:
    """Crashes."""
    raise KeyError("x")


def cannot(raw: Array) -> Array | None:
    """Cannot."""
    warnings.warn("this one is too small", stacklevel=2)
    return None
