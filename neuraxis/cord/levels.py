"""Vertebral levels: from discs to the level of every slice of the cord, or to a plain "not trusted"."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.curve import curve_of
from neuraxis.cord.discs.numbering import SPACING
from neuraxis.cord.level_labels import BEYOND_MM
from neuraxis.cord.points import points_of
from neuraxis.cord.vertebrae import CONUS, disc_name, vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Volume

_LAST_DISC = 30
"""The highest number that names a disc; PMG, PMJ and conus lie above it."""

_ONE_LABEL_MM = 10.0
"""Voxels of one value within this are one label drawn with a brush; farther apart they are two."""

_OPEN = "is not labelled: ends at its usual height"
"""What is said of the levels above the highest label and below the lowest."""

_USUAL_MM = 35.0
"""Spacing assumed below L4/L5."""


@dataclass(frozen=True)
class _Disc:
    number: int
    height: float
    """Upright slice where the disc meets the centerline; may lie beyond the cord."""


def levels(
    cord: Volume, centerline: Table, discs: Volume, *, farthest: float = 40.0, least: float = 0.6, most: float = 1.6
) -> tuple[Volume, Table]:
    """Vertebral level of every slice.

    Each disc is put on the nearest point of the centerline, which goes on straight beyond both ends of the cord, so that no
    label is lost. The slices from disc n down to disc n+1 belong to vertebra n. Where a disc is missing between two others
    it is put where it lies in PAM50 between them, and the levels that it bounds are not trusted. Above the highest disc and
    below the lowest one the level goes on for its usual height and not farther: a vertebra is not endless. Below the conus
    there is no level. Discs out of order, or two of one number, give no levels at all, with a warning.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.
    centerline
        Line of the cord; table with the columns slice, x, y in voxels of the upright frame.
    discs
        Labels; whole numbers, (X, Y, Z): 3 is C2/C3, 8 C7/T1, 20 T12/L1, 60 the tip of the conus.
    farthest
        Largest distance of a label from the cord; mm, over 0. Farther ones are not used.
    least
        Smallest height of a vertebra against PAM50's, scaled to this person; 0 to 1. Lower ones are not trusted.
    most
        Largest height of a vertebra against PAM50's, scaled to this person; at least 1. Higher ones are not trusted.

    Returns
    -------
    levels: level per voxel of the cord (above 0.5), (X, Y, Z), whole numbers: C1..C7 are 1..7, T1.. 8..; zero where unknown.
    level_table: one row per level from the top down: level, name, slice_low, slice_high (upright), body_slice (middle between
    the discs), disc_above, disc_below (slice, a fraction; NaN without a label), trusted (0 or 1) and why.

    Raises
    ------
    ValueError: cord and discs lie on two grids, or a knob is outside its range.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    if not 0 < farthest < np.inf:
        raise ValueError(f"farthest must be over 0 mm, not {farthest}")
    if not 0 <= least <= 1:
        raise ValueError(f"least must lie between 0 and 1, not {least}")
    if not 1 <= most < np.inf:
        raise ValueError(f"most must be at least 1, not {most}")
    if not cord.grid.same_as(discs.grid):
        raise ValueError("cord and discs lie on two grids")
    upright = cord.oriented()
    painted = np.zeros(upright.data.shape[:3], np.int16)
    mask = upright.data > 0.5
    filled = np.flatnonzero(mask.any(axis=(0, 1)))
    rows: list[dict[str, object]] = []
    if len(filled) and discs.data.any():
        try:
            found, conus = _projected(upright, centerline, discs, farthest)
            rows = _rows(found, conus, (int(filled[0]), int(filled[-1])), upright.grid.voxel_size[2], least, most)
        except _Nonsense as reason:
            warnings.warn(f"levels are not trusted: {reason}; correct the disc labels", stacklevel=2)
        for row in rows:
            low, high = int(str(row["slice_low"])), int(str(row["slice_high"])) + 1
            painted[:, :, low:high] = mask[:, :, low:high] * np.int16(str(row["level"]))
    table = _table(rows)
    # the open end of the labels is usual: the table says so, and nobody need be called
    doubtful = [f"{vertebra_name(level)} ({why})" for level, why in doubts(table, open_ends=False).items()]
    if doubtful:
        warnings.warn(f"levels that are not trusted: {', '.join(doubtful)}", stacklevel=2)
    return Volume(painted, upright.grid).onto(cord.grid), table


def doubts(level_table: Table, *, open_ends: bool) -> dict[int, str]:
    """Level -> why it is not trusted.

    `open_ends`: also the levels above the highest label and below the lowest, whose one end lies at its usual height. Where
    they begin is known, so a slice is laid on the template rightly; how much of the level was measured is not.
    """
    return {
        int(row["level"]): str(row["why"])
        for row in level_table.rows()
        if not row["trusted"] and (open_ends or not str(row["why"]).endswith(_OPEN))
    }


class _Nonsense(Exception):
    """Why the labels cannot be discs."""


_COLUMNS = {
    "level": np.int64, "name": str, "slice_low": np.int64, "slice_high": np.int64, "body_slice": np.float64,
    "disc_above": np.float64, "disc_below": np.float64, "trusted": np.int64, "why": str,
}  # fmt: skip


