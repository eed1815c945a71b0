"""Slices of a series that are not like the same slice at other times, and what stands in for their shifts."""

from __future__ import annotations

import numpy as np

from neuraxis.volume import Array

_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_DIM = 0.7
"""A slice is dim only below this share of its usual signal: the direction of diffusion weighting alone changes it by as much."""

_BRIGHT = 1 / _DIM
"""A slice is bright only above this share of its usual signal, times what a direction of diffusion weighting may add."""

_ACROSS = 0.7e-3
"""What a direction may add is exp(b * this): half the difference of diffusivities along and across the cord (Mohammadi 2013,
doi:10.1016/j.neuroimage.2012.12.058: 1.7 and 0.35), since the usual direction is oblique to it; half of that from slice to slice, where a
neck bends by 20 degrees; mm2/s."""

_SHELL = 0.1, 50.0
"""b-values that are next to each other are of one shell where they differ by no more than this share and this much; s/mm2."""

_MOST = 0.5
"""Share of the slices of a volume that may be outliers before it is lost as a whole."""

_UNLIKE = 0.3
"""A slice is unlike the mean only where 1 - r exceeds the usual one by more than this, for the same reason."""


def outlying(corrected: Array, target: Array, weights: Array, deviates: float, b_values: Array | None = None) -> Array:
    """Slices that lost signal, have too much of it, or are unlike the mean; (Z, T) bool.

    For every slice and volume: the weighted mean signal, and the weighted correlation r with the target. The logarithm of the
    signal is compared with its median over the volumes with about the same b-value (T,), and less that with the median of all
    slices of the volume; 1 - r with its median over all volumes. Too dim, too bright or too unlike is what lies off by more than so many
    robust standard deviations (median absolute deviation, Leys 2013, doi:10.1016/j.jesp.2013.03.013), pooled over slices, and by more than
    a bound. A slice without weights is none.
    """
    weight = weights[..., None]
    area = weights.sum((0, 1))
    total = np.maximum(area, 1e-9)[:, None]
    signal = (weight * corrected).sum((0, 1)) / total
    b_values = np.zeros(signal.shape[1]) if b_values is None else np.asarray(b_values, float)
    bright = np.log(np.maximum(signal, 1e-9))
    for shell in shells(b_values):
        bright[:, shell] -= np.median(bright[:, shell], 1, keepdims=True)
    centred = corrected - ((weight * corrected).sum((0, 1)) / total)[None, None]
    mean = target - (weights * target).sum((0, 1)) / total[:, 0]
    product = (weight * centred * mean[..., None]).sum((0, 1))
    length = np.sqrt((weight * centred**2).sum((0, 1)) * (weights * mean**2).sum((0, 1))[:, None])
    unlike = 1 - product / np.maximum(length, 1e-9)
    own = bright - np.median(bright[area > 0], 0)  # without what the direction does to all slices of a volume
    off, alone = bright / _spread(bright[area > 0]), own / _spread(own[area > 0])
    dim = (off < -deviates) & (bright < np.log(_DIM)) | (alone < -deviates) & (own < np.log(_DIM) - _ACROSS / 2 * b_values)
    light = (off > deviates) & (bright > np.log(_BRIGHT) + _ACROSS * b_values)
    light |= (alone > deviates) & (own > np.log(_BRIGHT) + _ACROSS / 2 * b_values)
    more = np.log(np.maximum(unlike, 1e-6))
    more -= np.median(more, 1, keepdims=True)
    far = (more > deviates * _spread(more[area > 0])) & (unlike > np.median(unlike, 1, keepdims=True) + _UNLIKE)
    return (dim | light | far) & (area > 0)[:, None]


def shells(b_values: Array) -> list[Array]:
    """The volumes with about the same b-value, one array of their numbers for each."""
    order = np.argsort(b_values, kind="stable")
    low = b_values[order][:-1]
    return np.split(order, np.flatnonzero(np.diff(b_values[order]) > np.maximum(_SHELL[0] * low, _SHELL[1])) + 1)


def _spread(apart: Array) -> float:
    """Robust standard deviation of what lies about zero."""
    return max(_NORMAL * float(np.median(np.abs(apart))), 1e-9)


def lost(outlier: Array) -> Array:
    """Volumes (T,) of which more than half of the slices are outliers (Z, T): they tell nothing of their own motion."""
    return np.asarray(outlier).mean(0) > _MOST


def filled(shifts: Array, outlier: Array) -> Array:
    """Shifts (T, Z, 2) with those of outliers (Z, T) from the slices beside them, or from the volumes before and after where the volume is `lost`."""
    made = shifts.copy()
    depth = shifts.shape[1]
    gone = lost(outlier)
    for volume in np.flatnonzero(~gone):
        bad = outlier[:, volume]
        if bad.any():
            for axis in (0, 1):
                made[volume, bad, axis] = np.interp(np.flatnonzero(bad), np.flatnonzero(~bad), shifts[volume, ~bad, axis])
    if gone.any() and not gone.all():
        away, kept = np.flatnonzero(gone), np.flatnonzero(~gone)
        for z in range(depth):
            for axis in (0, 1):
                made[away, z, axis] = np.interp(away, kept, made[kept, z, axis])
    return made
