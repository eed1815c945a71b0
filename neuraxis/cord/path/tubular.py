"""The cord's path in an image of any contrast: closed contours, mirror symmetry and a minimum-cost path."""

from __future__ import annotations

import math

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.path.slices import Stack, body, stack
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_THICKNESS = 4.0
"""Slices are averaged to about this; mm. A cord that runs at 45 degrees moves by as much within one."""

_COARSE = 2
"""Step of the first search; mm."""

_STEEPEST = 1.3
"""Largest slope of the path that is searched, dx/dz: about 50 degrees."""

_SKIN = (8.0, 20.0)
"""Depth under the skin (mm) at which the score begins to count, and from which it counts fully."""

_SIDE = 45.0
"""The cord is searched this far from the body's middle, to both sides; mm."""

_SIGHT = 15.0
"""The ends are judged by the mean score over this length; mm."""

_SURELY_DARK = 0.79
"""A cord with this mean score for a dark inside is dark, whatever the score for a bright one."""

_LIKE_ITSELF = 0.4
"""In a single slice the mirror symmetry over this stands for the likeness of neighbours."""

_BRAINSTEM = 140.0
"""A contour of this mean area (mm2), and much larger than the median, is the brainstem: the path ends below it."""

_NESTED = 6.0
"""How far the cord's centre may lie from that of its canal; mm."""


