"""Best paths by dynamic programming: through a stack of slices, and around a circle; compiled."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from neuraxis.volume import Array


@njit(parallel=True, cache=True, nogil=True)
def _nearest_parabola(value, weight, reach, best, at):
    """max over j of value[i, j'] - weight (j - j')^2 along the last axis."""
    rows, columns = value.shape
    for i in prange(rows):
        for j in range(columns):
            top, where = -np.inf, j
            for k in range(max(0, j - reach), min(columns, j + reach + 1)):
                one = value[i, k] - weight * (j - k) ** 2
                if one > top:
                    top, where = one, k
            best[i, j] = top
            at[i, j] = where


def path_through_slices(score: Array, weights: Array, reach: int) -> tuple[Array, float]:
    """The path that maximises the sum of its scores minus w_z (squared step) between slices z and z + 1.

    Parameters
    ----------
    score
        Gain of each pixel; (Z, X, Y), -inf where the path must not go.
    weights
        w_z; per squared pixel, (Z - 1,).
    reach
        Longest step along each axis; pixels.

    Returns
    -------
    The path, (Z, 2) pixel indices, and its total.
    """
    depth, width, height = score.shape
    total = score[0].astype(np.float64)
    steps_x = np.zeros((depth, width, height), np.int32)
    steps_y = np.zeros((depth, width, height), np.int32)
    for z in range(1, depth):
        along_y, at_y = np.empty_like(total), np.empty(total.shape, np.int64)
        _nearest_parabola(total, weights[z - 1], reach, along_y, at_y)
        along_x, at_x = np.empty((height, width)), np.empty((height, width), np.int64)
        _nearest_parabola(np.ascontiguousarray(along_y.T), weights[z - 1], reach, along_x, at_x)
        steps_x[z] = at_x.T
        steps_y[z] = np.take_along_axis(at_y, at_x.T, axis=0)
        total = along_x.T + score[z]
    path = np.zeros((depth, 2), np.int64)
    path[-1] = np.unravel_index(int(np.argmax(total)), total.shape)
    for z in range(depth - 1, 0, -1):
        x, y = path[z]
        path[z - 1] = steps_x[z, x, y], steps_y[z, x, y]
    return path, float(total.max())
