"""The curve through the centres of the cord: x and y as smooth functions of the slice, and their slopes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_Curve = tuple[Array, Array, Array, Array]
"""x, y, dx/dz, dy/dz."""

_BACKGROUND = 0.01
"""Soft values below this are what a network leaves in the background."""

OFF_CENTRE = 2.0
"""A centre farther than this from where its neighbours put it belongs to a broken slice; mm."""

_NEIGHBOURHOOD = 10.0
"""Neighbours are looked for as far as this; mm."""

_MOST_BROKEN = 0.2
"""With a larger share of such slices the cord is as it is, and all count."""

_ROUNDING = 1e-3
"""By so much a soft value may leave 0..1."""

_DEGREE = 5
"""Of "polyfit" when only `smoothing` is given (SCT's)."""

_NURBS_POINTS = 3000
"""Points along the curve of "nurbs" (SCT's)."""


def upright(cord: Volume) -> Volume:
    """The mask in the upright frame "LAS", float32, 0..1; ValueError where it is no mask of a cord.

    Soft values stay where they touch cord (above 0.5) in their slice: the rest is background.
    """
    from scipy.ndimage import label

    if cord.data.ndim != 3:
        raise ValueError(f"a cord mask has three axes, not {cord.data.ndim}")
    turned = cord.oriented("LAS")
    data = np.ascontiguousarray(turned.data, dtype=np.float32)
    low, high = float(data.min(initial=0)), float(data.max(initial=0))
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError("the cord mask has values that are not finite")
    if high > 1 + _ROUNDING and np.isin(data, (0, high)).all():  # a binary mask stored as 0 and 255, say
        data, high = data / high, 1.0
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"the cord mask has values from {low:g} to {high:g}: neither 0 and 1 nor shares between them")
    if not high > 0.5:
        raise ValueError("the cord mask is empty: no voxel is above 0.5")
    box = _box(data >= _BACKGROUND)
    clean = np.zeros_like(data)
    inner = np.minimum(data[box], 1)
    firm, some = inner > 0.5, inner >= _BACKGROUND
    if np.count_nonzero(some) > np.count_nonzero(firm):
        in_plane = np.zeros((3, 3, 3), dtype=bool)
        in_plane[:, :, 1] = True
        labels, number = label(some, in_plane)
        kept = np.zeros(number + 1, dtype=bool)
        kept[labels[firm]] = True
        some = kept[labels]
    clean[box] = np.where(some, inner, 0)
    return Volume(clean, turned.grid)


def in_line(z: Array, x: Array, y: Array, voxel_size: tuple[float, ...]) -> Array:
    """Which centres lie where pairs of neighbours, one above and one below, put them (median over the pairs)."""
    reach = max(2, round(_NEIGHBOURHOOD / voxel_size[2]))
    number, points = len(z), np.column_stack([x, y]) * voxel_size[:2]
    kept = np.ones(number, dtype=bool)
    for i in range(2, number - 2):
        k = np.arange(1, min(reach, i, number - 1 - i) + 1)
        share = ((z[i] - z[i - k]) / (z[i + k] - z[i - k]))[:, None]
        expected = np.median(points[i - k] * (1 - share) + points[i + k] * share, axis=0)
        kept[i] = np.hypot(*(points[i] - expected)) <= OFF_CENTRE
    return kept if np.count_nonzero(~kept) <= _MOST_BROKEN * number else np.ones(number, dtype=bool)


def _box(mask: Array) -> tuple[slice, slice, slice]:
    flat, along = np.asarray(mask.any(axis=2)), np.asarray(mask.any(axis=(0, 1)))
    sides = np.asarray(flat.any(axis=1)), np.asarray(flat.any(axis=0)), along
    found = [np.flatnonzero(one) for one in sides]
    x, y, z = (slice(int(one[0]), int(one[-1]) + 1) for one in found)
    return x, y, z


def centers(cord: Volume) -> tuple[Array, Array, Array]:
    """Slices that hold cord (a voxel above 0.5), and its centre of mass x, y there; voxel indices of the upright frame.

    Weighted by the soft values: on a binary mask the plain mean of the voxels.
    """
    return centers_of(upright(cord))


def centers_of(mask: Volume) -> tuple[Array, Array, Array]:
    """As `centers`, of a mask that `upright` has made."""
    z = np.flatnonzero(mask.data.any(axis=(0, 1)))
    profiles = (mask.data.sum(axis=axis, dtype=np.float64)[:, z] for axis in (1, 0))
    x, y = (np.arange(len(one)) @ one / one.sum(axis=0) for one in profiles)
    return z, x, y