def tubular(
    image: Volume,
    *,
    slope_cost: float = 0.3,
    symmetry: float = 0.5,
    midline: float = 0.3,
    least_score: float = 0.6,
    least_likeness: float = 0.65,
    end_score: float = 0.3,
) -> Table:
    """Path of the cord by closed contours, mirror symmetry and dynamic programming, for any contrast.

    In every axial slice each point gets a score for being the middle of an even ellipse of a cord's size that is
    closed on all sides by a ring of another brightness, plus the correlation of its right with its mirrored left
    neighbourhood; points near the skin or far from the body's middle lose. The path maximises

        sum_z dz (score(x_z, y_z) - slope_cost |step_z / dz|^2)

    over all slices at once, once for a dark inside (CSF brighter than cord) and once for a bright one; the better
    contrast is kept. A second search at 1 mm around this path finds the dark cord inside a bright canal. Ends without
    a closed contour (below the conus, inside the brain, no signal) are left off.

    Parameters
    ----------
    image
        Image of the cord, any contrast, orientation and field of view; any unit, (X, Y, Z), finite.
    slope_cost
        Price of a slope of 45 degrees, in units of the score; at least 0. Larger gives a straighter path.
    symmetry
        Weight of the mirror symmetry; at least 0. Larger holds the path in the sagittal plane of the neck.
    midline
        Loss at 25 mm from the body's middle; at least 0. Larger holds the path in the middle of the body.
    least_score
        Smallest mean score of the contours along the path, 0 to 1; below it there is no cord in view.
    least_likeness
        Smallest mean correlation of the path's surroundings in neighbouring slices, 0 to 1; below it there is no cord in
        view. About 0.1 in noise, below 0.65 inside the brain.
    end_score
        Smallest score and likeness at the ends of the path, 0 to 1; below it the ends are left off.

    Returns
    -------
    Path of the cord: slice, x, y (voxel indices of the upright image), score (0..1); every slice from the lowest to the
    highest in which the cord is believed to be.

    Raises
    ------
    ValueError: a knob is outside its range, the image is not finite, or no cord is found in it.

    References
    ----------
    Gros 2018, doi:10.1016/j.media.2017.12.001
    Loy 2003, doi:10.1109/TPAMI.2003.1217601
    """
    for name, value in (("slope_cost", slope_cost), ("symmetry", symmetry), ("midline", midline)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value}")
    for name, value in (("least_score", least_score), ("least_likeness", least_likeness), ("end_score", end_score)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, not {value}")
    if not np.isfinite(image.data).all():
        raise ValueError("the image holds numbers that are not finite")
    slices = stack(image, _THICKNESS)
    if min(slices.slices.shape[1:]) < 12 or np.ptp(slices.slices) == 0:
        raise ValueError("no cord is in view: the image is empty or narrower than 12 mm")
    coarse = _coarse(slices, slope_cost, symmetry, midline)
    path, score, area = _fine(slices, coarse, slope_cost)
    like = _likeness(slices.slices, path)
    kept = _kept(score, like, area, slices.spacing, end_score)
    mean = float(score[kept].mean()) if kept.any() else 0.0
    if mean < least_score:
        raise ValueError(
            f"no cord is in view: the best path has a mean score of {mean:.2f}, and {least_score} is needed"
        )
    likeness = float(like[kept].mean())
    if likeness < least_likeness:
        raise ValueError(
            f"no cord is in view: along the best path neighbouring slices correlate by {likeness:.3f}, and "
            f"{least_likeness} is needed"
        )
    return _every_slice(slices, path, score, kept)


def _coarse(slices: Stack, slope_cost: float, symmetry: float, midline: float) -> Array:
    """Path at 2 mm over the whole view, by either contrast in each slice; (Z, 2), mm."""
    from neuraxis.cord.path.contours import closed_contours, mirror_symmetry

    numbers = slices.slices
    depth, middle = body(numbers)
    deep = np.clip((depth - _SKIN[0]) / (_SKIN[1] - _SKIN[0]), 0, 1)
    off = np.abs(np.arange(numbers.shape[1])[None, :] - middle[:, None])
    wanted = np.zeros(numbers.shape, bool)
    wanted[:, ::_COARSE, ::_COARSE] = True
    contours, _ = closed_contours(numbers, wanted & (deep > 0) & (off < _SIDE)[..., None])
    thin = (slice(None), slice(None, None, _COARSE), slice(None, None, _COARSE))
    contours, deep, off = contours[:, *thin], deep[thin], off[:, ::_COARSE]
    mirrored = mirror_symmetry(numbers)[thin]
    loss = midline * np.minimum(off / 25, 2)[..., None] ** 2
    # a dark cord lies in a bright canal: that is a closed contour about it, too
    around = scipy.ndimage.maximum_filter(contours[1], (0, 5, 5))
    dark = contours[0] + 0.3 * around * (contours[0] > 0.2)
    score = np.maximum(dark, contours[1])
    score = deep * (score + symmetry * mirrored * (score > 0.2)) - loss
    return _path(score, slices.spacing, slope_cost, _COARSE)[0] * _COARSE


def _fine(slices: Stack, coarse: Array, slope_cost: float) -> tuple[Array, Array, Array]:
    """Path at 1 mm about the coarse one; the score and the area of the contour (mm2) in each slice."""
    from neuraxis.cord.path.contours import closed_contours, ellipses

    numbers = slices.slices
    x, y = np.indices(numbers.shape[1:])
    away = np.hypot(x - coarse[:, :1, None], y - coarse[:, 1:, None])
    near = away <= _NESTED
    contours, best = closed_contours(numbers, near, floor=0.1, mixed=True)
    strict, _ = closed_contours(numbers, near)
    areas = np.pi * ellipses()[0].prod(1)
    found = []
    for inside in range(2):
        score = np.where(near, contours[inside] + strict[inside] - 0.01 * away, -np.inf)
        path, total = _path(score, slices.spacing, slope_cost, 1)
        at = (np.arange(len(path)), path[:, 0], path[:, 1])
        found.append((total / len(path), path, contours[inside][at], areas[best[inside][at]]))
    # steps of the wrong sign are worth 0.7, so a truly bright cord never gets more than this as a dark one; a canal
    # that holds a dark cord does, and its bright outline may still score higher than the cord's
    inside = int(found[0][2].mean() < _SURELY_DARK and found[1][0] > found[0][0])
    _, path, _, area = found[inside]
    at = (np.arange(len(path)), path[:, 0], path[:, 1])
    return path, np.maximum(strict[0][at], strict[1][at]), area  # the cord's outline, or its canal's


def _path(score: Array, spacing: float, slope_cost: float, pixel: int) -> tuple[Array, float]:
    from neuraxis.numerics.minimum_path import path_through_slices

    weights = np.full(len(score) - 1, slope_cost * pixel**2 / spacing**2)
    return path_through_slices(score, weights, math.ceil((_STEEPEST * spacing + 2) / pixel))


def _kept(score: Array, like: Array, area: Array, spacing: float, end_score: float) -> Array:
    """The slices between the first and the last that hold a tube of a cord's size."""
    width = max(1, round(_SIGHT / spacing)) | 1
    if spacing < 2 * _THICKNESS:  # thicker slices differ from their neighbours where all is well, too
        score = np.minimum(score, like)
    good = scipy.ndimage.uniform_filter1d(score, width, mode="nearest") >= end_score
    wide = scipy.ndimage.uniform_filter1d(area, width, mode="nearest")
    brain = np.flatnonzero(
        (wide > _BRAINSTEM) & (wide > 1.8 * np.median(area)) & (np.arange(len(area)) > len(area) / 2)
    )
    good[brain[0] if len(brain) else len(good) :] = False
    parts, number = scipy.ndimage.label(good)
    if number == 0:
        return good
    return parts == 1 + int(np.argmax(np.bincount(parts)[1:]))


def _likeness(slices: Array, path: Array) -> Array:
    """Mean correlation of each slice's surroundings (11 mm) of the path with the neighbours'; of both sides in one slice."""
    from neuraxis.cord.path.contours import mirror_symmetry

    if len(slices) == 1:
        return np.minimum(1.0, mirror_symmetry(slices)[:, path[0, 0], path[0, 1]] / _LIKE_ITSELF)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    far = np.arange(12.0)
    weight = np.sqrt(np.tile(far + 0.25, (24, 1))).ravel()  # by area
    seen = []
    for one, (x, y) in zip(slices, path, strict=True):
        around = [x + np.cos(angle) * far, y + np.sin(angle) * far]
        values = scipy.ndimage.map_coordinates(one, around, order=1, mode="nearest").ravel()
        values = (values - np.average(values, weights=weight)) * np.sqrt(weight)
        seen.append(values / (np.linalg.norm(values) + 1e-12))
    steps = np.array([a @ b for a, b in zip(seen, seen[1:], strict=False)])
    return (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2


def _every_slice(slices: Stack, path: Array, score: Array, kept: Array) -> Table:
    """From the kept slabs to every slice between them, on a smooth line."""
    at = np.flatnonzero(kept)
    first = 0 if at[0] == 0 else int(np.ceil(slices.z[at[0]]))
    last = slices.shape[2] - 1 if at[-1] == len(slices.z) - 1 else int(np.floor(slices.z[at[-1]]))
    z = np.arange(first, last + 1)
    places = path[at].astype(float)
    if slices.spacing < 2 * _THICKNESS and len(at) > 4:  # one pixel of jitter, smoothed over neighbouring slabs
        places = scipy.ndimage.gaussian_filter1d(places, 1.0, axis=0, mode="nearest")
    voxels = slices.voxels(places)
    columns = [_line(z, slices.z[at], column) for column in voxels.T]
    limits = np.array(slices.shape[:2]) - 1.0
    return Table.of(
        {
            "slice": z,
            "x": np.clip(columns[0], 0, limits[0]),
            "y": np.clip(columns[1], 0, limits[1]),
            "score": np.clip(np.interp(z, slices.z[at], score[at].astype(float)), 0, 1),
        }
    )


def _line(z: Array, known: Array, values: Array) -> Array:
    """Linear between the known places, and on along the last slope beyond them (half a slab at most)."""
    inner = np.interp(z, known, values)
    if len(known) > 1:
        low, high = z < known[0], z > known[-1]
        inner[low] = values[0] + (z[low] - known[0]) * (values[1] - values[0]) / (known[1] - known[0])
        inner[high] = values[-1] + (z[high] - known[-1]) * (values[-1] - values[-2]) / (known[-1] - known[-2])
    return inner
