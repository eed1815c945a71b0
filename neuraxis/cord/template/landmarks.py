"""Landmarks: places in the image whose height in PAM50 is known."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.straight_frame import Sampler
from neuraxis.cord.vertebrae import CONUS, PAM50_DISCS, PAM50_PMJ, PAM50_SLICE_MM, PMJ
from neuraxis.cord.warps import leads
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_BELOW = 21
"""The disc at whose height the conus of the template ends."""

_LEVEL_MM = 0.5
"""Rows of a centerline that rise by less than this in the template are one landmark; mm."""


def landmarks_of_session(centerline: Table, session_warp: Volume, pam50_cord: Volume) -> Table:
    """Landmarks from the session's reference image, which is registered to PAM50: the height of every slice of the cord.

    The place of the cord in each slice is looked up in the reference image, and with its displacement in the template. Right as far
    as nobody moved between the two images.

    Parameters
    ----------
    centerline
        Centerline of the cord; columns slice, x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    session_warp
        Displacement on the reference image's grid, to the template; RAS+ mm, (X, Y, Z, 3).
    pam50_cord
        Cord of the template, on its grid, of which only the grid is used.

    Returns
    -------
    One row per slice whose place is known, none with a warning: value (its slice), x, y, z (RAS+ mm), height (mm above the lowest slice of PAM50).

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    points = np.stack([np.asarray(centerline[name], float) for name in ("x_mm", "y_mm", "z_mm")], axis=1)
    up, inside = Sampler(Volume(session_warp.data[..., 2], session_warp.grid), 1)(points)
    heights = points[:, 2] + up - pam50_cord.grid.matrix[2, 3]
    kept: list[int] = []
    for row in np.flatnonzero(inside & leads(up[:, None])):
        if not kept or heights[row] - heights[kept[-1]] >= _LEVEL_MM:
            kept.append(int(row))
    if not kept:
        warnings.warn("the session's reference image is not registered where this image shows the cord", stacklevel=2)
    x, y, z = points[kept].T
    return Table.of({"value": np.asarray(centerline["slice"])[kept].astype(int), "x": x, "y": y, "z": z, "height": heights[kept]})


