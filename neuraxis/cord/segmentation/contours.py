"""Closed contours in polar coordinates: sampling, the best radius around the circle, and area per voxel; compiled.

Stacks of slices are float32, (Z, X, Y); centres and radii are in mm within the slice, profiles (Z, T, R).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from neuraxis.volume import Array


@njit(parallel=True, cache=True, nogil=True)
def _profiles(slices, centres, size, angles, radii, along, out):
    depth, width, height = slices.shape
    half = along.size // 2
    for z in prange(depth):
        for t in range(angles.size):
            c, s = math.cos(angles[t]), math.sin(angles[t])
            for r in range(radii.size):
                total, weight = 0.0, 0.0
                for k in range(along.size):
                    other = z + k - half
                    if other < 0 or other >= depth:
                        continue
                    u = min(max((centres[other, 0] + c * radii[r]) / size[0], 0.0), width - 1.0)
                    v = min(max((centres[other, 1] + s * radii[r]) / size[1], 0.0), height - 1.0)
                    i, j = min(int(u), width - 2), min(int(v), height - 2)
                    p, q = u - i, v - j
                    value = (1 - p) * ((1 - q) * slices[other, i, j] + q * slices[other, i, j + 1]) + p * (
                        (1 - q) * slices[other, i + 1, j] + q * slices[other, i + 1, j + 1]
                    )
                    total += along[k] * value
                    weight += along[k]
                out[z, t, r] = total / weight


def profiles(
    slices: Array, centres: Array, size: tuple[float, float], angles: Array, radii: Array, along: Array
) -> Array:
    """Brightness along rays from the centre of each slice, averaged with the weights `along` over its neighbours.

    `centres` is (Z, 2) mm, `size` the pixel's edge lengths (mm). The neighbours are read around their own centres, so
    that a slanting cord is not blurred.
    """
    out = np.empty((len(slices), angles.size, radii.size), np.float32)
    _profiles(slices, centres, np.asarray(size), angles, radii, along, out)
    return out


@njit(parallel=True, cache=True, nogil=True)
def _closed(gain, bend, reach, found):
    depth, turns, bins = gain.shape
    for z in prange(depth):
        # two revolutions; the middle one is closed but for a step that the search itself allows
        total = np.empty((2 * turns, bins))
        back = np.zeros((2 * turns, bins), np.int64)
        total[0] = gain[z, 0]
        for t in range(1, 2 * turns):
            for r in range(bins):
                top, where = -np.inf, r
                for k in range(max(0, r - reach), min(bins, r + reach + 1)):
                    one = total[t - 1, k] - bend * (r - k) ** 2
                    if one > top:
                        top, where = one, k
                total[t, r] = top + gain[z, t % turns, r]
                back[t, r] = where
        r = int(np.argmax(total[2 * turns - 1]))
        for t in range(2 * turns - 1, 0, -1):
            if t < turns + turns // 2 and t >= turns - (turns - turns // 2):
                found[z, t % turns] = r
            r = back[t, r]


def closed_radius(gain: Array, bend: float, reach: int) -> Array:
    """The radius bin in each direction that maximises the sum of gains minus bend (step)^2 around the circle; (Z, T)."""
    found = np.zeros(gain.shape[:2], np.int64)
    _closed(gain, bend, reach, found)
    return found


@njit(parallel=True, cache=True, nogil=True)
def _fill(centres, radius, valid, size, fine, out):
    depth, turns = radius.shape
    for z in prange(depth):
        if not valid[z]:
            continue
        reach = radius[z].max() + 1.0
        x0 = max(0, int((centres[z, 0] - reach) / size[0]) - 1)
        x1 = min(out.shape[1], int((centres[z, 0] + reach) / size[0]) + 2)
        y0 = max(0, int((centres[z, 1] - reach) / size[1]) - 1)
        y1 = min(out.shape[2], int((centres[z, 1] + reach) / size[1]) + 2)
        for x in range(x0, x1):
            for y in range(y0, y1):
                count = 0
                for a in range(fine):
                    for b in range(fine):
                        u = (x + (a + 0.5) / fine - 0.5) * size[0] - centres[z, 0]
                        v = (y + (b + 0.5) / fine - 0.5) * size[1] - centres[z, 1]
                        t = (math.atan2(v, u) / (2 * math.pi)) % 1.0 * turns
                        i = int(t)
                        p = t - i
                        edge = (1 - p) * radius[z, i % turns] + p * radius[z, (i + 1) % turns]
                        count += u * u + v * v <= edge * edge
                out[z, x, y] = count / (fine * fine)


def share_inside(
    centres: Array, radius: Array, valid: Array, size: tuple[float, float], shape: tuple[int, int, int], fine: int = 8
) -> Array:
    """Share of each voxel that lies inside its slice's contour; float32, (Z, X, Y), zero where a slice is not valid."""
    out = np.zeros(shape, np.float32)
    _fill(centres, radius, valid, np.asarray(size), fine, out)
    return out


def area_centre(radius: Array, angles: Array) -> Array:
    """Centre of area of each outline r(theta), (Z, 2), mm from its origin."""
    moment, area = radius**3 / 3, (radius**2 / 2).sum(1)
    return np.stack([(moment * np.cos(angles)).sum(1), (moment * np.sin(angles)).sum(1)], 1) / area[:, None]


def seen_from(shift: Array, radius: Array, angles: Array, others: tuple[Array, ...] = ()) -> tuple[Array, ...]:
    """Outlines (Z, T) about another origin, which lies at -shift, (Z, 2) mm; and what belongs to their points."""
    x, y = radius * np.cos(angles) + shift[:, :1], radius * np.sin(angles) + shift[:, 1:]
    turned = np.arctan2(y, x) % (2 * np.pi)
    found = []
    for values in (np.hypot(x, y), *others):
        rows = []
        for place, value in zip(turned, values, strict=True):
            order = np.argsort(place)
            around = np.concatenate([place[order] + turn for turn in (-2 * np.pi, 0, 2 * np.pi)])
            rows.append(np.interp(angles, around, np.tile(value[order], 3)))
        found.append(np.stack(rows))
    return tuple(found)
