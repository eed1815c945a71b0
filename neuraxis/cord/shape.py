"""Shape of the cord, slice by slice: area, diameters, symmetry, and whether the numbers can be trusted."""

from __future__ import annotations

import math
import warnings

import numpy as np

from neuraxis.cord.centerline.fit import OFF_CENTRE, centers_of, fit, upright
from neuraxis.cord.cross_section import Section, boundary_error, section_of
from neuraxis.cord.orientation import from_image, from_outlines, principal
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

MEASURES = (
    "area",
    "diameter_AP",
    "diameter_RL",
    "diameter_AP_ellipse",
    "eccentricity",
    "solidity",
    "orientation",
    "angle_AP",
    "angle_RL",
    "length_anterior",
    "length_posterior",
    "area_anterior_left",
    "area_anterior_right",
    "area_posterior_left",
    "area_posterior_right",
    "symmetry_RL",
    "symmetry_AP",
    "asymmetry_LR",
)
"""Columns that can be averaged over slices; `length` is summed."""

_PMJ_SMOOTHING = 50.0
"""Of the linear centerline along which the distance from the pontomedullary junction is measured; mm (SCT's)."""

_RIM = 2.0
"""A cord that comes nearer than this to the border of the image may be cut off by it: it has CSF around it; mm."""

_SHRUNKEN = 0.5
"""A slice with less than this share of the area of its neighbourhood is a broken one, not a narrow one."""

_NEIGHBOURHOOD = 10.0
"""Slices within this distance make the neighbourhood; mm."""