def landmarks_of_discs(discs: Volume) -> Table:
    """Landmarks from the discs between the vertebrae, and from the tip of the conus where it is labelled.

    Parameters
    ----------
    discs
        Disc labels; whole numbers, (X, Y, Z), 3 is C2/C3, 60 the conus.

    Returns
    -------
    One row per disc that PAM50 has, none with a warning: value, x, y, z (RAS+ mm), height (mm above the lowest slice of PAM50).

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    heights = {value: slice_ * PAM50_SLICE_MM for value, slice_ in PAM50_DISCS.items()}
    return _table(discs, heights, "disc")


def landmarks_of_pmj(pmj: Volume) -> Table:
    """One landmark, the pontomedullary junction: for images that show it and no disc that could be numbered.

    Parameters
    ----------
    pmj
        Label of the junction; 50, (X, Y, Z).

    Returns
    -------
    One row, none with a warning: value, x, y, z (RAS+ mm), height (mm above the lowest slice of PAM50, by its T2w).

    References
    ----------
    Bedard 2022, doi:10.3389/fnimg.2022.1031253
    """
    return _table(pmj, {PMJ: PAM50_PMJ * PAM50_SLICE_MM}, "pontomedullary junction")


def landmarks_of_rootlets(rootlets: Volume, pam50_rootlets: Volume) -> Table:
    """Landmarks from the dorsal nerve rootlets: the middle of those of each spinal level.

    Parameters
    ----------
    rootlets
        Rootlets by spinal level; whole numbers, (X, Y, Z), 2..8 are C2..C8, 9 is T1.
    pam50_rootlets
        Those of the template, on its grid.

    Returns
    -------
    One row per spinal level that both have, none with a warning: value, x, y, z (RAS+ mm), height (mm above the lowest slice of PAM50).

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    Valosek 2024, doi:10.1162/imag_a_00218
    """
    known = [int(value) for value in np.unique(pam50_rootlets.data) if value > 0]
    heights = {value: float(np.argwhere(pam50_rootlets.data == value)[:, 2].mean()) * PAM50_SLICE_MM for value in known}
    return _table(rootlets, heights, "level of rootlets")


def landmarks_of_spinal_levels(spinal_levels: Volume, pam50_spinal_levels: Volume, pam50_spinal_points: Volume) -> Table:
    """Landmarks from spinal levels drawn by hand or by another program: the borders between painted levels, or single points in their middle.

    Levels that are estimated from the vertebrae tell nothing that the discs do not.

    Parameters
    ----------
    spinal_levels
        Painted levels, or points; whole numbers, (X, Y, Z), 1..8 are C1..C8, 9 is T1.
    pam50_spinal_levels
        Painted levels of the template, on its grid.
    pam50_spinal_points
        Points in the middle of the template's levels.

    Returns
    -------
    One row per border (with the number of the level above it) or point that both have, none with a warning: value, x, y, z (RAS+ mm), height
    (mm above the lowest slice of PAM50).

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    Frostell 2016, doi:10.3389/fneur.2016.00238
    """
    here, there = _borders(spinal_levels), _borders(pam50_spinal_levels)
    if not here:
        here, there = _middles(spinal_levels), _middles(pam50_spinal_points)
    both = sorted(set(here) & set(there))
    if not both:
        warnings.warn("no spinal level that the template has is labelled, nor a border between two", stacklevel=2)
    x, y, z = np.array([here[value] for value in both]).reshape(-1, 3).T
    heights = np.array([there[value][2] - pam50_spinal_levels.grid.matrix[2, 3] for value in both], float)
    return Table.of({"value": np.array(both, int), "x": x, "y": y, "z": z, "height": heights})


_TOUCH_MM = 3.0
"""Levels whose nearest slices are no farther apart touch; mm."""


def _borders(labels: Volume) -> dict[int, Array]:
    """Number of every painted level -> where it ends below, at the beginning of the next; RAS+ mm. Points touch nothing."""
    upright = labels.oriented()
    data, step = np.asarray(upright.data), upright.grid.voxel_size[2]
    found = {int(value): np.argwhere(data == value) for value in np.unique(data) if value > 0}
    borders = {}
    for value, voxels in found.items():
        below = found.get(value + 1)
        if below is None or np.ptp(voxels[:, 2]) == np.ptp(below[:, 2]) == 0:
            continue
        bottom, top = voxels[:, 2].min(), below[:, 2].max()
        if 0 < (bottom - top) * step <= max(_TOUCH_MM, step):
            ends = [part[part[:, 2] == at].mean(axis=0) for part, at in ((voxels, bottom), (below, top))]
            borders[value] = upright.grid.matrix[:3, :3] @ np.mean(ends, axis=0) + upright.grid.matrix[:3, 3]
    return borders


def _middles(labels: Volume) -> dict[int, Array]:
    """Number of every label -> its middle; RAS+ mm."""
    matrix = labels.grid.matrix
    values = [int(value) for value in np.unique(labels.data) if value > 0]
    return {value: matrix[:3, :3] @ np.argwhere(labels.data == value).mean(axis=0) + matrix[:3, 3] for value in values}


def landmarks_at_hand(centerline: Table, discs: Volume, pam50_cord: Volume, session_warp: Volume | None = None) -> Table:
    """The session's registered image where there is one that tells, else the discs.

    Parameters
    ----------
    centerline
        Centerline of the cord; columns slice, x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    discs
        Disc labels; whole numbers, (X, Y, Z), 3 is C2/C3, 60 the conus.
    pam50_cord
        Cord of the template, on its grid, of which only the grid is used.
    session_warp
        Displacement on the grid of the session's reference image, to the template; RAS+ mm, (X, Y, Z, 3).

    Returns
    -------
    As `landmarks_of_session` or `landmarks_of_discs`, which see.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    found = None if session_warp is None else landmarks_of_session(centerline, session_warp, pam50_cord)
    return found if found is not None and len(found) else landmarks_of_discs(discs)


_SPREAD_MM = 10.0
"""Voxels of one label that lie farther apart are two labels, of which nobody knows which is right; mm."""


def _table(labels: Volume, heights: dict[int, float], what: str) -> Table:
    values = [int(value) for value in np.unique(labels.data) if int(value) in heights]
    if CONUS in values and _BELOW in values:  # the template's conus ends at this disc: the tip itself tells more
        values.remove(_BELOW)
    if not values:
        warnings.warn(f"no {what} that the template has is labelled", stacklevel=3)
    matrix, single = labels.grid.matrix, what != "level of rootlets"
    places, kept = [], []
    for value in values:
        found = np.argwhere(labels.data == value) @ matrix[:3, :3].T + matrix[:3, 3]
        if single and np.ptp(found, axis=0).max() > _SPREAD_MM:
            warnings.warn(f"{what} {value} is labelled in two places: left out", stacklevel=3)
            continue
        kept.append(value)
        places.append(found.mean(axis=0))
    values = kept
    x, y, z = np.array(places).reshape(-1, 3).T
    return Table.of({"value": np.array(values, int), "x": x, "y": y, "z": z, "height": np.array([heights[value] for value in values], float)})


METHODS = (landmarks_at_hand, landmarks_of_session, landmarks_of_discs, landmarks_of_pmj, landmarks_of_rootlets, landmarks_of_spinal_levels)
