"""One value for a region whose weight says which share of each voxel it fills: averages, order statistics, their spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuraxis.volume import Array

HALF = 0.5
"""A voxel that a region fills by at least this share counts as the region's own (Levy 2015, doi:10.1016/j.neuroimage.2015.06.040)."""


def binary_mean(values: Array, weights: Array) -> Array:
    """`bin`: mean over the voxels with a weight of at least one half.

    Parameters
    ----------
    values
        Of the map; (N,).
    weights
        Share of each voxel that each region fills; 0 to 1, (N, R).

    Returns
    -------
    (R,); NaN for a region without such a voxel.
    """
    return ratio(values @ (weights >= HALF), (weights >= HALF).sum(0))


def weighted_mean(values: Array, weights: Array) -> Array:
    """`wa`: sum w x / sum w; values (N,), weights (N, R) -> (R,), NaN for an empty region."""
    return ratio(values @ weights, weights.sum(0))


def weighted_sd(values: Array, weights: Array) -> Array:
    """Square root of sum w (x - wa)^2 / sum w; values (N,), weights (N, R) -> (R,), NaN for an empty region."""
    mean = weighted_mean(values, weights)
    return np.sqrt(ratio((weights * (values[:, None] - mean) ** 2).sum(0), weights.sum(0)))


def maximum(values: Array, weights: Array) -> Array:
    """`max`: the largest value with any weight; values (N,), weights (N, R) -> (R,), NaN for an empty region."""
    found = np.where(weights > 0, values[:, None], -np.inf).max(0, initial=-np.inf)
    return np.where(np.isfinite(found), found, np.nan)


def weighted_median(values: Array, weights: Array, between: Sequence[Array] = ()) -> Array:
    """`median`: where half of the weight lies below, between the two nearest values by straight line.

    With the values in order and S_n the sum of the first n weights, value n stands at P_n = (S_n - w_n / 2) / S_N; the median is
    read off at P = 1/2.

    Parameters
    ----------
    values
        Of the map; (N,).
    weights
        Share of each voxel that each region fills; 0 or more, (N, R).
    between
        Values of no weight, each array in order, which are points of the straight line too. With all values of the slices this is
        the figure of the Spinal Cord Toolbox, which therefore depends a little on the field of view.

    Returns
    -------
    (R,); NaN for an empty region.
    """
    filled = weights.sum(0) > 0
    if not filled.any():
        return np.full(weights.shape[1], np.nan)
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    below = np.cumsum(weights, axis=0)
    total = np.where(filled, below[-1], 1)
    place = (below - weights / 2) / total
    lower, upper = (weights > 0) & (place < 0.5), (weights > 0) & (place >= 0.5)
    first, last = len(values) - 1 - lower[::-1].argmax(0), upper.argmax(0)
    first, last = np.where(lower.any(0), first, last), np.where(upper.any(0), last, first)
    region = np.arange(weights.shape[1])
    low, high = values[first], values[last]
    middle = below[first, region] / total  # where all values of no weight between the two stand
    after, before = _neighbours(between, low, high)
    left = np.isfinite(after) & (middle > 0.5)  # 1/2 lies between low and the first of them
    right = np.isfinite(after) & ~left  # 1/2 lies between the last of them and high
    begin, end = np.where(right, middle, place[first, region]), np.where(left, middle, place[last, region])
    low, high = np.where(right, before, low), np.where(left, after, high)
    share = np.divide(0.5 - begin, end - begin, out=np.zeros(len(region)), where=end > begin)
    return np.where(filled, low + share * (high - low), np.nan)


def _neighbours(between: Sequence[Array], low: Array, high: Array) -> tuple[Array, Array]:
    """The smallest and the largest of ordered values that lie between low and high; NaN without any; each (R,)."""
    after, before = np.full(len(low), np.inf), np.full(len(low), -np.inf)
    for one in (one for one in between if len(one)):
        ends = np.concatenate([[-np.inf], one, [np.inf]])
        after = np.minimum(after, ends[np.searchsorted(one, low, "right") + 1])
        before = np.maximum(before, ends[np.searchsorted(one, high, "left")])
    there = (after < high) & (before > low)
    return np.where(there, after, np.nan), np.where(there, before, np.nan)


def ratio(above: Array, below: Array) -> Array:
    """above / below; NaN where there is nothing below."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