def shape(
    cord: Volume,
    centerline: Table,
    levels: Volume | None = None,
    pmj: Volume | None = None,
    image: Volume | None = None,
    *,
    angle_correction: bool = True,
    strip: float = 3.0,
    axis_smoothing: float = 5.0,
    largest_angle: float = 20.0,
    smallest_area: float = 10.0,
) -> Table:
    """Area, diameters and symmetry of every cross-section of the cord.

    A slice cuts the cord at the angle t between its normal and the centerline, with cos t = 1 / sqrt(1 + (dx/dz)^2 +
    (dy/dz)^2), and shows it stretched by 1 / cos t in the direction of the tilt; the section across the cord is

        area = cos t * sum of soft values * area of a voxel,      length = slice thickness / cos t

    and its outline, sampled at 0.1 mm where the soft value is 0.5, is squeezed likewise. (The Spinal Cord Toolbox squeezes
    by cos(angle_RL) cos(angle_AP): the same for a tilt about one axis, 9 % too small at 40 degrees about both.) Second
    moments of the outline give the ellipse: diameter_RL, diameter_AP_ellipse, eccentricity, orientation of the major axis.

    diameter_AP is the tissue that a line from back to front meets, averaged over a strip around the midline. Midline and
    direction come from the convex outline, which a notch does not move, and the direction from the neighbouring slices too:
    so a crescent or a dented cord gives the tissue left between dent and back, and not the depth of a fitted ellipse.
    The same axes part the quadrants and mirror the section (Dice); with `image`, their direction is that of the symmetry
    of its intensity gradients. asymmetry_LR is (left - right) / (left + right) of the halves.

    Parameters
    ----------
    cord
        The cord, binary or soft; 0..1, (X, Y, Z), any orientation. Soft values not connected with the cord in the slice
        are left out.
    centerline
        The curve along which the cord runs: slice, x, y (voxels) and slopes dx, dy (voxels per slice).
    levels
        Vertebral levels painted on the cord; whole numbers, (X, Y, Z), 0 elsewhere. A slice's level is their rounded mean.
    pmj
        The pontomedullary junction; one voxel that is not zero, (X, Y, Z). Distances run along a smoothed line downwards.
    image
        The image itself; any contrast, (X, Y, Z), finite.
    angle_correction
        Whether the tilt of the cord against the slice is taken out.
    strip
        Width of the strip of diameter_AP; mm, above 0. At most half of diameter_RL is taken.
    axis_smoothing
        SD along the cord over which its left-right direction is averaged; mm, at least 0.
    largest_angle
        A slice that the cord crosses at a larger angle to its normal is not trusted; deg, 0 to 90.
    smallest_area
        A slice with less cord is not trusted; mm2, at least 0.

    Returns
    -------
    One row per slice that holds cord, from below: slice, level, distance_pmj, the measures named above (mm, mm2, deg),
    area_uncertainty (mm2, of the outline alone), components, trusted (1 or 0) and why not. Diameters and what follows from
    them are missing where the section falls into parts of which none has 90 % of it, all measures where the centerline
    does not reach.

    Raises
    ------
    ValueError: the mask is empty, not finite or not between 0 and 1; the volumes lie on several grids; the centerline has
    none of the slices; a knob is outside its range.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    Bedard 2022, doi:10.3389/fnimg.2022.1031253
    Sun 1999, doi:10.1006/rtim.1998.0135
    """
    for name, value, fine in (
        ("strip", strip, 0 < strip < math.inf),
        ("axis_smoothing", axis_smoothing, 0 <= axis_smoothing < math.inf),
        ("largest_angle", largest_angle, 0 <= largest_angle <= 90),
        ("smallest_area", smallest_area, 0 <= smallest_area < math.inf),
    ):
        if not fine:
            raise ValueError(f"{name} is outside its range: {value}")
    for name, other in (("levels", levels), ("pmj", pmj), ("image", image)):
        if other is not None and not other.grid.same_as(cord.grid):
            raise ValueError(f"{name} and cord lie on different grids")
    mask = upright(cord)
    px, py, pz = mask.grid.voxel_size
    slices, at_x, at_y = centers_of(mask)
    line = _on_slices(centerline, slices)
    slope, lost = line[:, 2:] * (px, py) / pz, np.asarray(np.isnan(line[:, 0]))
    beside = np.hypot(*((np.column_stack([at_x, at_y]) - line[:, :2]) * (px, py)).T)
    tilt = np.where(lost[:, None], 0, slope) if angle_correction else np.zeros_like(slope)
    sections, errors, cut = [], [], []
    planes = np.ascontiguousarray(np.moveaxis(mask.data[:, :, slices], 2, 0))
    rim = tuple(math.ceil(_RIM / size - 1e-6) for size in (px, py))
    for number, plane in enumerate(planes):
        patch, at_border = _patch(plane, rim)
        sections.append(section_of(patch, (px, py), tuple(tilt[number])))
        errors.append(boundary_error(patch, (px, py)) / math.sqrt(1 + tilt[number] @ tilt[number]))
        cut.append(at_border)
    height = slices * pz
    hulls = [one.hull_moments() for one in sections]
    axes = from_outlines([spread for _, _, spread in hulls], height, axis_smoothing)
    if image is not None:
        pictures = image.oriented("LAS").data[:, :, slices]
        if not np.isfinite(pictures).all():
            raise ValueError("the image has values that are not finite")
        halves = from_image(pictures, np.column_stack([at_x, at_y]), height, (px, py), axis_smoothing)
    each = zip(sections, hulls, axes, axes if image is None else halves, strict=True)
    measured = [_measured(*one, strip) for one in each]
    why = _doubts(sections, slices, cut, mask.grid, slope, beside, (largest_angle, smallest_area))
    columns = {
        "area": np.array([one.area for one in sections]),
        "area_uncertainty": np.array(errors),
        **{name: np.array([one[name] for one in measured]) for name in measured[0]},
        "angle_AP": np.degrees(np.arctan(tilt[:, 0])),
        "angle_RL": np.degrees(np.arctan(tilt[:, 1])),
        "length": pz * np.sqrt(1 + (tilt**2).sum(axis=1)),
    }
    return Table.of(
        {
            "slice": slices,
            "level": _level_of(levels, slices),
            "distance_pmj": _distance(mask, pmj, slices),
            **{name: np.where(lost & angle_correction, math.nan, values) for name, values in columns.items()},
            "components": [one.parts for one in sections],
            "trusted": [int(not one) for one in why],
            "why": np.array(["; ".join(one) for one in why]),
        }
    )


def _on_slices(centerline: Table, slices: Array) -> Array:
    """x, y, dx, dy of every slice; NaN where the centerline does not reach."""
    rows = {int(z): number for number, z in enumerate(centerline["slice"])}
    known = np.array([int(z) in rows for z in slices])
    if not known.any():
        raise ValueError("the centerline has none of the slices where there is cord")
    found = np.full((len(slices), 4), math.nan)
    chosen = [rows[int(z)] for z in slices[known]]
    found[known] = np.column_stack([centerline[name][chosen] for name in ("x", "y", "dx", "dy")])
    return found


def _patch(plane: Array, rim: tuple[int, ...]) -> tuple[Array, bool]:
    """The part of a slice that holds the cord and the soft values around it, and whether the image's rim may cut it off."""
    rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    firm = plane > 0.5
    firm_rows, firm_columns = (np.flatnonzero(firm.any(axis=axis)) for axis in (1, 0))
    border = any(
        one[0] < edge or one[-1] >= size - edge
        for one, edge, size in zip((firm_rows, firm_columns), rim, plane.shape, strict=True)
        if len(one)
    )
    return plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], border