def _table(rows: list[dict[str, object]]) -> Table:
    return Table.of({name: np.array([row[name] for row in rows], dtype=kind) for name, kind in _COLUMNS.items()})


def _projected(upright: Volume, centerline: Table, discs: Volume, farthest: float) -> tuple[list[_Disc], float | None]:
    """The discs from the top down, and the height of the conus; _Nonsense if they cannot be discs."""
    table = points_of(discs)
    curve = curve_of(upright, centerline, extend=BEYOND_MM)
    found, conus = [], None
    for value in sorted(set(table["value"].tolist())):
        if not 1 <= value <= _LAST_DISC and value != CONUS:
            continue  # PMJ and others are no discs
        own = table.where(table["value"] == value)
        voxels = np.stack([own[f"upright_{axis}"] for axis in "xyz"], axis=1) * curve.voxel_size
        if np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).max() > _ONE_LABEL_MM:
            raise _Nonsense(f"{disc_name(value)} is labelled at two places")
        away = np.linalg.norm(curve.centre - voxels.mean(axis=0), axis=1)
        row = int(away.argmin())
        if away[row] > farthest:
            warnings.warn(f"the label {disc_name(value)} is {away[row]:.0f} mm from the cord: not used", stacklevel=4)
            continue
        height = float(curve.centre[row, 2] / curve.voxel_size[2])
        if value == CONUS:
            conus = height
        else:
            found.append(_Disc(value, height))
    for upper, lower in zip(found, found[1:], strict=False):
        if lower.height >= upper.height:
            raise _Nonsense(f"{disc_name(lower.number)} is labelled above {disc_name(upper.number)}")
    if conus is not None and found and conus >= found[0].height:
        raise _Nonsense(f"the conus is labelled above {disc_name(found[0].number)}")
    return found, conus


def _between(first: int, last: int) -> float:
    """Distance from one disc to another in PAM50; mm."""
    return sum(SPACING.get(number, _USUAL_MM) for number in range(first, last))


def _rows(
    found: list[_Disc], conus: float | None, ends: tuple[int, int], thickness: float, least: float, most: float
) -> list[dict[str, object]]:
    """One row per level that the cord passes, from the top down."""
    if not found:
        return []
    pairs = list(zip(found, found[1:], strict=False))
    ratios = {
        upper.number: (upper.height - lower.height) * thickness / _between(upper.number, lower.number)
        for upper, lower in pairs
    }
    scale = float(np.median(list(ratios.values()))) if ratios else 1.0
    borders = {disc.number: disc.height for disc in found}
    why = {}
    for upper, lower in pairs:
        whole = _between(upper.number, lower.number)
        for number in range(upper.number + 1, lower.number):
            share = _between(upper.number, number) / whole
            borders[number] = upper.height + share * (lower.height - upper.height)
        odd = ratios[upper.number] / scale
        for level in range(upper.number, lower.number):
            if lower.number > upper.number + 1:
                why[level] = f"no label between {disc_name(upper.number)} and {disc_name(lower.number)}"
            if not least <= odd <= most:
                why[level] = f"{odd:.2f} times the height expected"
    top, bottom = found[0], found[-1]
    if top.number > 1:
        borders[top.number - 1] = top.height + _between(top.number - 1, top.number) * scale / thickness
        why[top.number - 1] = f"{disc_name(top.number - 1)} {_OPEN}"
    borders[bottom.number + 1] = bottom.height - _between(bottom.number, bottom.number + 1) * scale / thickness
    why[bottom.number] = f"{disc_name(bottom.number + 1)} {_OPEN}"
    if not least <= scale <= most:
        why = {level: f"the spine would be {scale:.2f} times that of PAM50" for level in range(1, _LAST_DISC)}
    labelled = {disc.number for disc in found}
    lowest = ends[0] if conus is None else max(ends[0], int(np.ceil(conus - 0.5)))
    rows: list[dict[str, object]] = []
    for level in range(min(borders), max(borders)):
        # the slice of a disc belongs to the vertebra below it
        high, low = int(np.floor(borders[level] + 0.5)), int(np.floor(borders[level + 1] + 0.5)) + 1
        cut = high > ends[1] or low < lowest
        remark = why.get(level, "")
        if cut and remark.endswith(_OPEN):  # the field of view ends before the vertebra does
            beyond = high > ends[1] if level < top.number else low < lowest
            remark = "" if beyond else remark
        inside_low, inside_high = max(low, lowest), min(high, ends[1])
        if inside_low > inside_high:
            continue
        rows.append(
            {
                "level": level,
                "name": vertebra_name(level),
                "slice_low": inside_low,
                "slice_high": inside_high,
                "body_slice": (borders[level] + borders[level + 1]) / 2,
                "disc_above": borders[level] if level in labelled else np.nan,
                "disc_below": borders[level + 1] if level + 1 in labelled else np.nan,
                "trusted": 0 if remark else 1,
                "why": remark or ("partly in view" if cut else ""),
            }
        )
    return rows