def fit(
    z: Array,
    x: Array,
    y: Array,
    at: Array,
    voxel_size: tuple[float, float, float],
    algorithm: str = "bspline",
    smoothing: float = 30.0,
) -> _Curve:
    """x, y and the slopes dx/dz, dy/dz of the curve at the slices `at`; voxels, and voxels per slice.

    `smoothing` is SCT's centerline-smooth: of "bspline" without unit, of "linear" the length of its window in mm, of "nurbs"
    the distance of its control points in mm; "polyfit" has degree 5. Gaps in z are bridged. Beyond the first and the last
    centre the curve goes on straight, in its direction there: a cubic would run away.
    """
    if not 0 <= smoothing < math.inf:
        raise ValueError(f"smoothing must be at least 0, not {smoothing}")
    if algorithm not in _CURVES:
        raise ValueError(f"there is no centerline algorithm {algorithm!r}; there are {', '.join(_CURVES)}")
    return _along(z, x, y, at, lambda z, xy, within: _CURVES[algorithm](z, xy, within, voxel_size, smoothing))


def fit_polynomial(z: Array, x: Array, y: Array, at: Array, degree: int) -> _Curve:
    """As `fit`, with a polynomial of the given degree (less where there are too few slices)."""
    return _along(z, x, y, at, lambda z, xy, within: _polynomial(z, xy, within, degree))


def _along(z: Array, x: Array, y: Array, at: Array, curve: Callable[..., tuple[Array, Array]]) -> _Curve:
    z, xy, at = np.asarray(z, float), np.stack([x, y], axis=1).astype(float), np.asarray(at, float)
    if len(z) == 0 or not (np.isfinite(z).all() and np.isfinite(xy).all()):
        raise ValueError("a centerline needs at least one centre, and finite ones")
    if (np.diff(z) <= 0).any():
        raise ValueError("the slices of a centerline must increase")
    if len(z) == 1:
        warnings.warn("the cord is in one slice only: its direction is unknown, and taken as upright", stacklevel=4)
        value, slope = np.repeat(xy, len(at), axis=0), np.zeros((len(at), 2))
    else:
        within = np.clip(at, z[0], z[-1])
        value, slope = curve(z, xy, within)
        value = value + slope * (at - within)[:, None]
    return value[:, 0], value[:, 1], slope[:, 0], slope[:, 1]


def table_of(
    cord: Volume, algorithm: str = "bspline", smoothing: float = 30.0, degree: int | None = None, whole: bool = False
) -> Table:
    """The `centerline` artifact: one row per slice of the cord, or of the whole field of view with `whole`."""
    straight = upright(cord)
    z, x, y = centers_of(straight)
    kept = in_line(z, x, y, straight.grid.voxel_size)
    if not kept.all():
        which = ", ".join(str(one) for one in z[~kept])
        warnings.warn(f"slice {which}: the cord lies beside its neighbours, left out of the centerline", stacklevel=3)
    at = np.arange(straight.data.shape[2]) if whole else np.arange(z[0], z[-1] + 1)
    z, x, y = z[kept], x[kept], y[kept]
    if degree is None:
        x, y, dx, dy = fit(z, x, y, at, straight.grid.voxel_size, algorithm, smoothing)
    else:
        x, y, dx, dy = fit_polynomial(z, x, y, at, degree)
    matrix, (px, py, pz) = straight.grid.matrix, straight.grid.voxel_size
    world = np.stack([x, y, at], axis=1) @ matrix[:3, :3].T + matrix[:3, 3]
    steps = np.linalg.norm(np.diff(world, axis=0), axis=1)
    return Table.of(
        {
            "slice": at,
            "x": x,
            "y": y,
            "dx": dx,
            "dy": dy,
            "x_mm": world[:, 0],
            "y_mm": world[:, 1],
            "z_mm": world[:, 2],
            "arc_mm": np.concatenate([[0.0], np.cumsum(steps)]),
            "angle_AP": np.degrees(np.arctan2(dx * px, pz)),
            "angle_RL": np.degrees(np.arctan2(dy * py, pz)),
        }
    )


