"""What a disc looks like in front of the cord: the straightened sagittal picture and how disc-like each height of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuraxis.cord.curve import Curve
from neuraxis.volume import Array, Volume

STEP = 0.5
"""Sampling of the straightened picture along the cord and to the front; mm."""

ROOT = 9.0
"""Distance (mm) in front of the cord's centre at which a disc's height is told: about its posterior edge in PAM50."""

_REACH = 40.0
"""How far the picture reaches to the front; mm."""

_BODY = (9.0, 20.0)
"""Columns (mm in front of the cord's centre) that lie in the vertebral bodies at every level, children to adults."""

_SLOPES = np.tan(np.radians(np.arange(-30, 31, 5)))
"""Slopes of a disc against the cord's cross-section."""

_UNTILTED = 0.3
"""Loss of score of a disc tilted by 27 degrees: of equal pictures the less tilted disc is meant."""

_NEIGHBOURS_MM = 25.0
"""Discs this far apart (one standard deviation) are alike in contrast; dark in the neck, they may be bright in the chest."""

_FLOOR = 0.3
"""Contrast below this share of the usual one is noise; scores are divided by the contrast around, and this, to be fair to
the neck, whose discs are faint."""

_HALF = 8.0
"""Half height of the learned disc pattern; mm: a disc with both end plates and the beginning of the bodies."""


@dataclass(frozen=True, eq=False)
class Picture:
    """The sagittal picture in the cord's own coordinates: rows upwards along the cord, columns to the front."""

    arc: Array
    """(S,) mm along the cord."""
    front: Array
    """(A,) mm in front of the cord's centre."""
    values: Array
    """(S, A) contrast against the surroundings, in units of the contrast usual at that height."""
    seen: Array
    """(S, A) whether the image reaches there."""

    @property
    def rows(self) -> Array:
        """(S,) whether the bodies are in the field of view."""
        inside = (self.front >= _BODY[0]) & (self.front <= _BODY[1])
        return self.seen[:, inside].mean(axis=1) > 0.8


def mean_plane(upright: Volume, curve: Curve, rows: Array, front: Array, half_width: float) -> tuple[Array, Array]:
    """Mean of the planes within +-`half_width` mm at these rows and distances to the front, and whether half are in view."""
    step = min(max(float(curve.voxel_size[0]) / 2, 1.0), half_width)
    side = np.arange(-(half_width // step), half_width // step + 1) * step
    total, count = np.zeros((len(rows), len(front))), np.zeros((len(rows), len(front)))
    for offset in side:
        plane = curve.sample(upright, rows[:, None], front[None], np.full((1, 1), offset))
        inside = np.isfinite(plane)
        total += np.where(inside, plane, 0.0)
        count += inside
    seen = count > 0.5 * len(side)
    return np.where(seen, total / np.maximum(count, 1), 0.0), seen


def picture(upright: Volume, curve: Curve, *, half_width: float = 6.0) -> Picture:
    """The mean of the sagittal planes within +-`half_width` mm of the cord, in the cord's coordinates."""
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    front = np.arange(0.0, _REACH + STEP / 2, STEP)
    mean, seen = mean_plane(upright, curve, np.arange(len(curve.arc)), front, half_width)
    floor = min(0.0, float(mean.min()))

    def around(what: Array) -> Array:
        return gaussian_filter(what, (15.0 / STEP, 5.0 / STEP))

    level = around(np.where(seen, mean - floor, 0.0)) / np.maximum(around(seen.astype(float)), 1e-3)
    level = np.maximum(level, 1e-3 * max(float(level.max()), 1e-12))
    values = np.where(seen, np.clip((mean - floor) / level - 1, -1.5, 1.5), 0.0)
    bodies = seen & (front >= _BODY[0]) & (front <= _BODY[1])
    share = gaussian_filter1d(bodies.sum(axis=1).astype(float), _NEIGHBOURS_MM / STEP)
    power = gaussian_filter1d((values**2 * bodies).sum(axis=1), _NEIGHBOURS_MM / STEP) / np.maximum(share, 1e-3)
    contrast = np.sqrt(power) + 0.2 * np.sqrt((values[bodies] ** 2).mean() if bodies.any() else 1.0) + 1e-6
    return Picture(curve.arc, front, values / contrast[:, None], seen)


def _tilted(image: Picture, columns: Array, slope: float) -> tuple[Array, Array]:
    """(S, columns) values and whether they are seen, along lines that rise by `slope` to the front."""
    from scipy.ndimage import map_coordinates

    rows = np.arange(len(image.arc))[:, None] + slope * (image.front[columns] - ROOT)[None] / STEP
    places = [rows, np.broadcast_to(columns[None], rows.shape)]
    values = map_coordinates(image.values, places, order=1, cval=0.0)
    seen = map_coordinates(image.seen.astype(np.float32), places, order=1, cval=0.0)
    return values * (seen > 0.99), seen > 0.99


def _normalised(response: Array, rows: Array) -> Array:
    inside = response[:, rows]
    centre = np.median(inside)
    return (response - centre) / max(float(np.std(inside)), 1e-6)


@dataclass(frozen=True, eq=False)
class Likeness:
    """How disc-like each row is, and the slope of the disc that fits best there."""

    score: Array
    """(S,) 0 is usual, 1 one standard deviation above."""
    slope: Array
    """(S,) rise per mm to the front."""


def bands(image: Picture) -> tuple[Array, Array]:
    """Two contrasts of a thin plate against its surroundings, (slopes, S) each: as high as a disc, and as an end plate.

    Any disc, dark, bright, or bright between dark end plates, is a mixture of the two with some sign.
    """
    from scipy.ndimage import gaussian_filter1d

    columns = np.flatnonzero((image.front >= _BODY[0]) & (image.front <= _BODY[1]))
    lines = [_tilted(image, columns, slope) for slope in _SLOPES]
    share = np.array([seen.mean(axis=1) for _, seen in lines])
    sums = np.array([values.sum(axis=1) / len(columns) for values, _ in lines])

    def smooth(sigma: float) -> Array:
        weight = gaussian_filter1d(share, sigma / STEP, axis=1)
        return gaussian_filter1d(sums, sigma / STEP, axis=1) / np.maximum(weight, 0.05)

    trusted = (share > 0.8).astype(float)
    around = smooth(8.0)
    weight = np.maximum(gaussian_filter1d(trusted, 6.0 / STEP, axis=1), 0.05)
    power = gaussian_filter1d((sums - around) ** 2 * trusted, 6.0 / STEP, axis=1) / weight
    contrast = np.sqrt(power) + _FLOOR * np.sqrt(power[:, image.rows].mean()) + 1e-9
    wide, narrow = smooth(2.2) - smooth(6.5), smooth(1.0) - smooth(3.0)
    return tuple(_normalised(one / contrast * trusted, image.rows) * trusted for one in (wide, narrow))  # type: ignore


def mixed(image: Picture, parts: tuple[Array, Array], degrees: float) -> Likeness:
    """The likeness of one mixture of the two contrasts; `degrees` is its place on the circle of signs and weights."""
    wide, narrow = parts
    turn = np.radians(degrees)
    return _best(image, np.cos(turn) * wide + np.sin(turn) * narrow)


def learned(image: Picture, rows: Array, slopes: Array) -> tuple[Likeness, float]:
    """The likeness to the mean picture of the discs around, and the mean correlation of each disc with its neighbours."""
    columns = np.flatnonzero((image.front >= _BODY[0] - 1) & (image.front <= _BODY[1]))
    half = round(_HALF / STEP)
    lines = {float(slope): _tilted(image, columns, float(slope)) for slope in _SLOPES}
    windows = {}
    for slope, (values, _) in lines.items():
        padded = np.pad(values, ((half, half), (0, 0)))
        windows[slope] = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)  # (S, columns, height)
    weight = np.hanning(2 * half + 3)[1:-1]
    cuts = np.array([windows[float(slope)][row] for row, slope in zip(rows, slopes, strict=True)])
    cuts = (cuts - (cuts * weight).sum(axis=-1, keepdims=True) / weight.sum()) * weight
    cuts /= np.maximum(np.linalg.norm(cuts, axis=(1, 2), keepdims=True), 1e-9)
    even = (cuts + cuts[:, :, ::-1]) / 2  # a disc is alike above and below its middle: the pattern cannot drift
    near = np.exp(-0.5 * ((image.arc[rows][:, None] - image.arc[rows]) / (2 * _NEIGHBOURS_MM)) ** 2)
    others = np.einsum("ij,jcw->icw", near * (1 - np.eye(len(rows))), even)  # noise does not agree with itself
    others /= np.maximum(np.linalg.norm(others, axis=(1, 2), keepdims=True), 1e-9)
    sizes = np.maximum(np.linalg.norm(even, axis=(1, 2)), 0.3)
    agreement = float(((others * even).sum(axis=(1, 2)) / sizes).mean()) if len(rows) > 1 else 0.0
    patterns = np.einsum("ij,jcw->icw", near, even)
    patterns /= np.maximum(np.linalg.norm(patterns, axis=(1, 2), keepdims=True), 1e-9)
    order = np.argsort(image.arc[rows])
    found = np.empty((len(_SLOPES), len(image.arc)))
    for number, (slope, (_, seen)) in enumerate(lines.items()):
        raw = np.einsum("scw,icw->is", windows[slope], patterns[order], optimize=True)
        here = windows[slope]
        mean = np.einsum("scw,w->sc", here, weight / weight.sum(), optimize=True)
        square = np.einsum("scw,scw,w->s", here, here, weight**2, optimize=True)
        square += (mean**2).sum(axis=1) * (weight**2).sum()
        square -= 2 * np.einsum("scw,sc,w->s", here, mean, weight**2, optimize=True)
        size = np.sqrt(np.maximum(square, 0.0))
        raw /= size + _FLOOR * np.median(size[image.rows]) + 1e-9
        # at the edge of the view only the part of the pattern that can be seen is asked for
        there = np.lib.stride_tricks.sliding_window_view(np.pad(seen.mean(axis=1), half), 2 * half + 1)
        raw /= np.sqrt(np.maximum(np.einsum("sw,iw->is", there, (patterns[order] ** 2).sum(axis=1)), 0.4))
        whole = np.interp(image.arc, image.arc[rows][order], np.arange(len(rows)))
        lower = np.clip(whole.astype(int), 0, max(len(rows) - 2, 0))
        upper, part, all_rows = np.minimum(lower + 1, len(rows) - 1), whole - lower, np.arange(len(whole))
        mixed_raw = (1 - part) * raw[lower, all_rows] + part * raw[upper, all_rows]
        found[number] = mixed_raw * (seen.mean(axis=1) > 0.8)
    return _best(image, _normalised(found, image.rows)), agreement


def _best(image: Picture, response: Array) -> Likeness:
    response = response - _UNTILTED * (_SLOPES[:, None] / 0.5) ** 2
    best = response.argmax(axis=0)
    score = np.take_along_axis(response, best[None], axis=0)[0]
    inside = score[image.rows]
    score = (score - np.median(inside)) / max(float(np.std(inside)), 1e-6)
    return Likeness(score, _SLOPES[best])


def posterior_edge(image: Picture, row: int, slope: float, *, farthest: float = 18.0) -> float:
    """Where, going back from the body, the pattern of a disc ends: mm in front of the cord's centre; NaN when unclear.

    The picture around the disc is compared, column by column, with the mean of the columns inside the body.
    """
    half = round(_HALF / STEP)
    columns = np.flatnonzero(image.front <= _BODY[1])
    values, seen = _tilted(image, columns, slope)
    if row < half or row + half >= len(values):
        return float("nan")
    window = values[row - half : row + half + 1]
    if not seen[row - half : row + half + 1].all():
        return float("nan")
    window = window - window.mean(axis=0)
    inside = image.front[columns] >= ROOT + 2
    pattern = window[:, inside].mean(axis=1)
    projection = pattern @ window / max(float(pattern @ pattern), 1e-9)
    below = np.flatnonzero((projection < 0.5) & (image.front[columns] < ROOT + 3))
    if not len(below) or below[-1] + 1 >= len(columns):
        return float("nan")
    return float(min(image.front[columns][below[-1] + 1], farthest))
