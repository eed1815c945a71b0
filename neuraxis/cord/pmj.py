"""The pontomedullary junction: where, going up, the front of the brainstem leaps forward to the pons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.curve import Curve, curve_of
from neuraxis.cord.vertebrae import PMJ
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_STEP = 0.5
"""Sampling of the mid-sagittal picture; mm."""

_ABOVE_MM = 60.0
"""How far above the upper end of the cord the pons is sought: masks of the cord often end at C1, 45 mm below."""

_BELOW_MM = 150.0
"""How far below that end: paths of the cord sometimes run on through the brainstem into the brain."""

_FRONT_MM = 35.0
"""How far to the front the picture reaches."""

_MEDULLA_MM = (3.0, 13.0)
"""Distance from the axis to the front of the medulla, of the smallest and the largest."""

_RUN_MM = 12.0
"""Stretch of brainstem above and below the junction that must look like medulla and like pons."""

_PONS_MM = 20.0
"""Least height of the pons: adults' is 25 to 30 mm; what bulges for less is a vertebral body between two discs."""

_PONS_WIDTH_MM = (8.0, 24.0)
"""From the middle of the pons to its side."""

_TISSUE = 0.5
"""Brainstem is what differs from the axis by less than this share of the contrast to CSF."""


def pmj(image: Volume, cord: Volume, centerline: Table, *, bulge: float = 4.0, evenness: float = 2.5) -> Volume:
    """Pontomedullary junction.

    The mid-sagittal picture is straightened along the centerline and beyond its upper end. In each row the front of the
    brainstem f(s) is the first place where the picture leaves the brightness of the axis for that of CSF, by half their
    contrast, which the cord itself gives. Upwards the junction is where

        median f(s .. s + 12 mm) - median f(s - 12 mm .. s) >= bulge

    is largest, provided that f is even on both sides, that the medulla is as thick as a medulla, that the pons is tissue
    and has CSF in front, and that the image reaches 12 mm beyond. Otherwise there is none: out of view, or not told apart.

    Parameters
    ----------
    image
        Image of any contrast in which cord and CSF differ; any unit, (X, Y, Z), finite.
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.
    centerline
        Line of the cord; table with the columns slice, x, y in voxels of the upright frame.
    bulge
        Least step of the front from medulla to pons; mm, over 0. Larger finds fewer.
    evenness
        Largest spread (median absolute deviation) of the front on either side; mm, over 0. Smaller finds fewer.

    Returns
    -------
    pmj: label 50 at the groove in front of the junction, one voxel, (X, Y, Z), whole numbers; all zero where there is none.

    Raises
    ------
    ValueError: image and cord lie on two grids, the centerline is too short, or a knob is outside its range.

    References
    ----------
    Bedard 2022, doi:10.3389/fnimg.2022.1031253
    """
    for name, value in (("bulge", bulge), ("evenness", evenness)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be over 0 mm, not {value}")
    if not image.grid.same_as(cord.grid):
        raise ValueError("image and cord lie on two grids")
    upright, mask = image.oriented(), cord.oriented()
    labels = np.zeros(upright.data.shape[:3], np.int16)
    curve = curve_of(upright, centerline, step=_STEP, extend=_ABOVE_MM)
    side = _Side.of(upright, mask, curve)
    place = None if side is None else _junction(side, bulge, evenness)
    if place is not None:
        row, front = place
        point = curve.centre[row] + front * curve.front[row]
        voxel = np.rint(point / curve.voxel_size).astype(int)
        if ((voxel >= 0) & (voxel < labels.shape)).all():
            labels[tuple(voxel)] = PMJ
    return Volume(labels, upright.grid).onto(image.grid)


@dataclass(frozen=True, eq=False)
class _Side:
    """The mid-sagittal picture above the cord, in units of the contrast between tissue (0) and CSF (1)."""

    rows: Array
    """Rows of the curve that are looked at."""
    front: Array
    values: Array
    """(rows, front); NaN outside the image."""
    sideways: Callable[[int, float, Array], Array]
    """The picture, in the same units, from row and distance to the front to offsets to the left; mm."""

    @classmethod
    def of(cls, upright: Volume, mask: Volume, curve: Curve) -> _Side | None:
        top = int(np.searchsorted(curve.arc, curve.arc[-1] - _ABOVE_MM))
        rows = np.arange(max(top - round(_BELOW_MM / _STEP), 0), len(curve.arc))
        front = np.arange(0.0, _FRONT_MM, _STEP)
        offsets = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        planes = [curve.sample(upright, rows[:, None], front[None], np.full((1, 1), one)) for one in offsets]
        values = np.mean(planes, axis=0)
        contrast = cls._contrast(upright, mask)
        axis = values[:, front < 2.5].mean(axis=1)
        known = np.isfinite(axis)
        if contrast is None or not known.any():
            return None
        tissue, difference = contrast
        smooth = np.interp(np.arange(len(axis)), np.flatnonzero(known), axis[known])
        # coils fade upwards: both brightnesses follow the axis
        level = np.clip(
            scipy.ndimage.median_filter(smooth, round(15 / _STEP), mode="nearest"), 0.3 * tissue, 3 * tissue
        )[:, None]
        scale = difference * level / tissue

        def sideways(row: int, place: float, out: Array) -> Array:
            plane = curve.sample(upright, rows[row : row + 1, None], np.array([[place]]), out[None])
            return np.asarray((plane[0] - level[row]) / scale[row])

        return cls(rows, front, (values - level) / scale, sideways)

    @staticmethod
    def _contrast(upright: Volume, mask: Volume) -> tuple[float, float] | None:
        """Brightness of the upper cord, and by how much CSF around it differs (with its sign)."""
        slices = np.flatnonzero((mask.data > 0.5).any(axis=(0, 1)))
        if not len(slices):
            return None
        size = upright.grid.voxel_size
        slices = slices[-max(round(_BELOW_MM / size[2]), 1) :]
        inside = mask.data[:, :, slices] > 0.5
        flat = np.zeros((3, 3, 3), bool)
        flat[:, :, 1] = True
        near = scipy.ndimage.distance_transform_edt(~inside, sampling=size) <= 3.0
        ring = near & ~scipy.ndimage.binary_dilation(inside, flat)
        picture = upright.data[:, :, slices]
        if ring.sum() < 20:
            return None
        tissue, around = float(np.median(picture[inside])), picture[ring]
        low, high = np.percentile(around, [20, 80])
        csf = float(high if high - tissue > tissue - low else low)
        if not tissue > 0 or abs(csf - tissue) < 0.15 * tissue:
            return None
        return tissue, csf - tissue


def _junction(side: _Side, bulge: float, evenness: float) -> tuple[int, float] | None:
    """Row of the curve and distance to the front of the groove; None if there is no junction."""
    edge = _edges(side)
    run = round(_RUN_MM / _STEP)
    gap = round(1.0 / _STEP)
    best: tuple[float, int] | None = None
    for row in range(run, len(edge) - run):
        lower, upper = edge[row - run : row - gap + 1], edge[row + gap : row + run]
        if np.isfinite(lower).mean() < 0.9 or np.isfinite(upper).mean() < 0.9:
            continue
        below, above = float(np.nanmedian(lower)), float(np.nanmedian(upper))
        step = float(np.nanmedian(edge[row + gap : row + run // 2])) - float(np.nanmedian(edge[row - run // 2 : row]))
        if not _MEDULLA_MM[0] <= below <= _MEDULLA_MM[1] or above - below < bulge or step < bulge / 2:
            continue
        spread = max(float(np.nanmedian(np.abs(part - np.nanmedian(part)))) for part in (lower, upper))
        if spread > evenness:
            continue
        if best is None or step + above - below > best[0]:
            best = (step + above - below, row)
    if best is None:
        return None
    row = _steepest(edge, best[1])
    front = float(np.nanmedian(edge[row - run // 3 : row - gap + 1]))
    if not _is_pons(side, edge, row, front + bulge / 2):
        return None
    return int(side.rows[row - gap]), front - 1.0  # inside the brainstem, below the bulge


def _steepest(edge: Array, row: int) -> int:
    """The row within 6 mm where the front leaps."""
    near = round(6.0 / _STEP)
    half = round(1.5 / _STEP)
    rows = np.arange(max(row - near, half), min(row + near, len(edge) - half - 1) + 1)
    leaps = np.array([np.nanmean(edge[one : one + half]) - np.nanmean(edge[one - half : one]) for one in rows])
    return int(rows[np.nanargmax(leaps)]) if np.isfinite(leaps).any() else row


def _edges(side: _Side) -> Array:
    """Distance (mm) to the front of the brainstem per row; NaN where there is none before the picture ends."""
    known = np.isfinite(side.values)
    values = scipy.ndimage.gaussian_filter1d(np.where(known, side.values, 0.0), 1.0, axis=1)
    csf = (values > _TISSUE) & known
    first = csf.argmax(axis=1)
    edge = np.where(csf.any(axis=1), side.front[first], np.nan)
    whole = np.array([known[row, : place + 1].all() for row, place in enumerate(first)])
    return np.where(whole, edge, np.nan)


def _is_pons(side: _Side, edge: Array, row: int, bulging: float) -> bool:
    """Whether the bulge above a row is tissue like the axis, tall and broad like a pons, and the only one."""
    tall = edge[row + 2 : row + round(_PONS_MM / _STEP)]
    tall = tall[np.isfinite(tall)]
    if len(tall) * _STEP < _RUN_MM or np.mean(tall > bulging) < 0.9:
        return False
    below = edge[: row - round(2.0 / _STEP)]
    if np.mean(below[np.isfinite(below)] > bulging) > 0.05:  # the backs of vertebral bodies bulge again and again
        return False
    run = round(_RUN_MM / _STEP)
    inside = [side.values[one, side.front < edge[one] - 1.5] for one in range(row + 2, row + run) if edge[one] > 2]
    if not inside or np.mean(np.abs(np.concatenate(inside)) < _TISSUE) < 0.75:
        return False
    out = np.arange(0.0, _PONS_WIDTH_MM[1] + _STEP, _STEP)
    middle = min(row + round(8.0 / _STEP), len(side.rows) - 1)
    reach = []
    for direction in (-1.0, 1.0):
        line = side.sideways(middle, bulging, direction * out)
        csf = np.flatnonzero(line > _TISSUE)
        reach.append(float(out[csf[0]]) if len(csf) else np.inf)
    return _PONS_WIDTH_MM[0] <= min(reach) and max(reach) <= _PONS_WIDTH_MM[1]
