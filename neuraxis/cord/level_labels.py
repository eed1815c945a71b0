"""What is derived from levels: labels of the vertebral bodies, levels with a fraction, labels on the centerline."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.curve import curve_of
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

BEYOND_MM = 80.0
"""How far the centerline is extended, straight, for labels above and below the cord."""


def heights(level_table: Table) -> tuple[Array, Array]:
    """Slices of the borders between levels, and the level number that begins there, downwards; for interpolation."""
    if not len(level_table):
        return np.zeros(0), np.zeros(0)
    half = level_table["body_slice"]
    above, below = level_table["disc_above"], level_table["disc_below"]
    upper = np.where(np.isfinite(above), above, np.where(np.isfinite(below), 2 * half - below, np.nan))
    lower = np.where(np.isfinite(below), below, np.where(np.isfinite(above), 2 * half - above, np.nan))
    number = level_table["level"].astype(float)
    known = {float(n): float(h) for n, h in zip(number, upper, strict=True) if np.isfinite(h)}
    known |= {float(n) + 1: float(h) for n, h in zip(number, lower, strict=True) if np.isfinite(h)}
    known |= {float(n) + 0.5: float(h) for n, h in zip(number, half, strict=True)}
    at = np.array(sorted(known))
    return np.array([known[n] for n in at]), at


def level_points(levels: Volume, centerline: Table) -> Volume:
    """Labels of the vertebral bodies, at the centre of the cord.

    Parameters
    ----------
    levels
        Level per voxel of the cord; whole numbers, (X, Y, Z).
    centerline
        Line of the cord; table with the columns slice, x, y in voxels of the upright frame.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), one voxel per level in the middle of its slices.
    """
    upright = levels.oriented()
    data = np.zeros(upright.data.shape[:3], np.int16)
    for level in np.unique(upright.data[upright.data > 0]):
        slices = np.flatnonzero((upright.data == level).any(axis=(0, 1)))
        z = int((slices[0] + slices[-1]) // 2)
        centre = np.array([np.interp(z, centerline["slice"], centerline[axis]) for axis in "xy"])
        i, j = np.clip(np.rint(centre).astype(int), 0, np.array(data.shape[:2]) - 1)
        data[i, j, z] = level
    return Volume(data, upright.grid).onto(levels.grid)


def continuous_levels(cord: Volume, level_table: Table) -> Volume:
    """Level with its fraction along the cord.

    The disc above vertebra n has the value n, its middle n + 0.5; linear between.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.
    level_table
        Levels and the places of their discs, as `levels` gives them.

    Returns
    -------
    Level; 1 to 25 with a fraction, (X, Y, Z), zero outside the cord and where the level is unknown.
    """
    upright = cord.oriented()
    data = np.zeros(upright.data.shape[:3], np.float32)
    slices, number = heights(level_table)
    mask = upright.data > 0.5
    for row in level_table.rows():
        z = np.arange(row["slice_low"], row["slice_high"] + 1)
        values = np.interp(-z.astype(float), -slices, number)
        data[:, :, z] = mask[:, :, z] * values.astype(np.float32)
    return Volume(data, upright.grid).onto(cord.grid)


def project_on_centerline(points: Volume, centerline: Table) -> Volume:
    """Labels moved to the nearest point of the centerline.

    Parameters
    ----------
    points
        Labels; whole numbers, (X, Y, Z).
    centerline
        Line of the cord; table with the columns slice, x, y in voxels of the upright frame.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z). One whose nearest point lies outside the image stays at the image's edge.
    """
    upright = points.oriented()
    data = np.zeros(upright.data.shape[:3], np.int16)
    if upright.data.any():
        curve = curve_of(upright, centerline, extend=BEYOND_MM)
        for voxel in np.argwhere(upright.data != 0):
            row = int(np.linalg.norm(curve.centre - voxel * curve.voxel_size, axis=1).argmin())
            place = np.clip(np.rint(curve.centre[row] / curve.voxel_size).astype(int), 0, np.array(data.shape) - 1)
            data[tuple(place)] = upright.data[tuple(voxel)]
    return Volume(data, upright.grid).onto(points.grid)