def _bspline(z: Array, xy: Array, at: Array, voxel_size: tuple[float, ...], smoothing: float) -> tuple[Array, Array]:
    """FITPACK: the smoothest spline whose sum of squares (in voxels) stays below s."""
    from scipy.interpolate import splev, splrep

    slices = z[-1] - z[0] + 1
    s = (len(z) / slices) ** 2 * smoothing * voxel_size[2] / 3
    degree = 3 if len(z) > 3 else 1
    splines = [splrep(z, one, k=degree, s=s, quiet=1, full_output=1)[0] for one in xy.T]
    value, slope = ([splev(at, one, der=order) for one in splines] for order in (0, 1))
    return np.stack(value, axis=1), np.stack(slope, axis=1)


def _linear(z: Array, xy: Array, at: Array, voxel_size: tuple[float, ...], smoothing: float) -> tuple[Array, Array]:
    """Straight lines from centre to centre, smoothed by a Hann window; point reflection at the ends keeps the slope."""
    half = math.ceil(smoothing / voxel_size[2]) // 2
    window = np.hanning(2 * half + 3)[1:-1] if half else np.ones(1)
    every = np.arange(z[0], z[-1] + 1)
    found = []
    for one in xy.T:
        line = np.pad(np.interp(every, z, one), half, mode="reflect", reflect_type="odd")
        smooth = np.convolve(line, window / window.sum(), mode="valid")
        found.append((np.interp(at, every, smooth), np.interp(at, every, np.gradient(smooth))))
    value, slope = zip(*found, strict=True)
    return np.stack(value, axis=1), np.stack(slope, axis=1)


def _polynomial(z: Array, xy: Array, at: Array, degree: int) -> tuple[Array, Array]:
    from numpy.polynomial import Polynomial

    lines = [Polynomial.fit(z, one, min(degree, len(z) - 1)) for one in xy.T]
    return np.stack([one(at) for one in lines], axis=1), np.stack([one.deriv()(at) for one in lines], axis=1)


def _nurbs(z: Array, xy: Array, at: Array, voxel_size: tuple[float, ...], smoothing: float) -> tuple[Array, Array]:
    """Least squares for the control points of a rational cubic B-spline in space; bends weigh up to twice as much."""
    from scipy.interpolate import BSpline

    if len(z) < 4:
        return _bspline(z, xy, at, voxel_size, smoothing)
    points = np.column_stack([xy, z]) * voxel_size
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    number = int(np.clip(round(chord[-1] / max(smoothing, 1e-6)) + 3, 4, len(z)))
    knots = np.concatenate([[0] * 3, np.linspace(0, 1, number - 2), [1] * 3])
    u, dense = chord / chord[-1], np.linspace(0, 1, _NURBS_POINTS)
    greville = np.stack([knots[1 + k : 1 + k + number] for k in range(3)]).mean(axis=0)

    def solve(weight: Array) -> tuple[Array, Array]:
        rational = BSpline.design_matrix(u, knots, 3).toarray() * weight
        control = np.linalg.lstsq(rational / rational.sum(axis=1, keepdims=True), points, rcond=None)[0]
        both = BSpline(knots, np.column_stack([control * weight[:, None], weight]), 3)
        top, bottom = both(dense)[:, :3], both(dense)[:, 3:]
        d_top, d_bottom = both(dense, 1)[:, :3], both(dense, 1)[:, 3:]
        return top / bottom, (d_top - top / bottom * d_bottom) / bottom

    _, tangent = solve(np.ones(number))
    speed = np.linalg.norm(tangent, axis=1, keepdims=True)
    bend = np.interp(greville, dense, np.linalg.norm(np.gradient(tangent / speed, dense, axis=0), axis=1) / speed[:, 0])
    curve, tangent = solve(1 + bend / max(bend.max(), 1e-9))
    height = np.maximum.accumulate(curve[:, 2]) / voxel_size[2]
    rise = np.maximum(tangent[:, 2:], 1e-9) / voxel_size[2]
    x, y = (np.interp(at, height, curve[:, k] / voxel_size[k]) for k in (0, 1))
    dx, dy = (np.interp(at, height, tangent[:, k] / voxel_size[k] / rise[:, 0]) for k in (0, 1))
    return np.stack([x, y], axis=1), np.stack([dx, dy], axis=1)


def _polyfit(z: Array, xy: Array, at: Array, voxel_size: tuple[float, ...], smoothing: float) -> tuple[Array, Array]:
    return _polynomial(z, xy, at, _DEGREE)


_CURVES: dict[str, Callable[..., tuple[Array, Array]]] = {
    "bspline": _bspline,
    "linear": _linear,
    "polyfit": _polyfit,
    "nurbs": _nurbs,
}
