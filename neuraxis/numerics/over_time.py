"""Mean and standard deviation over time of a series of which some slices do not count."""

from __future__ import annotations

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array


def kept_slices(motion: Table | None, shape: tuple[int, ...]) -> Array:
    """Which slices of an upright series of this `shape` (X, Y, Z, T) no row of `motion` calls an outlier; (Z, T) bool."""
    kept = np.ones(shape[2:4], bool)
    if motion is not None:
        bad = motion["outlier"] == 1
        kept[motion["slice"][bad], motion["volume"][bad]] = False
    return kept


def over_time(data: Array, kept: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (T - 1 degrees of freedom) over time of the slices that are kept.

    Parameters
    ----------
    data
        (X, Y, Z, T), any unit.
    kept
        Which slices count; (Z, T) bool.

    Returns
    -------
    Both, (X, Y, Z), float64 and in the unit of the data; 0 in a slice of which fewer than two are kept.
    """
    mean, spread = np.zeros(data.shape[:3]), np.zeros(data.shape[:3])
    for pattern in np.unique(kept, axis=0):
        if pattern.sum() > 1:
            at = np.flatnonzero((kept == pattern).all(1))
            chosen = data[:, :, at] if pattern.all() else data[:, :, at][..., pattern]
            mean[:, :, at], spread[:, :, at] = chosen.mean(-1, dtype=np.float64), chosen.std(-1, ddof=1, dtype=np.float64)
    return mean, spread
