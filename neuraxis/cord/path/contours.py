"""How much each point of a slice looks like the middle of a cord: closed contours and mirror symmetry, compiled.

Slices are float32, (Z, X, Y), with pixels of 1 mm; what lies outside the body's image is left out, never padded.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from neuraxis.volume import Array

DIRECTIONS = 16
REACH = 15
"""Profiles are read to this distance (mm), one sample per mm."""

HALF_DEPTHS = (3.0, 3.6, 4.3, 5.2, 6.2)
"""Front-to-back half axes that are tried; mm. Healthy cords: 3 to 4.5, more where the slice cuts them at a slant."""

ASPECTS = (0.75, 1.0, 1.35, 1.75)
"""Right-to-left half axis over the front-to-back one."""

RING = 2.5
"""Thickness of the ring around the contour that is compared with its inside; mm."""

_DARK, _EVEN = 0.6, 0.9
"""Brightness of the inside relative to the mean over 61 mm around it: nothing counts below the first, all above the
second. The cord is brighter than its neighbourhood of bone, muscle and air in every usual contrast."""

_SHARE_IN_VIEW = 0.7


def ellipses() -> tuple[Array, Array]:
    """Half axes of the ellipses that are tried, (N, 2) mm (x, y), and their radius in each direction, (N, D)."""
    axes = np.array([(a * k, a) for a in HALF_DEPTHS for k in ASPECTS if 3.0 <= a * k <= 8.5])
    angle = 2 * math.pi * np.arange(DIRECTIONS) / DIRECTIONS
    radius = 1 / np.hypot(np.cos(angle) / axes[:, :1], np.sin(angle) / axes[:, 1:])
    return axes, radius.astype(np.float32)


@njit(parallel=True, cache=True, fastmath=True, nogil=True)
def _closed_contours(slices, spread, level, wanted, radii, ring, softness, floor, mixed, score, best):
    depth, width, height = slices.shape
    directions = radii.shape[1]
    for job in prange(depth * width):
        z, x = job // width, job % width
        profile = np.empty((directions, REACH + 1), np.float32)
        inner = np.empty(directions, np.float32)
        for y in range(height):
            if not wanted[z, x, y]:
                continue
            for d in range(directions):
                angle = 2 * math.pi * d / directions
                c, s = math.cos(angle), math.sin(angle)
                for r in range(REACH + 1):
                    u, v = x + c * r, y + s * r
                    i, j = int(math.floor(u)), int(math.floor(v))
                    if i < 0 or j < 0 or i + 1 >= width or j + 1 >= height:
                        profile[d, r] = np.nan
                        continue
                    p, q = u - i, v - j
                    profile[d, r] = (1 - p) * ((1 - q) * slices[z, i, j] + q * slices[z, i, j + 1]) + p * (
                        (1 - q) * slices[z, i + 1, j] + q * slices[z, i + 1, j + 1]
                    )
            for n in range(radii.shape[0]):
                total, squares, weight = 0.0, 0.0, 0.0
                for d in range(directions):
                    part, count = 0.0, 0
                    for r in range(REACH + 1):
                        if r > radii[n, d] - 0.5:
                            break
                        value = profile[d, r]
                        if not math.isnan(value):
                            share = r + 0.25  # area of the sector
                            total += share * value
                            squares += share * value * value
                            weight += share
                            if r >= radii[n, d] - 3.0:
                                part += value
                                count += 1
                    inner[d] = part / count if count > 0 else np.nan
                if weight == 0:
                    continue
                mean = total / weight
                variance = max(squares / weight - mean * mean, 0.0)
                scale = softness * math.sqrt(variance + (floor * spread[z, x, y]) ** 2) + 1e-12
                up, down, seen = 0.0, 0.0, 0
                for d in range(directions):
                    highest, lowest = -np.inf, np.inf  # the CSF may be as thin as a voxel: its best sample counts
                    for r in range(1, REACH + 1):
                        if r >= radii[n, d] + ring + 0.5:
                            break
                        if r > radii[n, d] + 0.5 and not math.isnan(profile[d, r]):
                            highest, lowest = max(highest, profile[d, r]), min(lowest, profile[d, r])
                    if highest < lowest or math.isnan(inner[d]):
                        continue
                    rise, fall = math.tanh((highest - mean) / scale), math.tanh((mean - lowest) / scale)
                    if mixed:
                        up += max(rise, 0.7 * fall)
                        down += max(fall, 0.7 * rise)
                    else:
                        up += rise + min(rise, 0.0)
                        down += fall + min(fall, 0.0)
                    seen += 1
                if seen < _SHARE_IN_VIEW * directions:
                    continue
                # airways and ligaments are closed contours on the midline, too, but darker than a cord
                alive = min(max((mean / (level[z, x, y] + 1e-12) - _DARK) / (_EVEN - _DARK), 0.0), 1.0)
                up = alive * up / seen
                down = alive * down / seen
                if up > score[0, z, x, y]:
                    score[0, z, x, y] = up
                    best[0, z, x, y] = n
                if down > score[1, z, x, y]:
                    score[1, z, x, y] = down
                    best[1, z, x, y] = n


def closed_contours(
    slices: Array, wanted: Array, *, softness: float = 1.5, floor: float = 0.25, mixed: bool = False
) -> tuple[Array, Array]:
    """Score of the best ellipse around each wanted pixel, 0..1, and its number in `ellipses`; both (2, Z, X, Y).

    Entry 0 of the first axis is for a dark inside, 1 for a bright one. With m, s the mean and standard deviation of the
    inside, S that of the neighbourhood and ring_d the brightest (darkest) sample of the ring in direction d,

        t_d = tanh(+-(ring_d - m) / (softness sqrt(s^2 + (floor S)^2)))

    and the score is the mean of t_d, wrong signs counted twice: near 1 where an even region is closed on all sides,
    whatever the contrast. With `mixed` a step of the other sign is taken too, at 0.7 of its size: a cord that touches
    the back of its canal has no CSF there. Insides darker than their neighbourhood count less.
    """
    import scipy.ndimage as ndi

    _, radii = ellipses()
    slices = np.ascontiguousarray(slices, np.float32)
    level = ndi.uniform_filter(slices, (0, 61, 61), mode="nearest")
    mean, square = (ndi.uniform_filter(one, (0, 31, 31), mode="nearest") for one in (slices, slices * slices))
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    score = np.zeros((2, *slices.shape), np.float32)
    best = np.zeros((2, *slices.shape), np.int16)
    _closed_contours(slices, spread, level, wanted, radii, RING, softness, floor, mixed, score, best)
    return score, best


@njit(parallel=True, cache=True, fastmath=True, nogil=True)
def _mirror(slices, half_width, half_height, step, found):
    depth, width, height = slices.shape
    for job in prange(depth * width):
        z, x = job // width, job % width
        for y in range(height):
            a = b = aa = bb = ab = 0.0
            n = 0
            for u in range(step, half_width + 1, step):
                if x - u < 0 or x + u >= width:
                    break
                for v in range(max(-half_height, -y), min(half_height, height - 1 - y) + 1, step):
                    p, q = slices[z, x - u, y + v], slices[z, x + u, y + v]
                    a += p
                    b += q
                    aa += p * p
                    bb += q * q
                    ab += p * q
                    n += 1
            if n < 20:
                continue
            va, vb = aa - a * a / n, bb - b * b / n
            if va > 0 and vb > 0:
                found[z, x, y] = max((ab - a * b / n) / math.sqrt(va * vb), 0.0) * min(u / half_width, 1.0)


def mirror_symmetry(slices: Array, half_width: int = 20, half_height: int = 20) -> Array:
    """Correlation of the right with the mirrored left neighbourhood of each pixel; 0..1, (Z, X, Y).

    Where the edge of the view cuts the neighbourhood it is made smaller, and the correlation counts less.
    """
    found = np.zeros(slices.shape, np.float32)
    _mirror(np.ascontiguousarray(slices, np.float32), half_width, half_height, 2, found)
    return found
