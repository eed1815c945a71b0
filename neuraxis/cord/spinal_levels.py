"""Spinal levels (segments of the cord, named after their roots) from rootlets, or estimated from vertebral levels."""

from __future__ import annotations

import warnings

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.level_labels import heights
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

BORDERS = (
    1.011, 1.337, 1.793, 2.758, 3.689, 4.581, 5.470, 6.435, 7.426, 8.337, 9.185, 10.076, 11.092, 12.088, 13.127, 14.142,
    15.102, 16.009, 16.840, 17.560, 18.183, 18.722, 19.135, 19.500, 19.833, 20.082, 20.291, 20.515, 20.709, 20.888, 20.993,
)  # fmt: skip
"""Upper border of spinal level 1 (C1), 2, ... 30 (S5) and the lower border of the last, in vertebral levels.

A vertebral level of n + f lies f of the way from disc n down to disc n + 1. Read off PAM50_spinal_levels, which was made
from the segment lengths of Frostell 2016, against the discs of PAM50_label_disc.
"""

_ENTRY_MM = 3.0
"""Rootlets within this distance of the cord are taken for its level; farther out they run down to their foramen."""


def spinal_levels(
    cord: Volume, level_table: Table | None = None, rootlets: Volume | None = None, *, gap: float = 15.0
) -> Volume:
    """Spinal levels: from rootlets when they are given, else a probabilistic estimate from vertebral levels.

    Rootlets: level k is where the rootlets k enter the cord; slices between two neighbours that follow each other in number
    go to the nearer. Vertebral levels: the mean adult's borders between segments, as shares of vertebral levels
    (BORDERS), are laid onto this person's. People differ by half a level or more, and by the bending of the neck, so this
    is where a level most probably lies, no measurement of it.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.
    level_table
        Vertebral levels and the places of their discs, as `levels` gives them.
    rootlets
        Dorsal rootlets; whole numbers, (X, Y, Z): 2 is C2, 8 is C8, 9 is T1.
    gap
        Longest stretch between two neighbouring rootlets that is divided between them; mm, at least 0.

    Returns
    -------
    spinal_levels: level per voxel of the cord (above 0.5), (X, Y, Z), whole numbers: C1..C8 are 1..8, T1.. 9..; zero where
    unknown.

    Raises
    ------
    ValueError: cord and rootlets lie on two grids, or the knob is outside its range.

    References
    ----------
    Frostell 2016, doi:10.3389/fneur.2016.00238
    Valosek 2024, doi:10.1162/imag_a_00218
    """
    if not 0 <= gap < np.inf:
        raise ValueError(f"gap must be at least 0 mm, not {gap}")
    upright = cord.oriented()
    mask = upright.data > 0.5
    if rootlets is not None and rootlets.data.any():
        if not rootlets.grid.same_as(cord.grid):
            raise ValueError("cord and rootlets lie on two grids")
        along = _from_rootlets(mask, rootlets.oriented(), gap)
    elif level_table is not None and len(level_table):
        along = _from_vertebrae(mask.shape[2], level_table)
    else:
        along = np.zeros(mask.shape[2], np.int16)
    return Volume((mask * along).astype(np.int16), upright.grid).onto(cord.grid)


def _from_vertebrae(slices: int, level_table: Table) -> Array:
    """Spinal level of every slice, from the vertebral level in its middle."""
    at, number = heights(level_table)
    along = np.zeros(slices, np.int16)
    for row in level_table.rows():
        z = np.arange(row["slice_low"], row["slice_high"] + 1)
        vertebral = np.interp(-z.astype(float), -at, number)
        found = np.searchsorted(BORDERS, vertebral, side="right")
        along[z] = np.where(found < len(BORDERS), found, 0)
    return along


def _from_rootlets(mask: Array, rootlets: Volume, gap: float) -> Array:
    """Spinal level of every slice, from the slices in which each level's rootlets meet the cord."""
    size = rootlets.grid.voxel_size
    distance = scipy.ndimage.distance_transform_edt(~mask, sampling=size) if mask.any() else np.zeros(mask.shape)
    ranges: dict[int, tuple[int, int]] = {}
    for value in np.unique(rootlets.data[rootlets.data > 0]).astype(int):
        own = rootlets.data == value
        near = own & (distance <= _ENTRY_MM)
        if not near.any():
            warnings.warn(f"the rootlets of value {value} do not reach the cord: not used", stacklevel=4)
            continue
        slices = np.flatnonzero(near.any(axis=(0, 1)))
        ranges[value] = (int(slices[0]), int(slices[-1]))
    order = sorted(ranges)
    middle = {value: sum(ranges[value]) / 2 for value in order}
    for upper, lower in zip(order, order[1:], strict=False):
        if middle[lower] >= middle[upper]:
            warnings.warn("spinal levels are not trusted: the rootlets are out of order", stacklevel=4)
            return np.zeros(mask.shape[2], np.int16)
    along = np.zeros(mask.shape[2], np.int16)
    ends = {value: [float(low), float(high)] for value, (low, high) in ranges.items()}
    for upper, lower in zip(order, order[1:], strict=False):
        apart = (ranges[upper][0] - ranges[lower][1]) * size[2]
        if apart <= 0 or (upper + 1 == lower and apart <= gap):  # overlapping, or neighbours: they meet half-way
            border = (ranges[upper][0] + ranges[lower][1]) / 2
            ends[upper][0], ends[lower][1] = float(np.floor(border) + 1), float(np.floor(border))
    for value, (low, high) in ends.items():
        along[int(low) : int(high) + 1] = value
    return along