def _measured(
    section: Section, hull: tuple[float, Array, Array], axis: float, half: float, strip: float
) -> dict[str, float]:
    """Diameters, ellipse, quadrants and symmetry of one section; NaN where it is not one section."""
    names = [name for name in MEASURES if name not in ("area", "angle_AP", "angle_RL")]
    if not section.shaped:
        return dict.fromkeys(names, math.nan)
    _, spread = section.moments()
    area, center, _ = hull
    minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(spread), 0))
    angle, _ = principal(spread)
    wide, deep = (4 * major, 4 * minor) if abs(angle) <= math.pi / 4 else (4 * minor, 4 * major)
    ahead, behind = section.depth(center, axis, min(strip, wide / 2))
    (front_left, front_right), (back_left, back_right) = section.quadrants(center, half)
    left, right = front_left + back_left, front_right + back_right
    mirrored = section.symmetry(center, half)
    values = {
        "diameter_AP": ahead + behind,
        "diameter_RL": wide,
        "diameter_AP_ellipse": deep,
        "eccentricity": math.sqrt(max(0.0, 1 - (minor / major) ** 2)),
        "solidity": section.region_area / area,
        "orientation": math.degrees(angle),
        "length_anterior": ahead,
        "length_posterior": behind,
        "area_anterior_left": front_left,
        "area_anterior_right": front_right,
        "area_posterior_left": back_left,
        "area_posterior_right": back_right,
        "symmetry_RL": mirrored[0],
        "symmetry_AP": mirrored[1],
        "asymmetry_LR": (left - right) / (left + right),
    }
    return {name: float(values[name]) for name in names}


def _level_of(levels: Volume | None, slices: Array) -> Array:
    """Rounded mean of the levels painted on each slice; NaN where there is none."""
    if levels is None:
        return np.full(len(slices), math.nan)
    data = np.nan_to_num(levels.oriented("LAS").data[:, :, slices].astype(np.float64))
    count = (data != 0).sum(axis=(0, 1))
    return np.where(count > 0, np.rint(data.sum(axis=(0, 1)) / np.maximum(count, 1)), math.nan)


def _distance(mask: Volume, pmj: Volume | None, slices: Array) -> Array:
    """Length of the cord's line from the pontomedullary junction down to each slice; mm, NaN above it or without it."""
    if pmj is None or not pmj.data.any():
        return np.full(len(slices), math.nan)
    mark = pmj.oriented("LAS").data != 0
    top = int(np.flatnonzero(mark.any(axis=(0, 1))).max())
    z, x, y = centers_of(Volume(np.where(mark, np.float32(1), mask.data), mask.grid))
    px, py, pz = mask.grid.voxel_size
    every = np.arange(z[0], top + 1)
    x, y, _, _ = fit(z, x, y, every, (px, py, pz), "linear", _PMJ_SMOOTHING)
    steps = np.sqrt((np.diff(x) * px) ** 2 + (np.diff(y) * py) ** 2 + pz**2)
    below = np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])
    return np.array([below[z - every[0]] if z <= top else math.nan for z in slices])


def _doubts(
    sections: list[Section],
    slices: Array,
    cut: list[bool],
    grid: Grid,
    slope: Array,
    beside: Array,
    limits: tuple[float, float],
) -> list[list[str]]:
    """For every slice the reasons not to trust its numbers."""
    largest_angle, smallest_area = limits
    area = np.array([one.area for one in sections])
    found: list[list[str]] = []
    for number, (z, section) in enumerate(zip(slices, sections, strict=True)):
        why = []
        if np.isnan(slope[number]).any():
            why.append("the centerline does not reach this slice")
        elif math.degrees(math.atan(math.hypot(*slope[number]))) > largest_angle:
            why.append(f"angle over {largest_angle:g} degrees")
        if beside[number] > OFF_CENTRE:
            why.append("beside the centerline")
        if z in (0, grid.shape[2] - 1):
            why.append("end of the field of view")
        elif number in (0, len(slices) - 1):
            why.append("end of the mask")
        elif slices[number + 1] - slices[number - 1] > 2:
            why.append("beside a gap in the mask")
        if cut[number]:
            why.append("at the border of the image")
        if section.parts > 1:
            why.append(f"{section.parts} separate parts")
        if section.holes:
            why.append("hole in the mask")
        around = area[np.abs(slices - z) * grid.voxel_size[2] <= _NEIGHBOURHOOD]
        if section.area < smallest_area:
            why.append(f"area under {smallest_area:g} mm2")
        elif section.area < _SHRUNKEN * np.median(around):
            why.append("area far below that of its neighbours")
        found.append(why)
    gaps = int((np.diff(slices) > 1).sum())
    if gaps:
        warnings.warn(f"the cord mask has {gaps} gap{'s' * (gaps > 1)} along the cord", stacklevel=3)
    return found
