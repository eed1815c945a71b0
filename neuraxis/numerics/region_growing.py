"""Edge weights, region growing and temporal unwrapping of phase images, compiled.

Arrays here are numpy, float32 and C-contiguous; `weights` is uint8, (X, Y, Z, 3): entry [x, y, z, d] belongs to the
edge between a voxel and the next one along axis d, 1 (worst) to 255 (best), 0 where there is no edge.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from neuraxis.volume import Array

_PI = np.float32(math.pi)
_TWO_PI = np.float32(2 * math.pi)
_TURNS = np.float32(0.5 / math.pi)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ZERO = np.float32(0)
_FLOOR = np.float32(0.1)
_SPAN = np.float32(0.9)
_LEVELS = np.float32(254)


@njit(inline="always")
def _wrap(angle):
    return angle - _TWO_PI * np.floor(angle * _TURNS + _HALF)


@njit(inline="always")
def _bend(a, b, c):
    """1 where three phases in a row lie on a line, 0 where they bend by 2 rad or more."""
    return max(_ZERO, _ONE - _HALF * abs(_wrap(a - b - b + c)))


@njit(parallel=True, cache=True, fastmath=True, nogil=True)
def _edge_weights(phase, mask, second, ratio, magnitude, use_second, use_magnitude, weights):
    shape = phase.shape
    for x in prange(shape[0]):
        for y in range(shape[1]):
            for z in range(shape[2]):
                if not mask[x, y, z]:
                    continue
                here = phase[x, y, z]
                for d in range(3):
                    i, j, k = x + (d == 0), y + (d == 1), z + (d == 2)
                    if i >= shape[0] or j >= shape[1] or k >= shape[2] or not mask[i, j, k]:
                        continue
                    there = phase[i, j, k]
                    step = _wrap(there - here)
                    weight = _FLOOR + _SPAN * (_ONE - abs(step) / _PI)
                    if use_second:
                        other = _wrap(second[i, j, k] - second[x, y, z]) * ratio
                        weight *= _FLOOR + _SPAN * max(_ZERO, _ONE - abs(step - other))
                    line = _SPAN
                    bx, by, bz = x - (d == 0), y - (d == 1), z - (d == 2)
                    ax, ay, az = i + (d == 0), j + (d == 1), k + (d == 2)
                    if bx >= 0 and by >= 0 and bz >= 0 and ax < shape[0] and ay < shape[1] and az < shape[2]:
                        line = _bend(phase[bx, by, bz], here, there) * _bend(here, there, phase[ax, ay, az])
                    weight *= _FLOOR + _SPAN * line
                    if use_magnitude:
                        m, n = magnitude[x, y, z], magnitude[i, j, k]
                        big = max(m, n)
                        likeness = min(m, n) / big if big > _ZERO else _ZERO
                        weight *= _FLOOR + _SPAN * likeness * likeness
                    weights[x, y, z, d] = np.uint8(_LEVELS * weight + _HALF) + np.uint8(1)


def edge_weights(
    phase: Array,
    mask: Array | None = None,
    magnitude: Array | None = None,
    second_phase: Array | None = None,
    ratio: float = 1.0,
) -> Array:
    """How far each edge between two voxels can be trusted for unwrapping.

    The product of 0.1 + 0.9 c over: c1 = 1 - |wrapped difference| / pi; with a second echo c2 = 1 - |difference of the
    two echoes' wrapped differences, the second scaled by `ratio` = TE / TE2|; c3 = straightness of the phase over the
    two triplets that hold the edge (0.9 at the border); with a magnitude c4 = (smaller / larger)^2.
    """
    weights = np.zeros((*phase.shape, 3), np.uint8)
    mask = np.ones(phase.shape, np.bool_) if mask is None else mask
    second = phase if second_phase is None else second_phase
    size = phase if magnitude is None else magnitude
    _edge_weights(
        phase, mask, second, np.float32(ratio), size, second_phase is not None, magnitude is not None, weights
    )
    return weights


@njit(parallel=True, cache=True, nogil=True)
def _voxel_quality(weights, quality):
    shape = quality.shape
    for x in prange(shape[0]):
        for y in range(shape[1]):
            for z in range(shape[2]):
                total, number = 0, 0
                for d in range(3):
                    total += weights[x, y, z, d]
                    number += weights[x, y, z, d] > 0
                    i, j, k = x - (d == 0), y - (d == 1), z - (d == 2)
                    if i >= 0 and j >= 0 and k >= 0:
                        total += weights[i, j, k, d]
                        number += weights[i, j, k, d] > 0
                if number > 0:
                    quality[x, y, z] = max(_ZERO, np.float32((total / number - 1) / 254))


def voxel_quality(weights: Array) -> Array:
    """Mean weight of the edges that meet in a voxel; 0 to 1, (X, Y, Z)."""
    quality = np.zeros(weights.shape[:3], np.float32)
    _voxel_quality(weights, quality)
    return quality


@njit(cache=True, nogil=True)
def _grow(phase, weights, mask, strides, following, unwrapped, island):
    heads = np.full(256, -1, np.int64)
    islands = 0
    for seed in range(phase.size):
        if not mask[seed] or island[seed] != 0:
            continue
        islands += 1
        unwrapped[seed] = phase[seed]
        island[seed] = islands
        newest, top = seed, 0
        while True:
            for d in range(3):
                edge = 3 * newest + d
                weight = weights[edge]
                if weight > 0:
                    weights[edge] = 0
                    following[edge] = heads[weight]
                    heads[weight] = edge
                    top = max(top, weight)
                if newest >= strides[d]:
                    edge = 3 * (newest - strides[d]) + d
                    weight = weights[edge]
                    if weight > 0:
                        weights[edge] = 0
                        following[edge] = heads[weight]
                        heads[weight] = edge
                        top = max(top, weight)
            newest = -1
            while newest < 0:
                while top > 0 and heads[top] < 0:
                    top -= 1
                if top == 0:
                    break
                edge = heads[top]
                heads[top] = following[edge]
                known = edge // 3
                new = known + strides[edge - 3 * known]
                if island[known] == 0:
                    known, new = new, known
                if island[new] == 0:
                    newest = new
                    turns = np.floor((unwrapped[known] - phase[new]) * _TURNS + _HALF)
                    unwrapped[new] = phase[new] + _TWO_PI * turns
                    island[new] = islands
            if newest < 0:
                break
    return islands


def grow(phase: Array, weights: Array, mask: Array) -> tuple[Array, Array]:
    """Unwraps along the edges of the largest weights first (a maximum spanning tree), island by island.

    Returns the unwrapped phase, congruent to `phase` and zero outside the mask, and the number of the island of each
    voxel, counted from 1 (0 outside). Islands are 6-connected; each keeps the branch of its first voxel.
    """
    unwrapped = np.zeros(phase.shape, np.float32)
    island = np.zeros(phase.shape, np.int32)
    strides = np.array([phase.shape[1] * phase.shape[2], phase.shape[2], 1], np.int64)
    following = np.empty(weights.size, np.int32 if weights.size < 2**31 else np.int64)  # the buckets' linked lists
    _grow(phase.ravel(), weights.ravel().copy(), mask.ravel(), strides, following, unwrapped.ravel(), island.ravel())
    return unwrapped, island


@njit(parallel=True, cache=True, nogil=True)
def _follow_echoes(phases, magnitudes, mask, times, order, use_magnitude, unwrapped):
    shape = mask.shape
    for x in prange(shape[0]):
        for y in range(shape[1]):
            for z in range(shape[2]):
                if not mask[x, y, z]:
                    continue
                above, below = _ZERO, _ZERO
                for n in range(order.size):
                    e = order[n]
                    value = unwrapped[e, x, y, z]
                    if n > 0:
                        value = phases[e, x, y, z]
                        expected = above / below * times[e]
                        value += _TWO_PI * np.floor((expected - value) * _TURNS + _HALF)
                        unwrapped[e, x, y, z] = value
                    weight = _ONE
                    if use_magnitude:
                        weight = magnitudes[e, x, y, z] * magnitudes[e, x, y, z] + np.float32(1e-12)
                    above += weight * value * times[e]
                    below += weight * times[e] * times[e]


def follow_echoes(
    phases: Array, mask: Array, echo_times: Array, order: Array, unwrapped: Array, magnitudes: Array | None = None
) -> None:
    """Unwraps the other echoes in time, in place: `unwrapped`, (E, X, Y, Z), holds the first of `order` already.

    Each echo takes the branch nearest to the line through zero that fits the echoes before it in `order` best, weighted
    by the squared magnitude. `phases` must be free of the phase offset.
    """
    times = np.asarray(echo_times, np.float32)
    _follow_echoes(
        phases,
        phases if magnitudes is None else magnitudes,
        mask,
        times / times.max(),
        np.asarray(order, np.int64),
        magnitudes is not None,
        unwrapped,
    )
