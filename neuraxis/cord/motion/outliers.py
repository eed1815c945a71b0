"""Slices of a series that are not like the same slice at other times, and what stands in for their shifts."""

from __future__ import annotations

import numpy as np

from neuraxis.volume import Array

_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_DIM = 0.7
"""A slice is dim only below this share of its usual signal: the direction of diffusion weighting alone changes it by as much."""

_MOST = 0.5
"""Share of the slices of a volume that may be outliers before it is lost as a whole."""

_UNLIKE = 0.3
"""A slice is unlike the mean only where 1 - r exceeds the usual one by more than this, for the same reason."""


def outlying(corrected: Array, target: Array, weights: Array, deviates: float) -> Array:
    """Slices with a drop of signal, or that are unlike the mean; (Z, T) bool.

    For every slice and volume: the weighted mean signal over its median in time, and the weighted correlation r with the
    target. Both are compared with their median over all volumes of the slice, in robust standard deviations (median absolute
    deviation, Leys 2013, doi:10.1016/j.jesp.2013.03.013), pooled over slices: too dim, or too unlike.
    """
    weight = weights[..., None]
    total = np.maximum(weights.sum((0, 1)), 1e-9)[:, None]
    signal = (weight * corrected).sum((0, 1)) / total
    usual = np.median(signal, 1, keepdims=True)
    bright = signal / np.maximum(usual, 1e-9)
    centred = corrected - ((weight * corrected).sum((0, 1)) / total)[None, None]
    mean = target - (weights * target).sum((0, 1)) / total[:, 0]
    product = (weight * centred * mean[..., None]).sum((0, 1))
    length = np.sqrt((weight * centred**2).sum((0, 1)) * (weights * mean**2).sum((0, 1))[:, None])
    unlike = 1 - product / np.maximum(length, 1e-9)
    dim = _deviates(-np.log(np.maximum(bright, 1e-3))) > deviates
    far = _deviates(np.log(np.maximum(unlike, 1e-6))) > deviates
    return (dim & (bright < _DIM)) | (far & (unlike > np.median(unlike, 1, keepdims=True) + _UNLIKE))


def _deviates(values: Array) -> Array:
    """How far each value lies above the median over time, in robust standard deviations of all slices."""
    apart = values - np.median(values, 1, keepdims=True)
    return apart / max(_NORMAL * float(np.median(np.abs(apart))), 1e-9)


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
