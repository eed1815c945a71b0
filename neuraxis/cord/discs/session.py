"""Discs taken over from another image of the same session."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.vertebrae import disc_name
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume


def session(image: Volume, cord: Volume, session_discs: Table) -> Volume:
    """Discs of the session's reference image, by their place in space.

    Thick slices across the body show no discs. Those found in, or drawn on, another image of the session are put where the
    scanner says that they lie. Whoever moved between the two images moved the labels: look at the levels in the report.

    Parameters
    ----------
    image
        Image that is to be labelled; (X, Y, Z).
    cord
        Its cord; 0 to 1, (X, Y, Z).
    session_discs
        Discs of the reference image: value, and x, y, z in mm (RAS+).

    Returns
    -------
    Labels; int16, (X, Y, Z), one voxel per disc whose height lies in the image; 3 is C2/C3.

    Raises
    ------
    ValueError: the two images do not overlap.
    """
    upright = image.oriented()
    shape = np.array(upright.grid.shape)
    voxels = voxels_of(session_discs, upright.grid)
    middle = np.argwhere(cord.oriented().data > 0.5).mean(axis=0) if (cord.data > 0.5).any() else shape / 2
    away = np.abs(voxels[:, :2] - middle[:2]) * np.array(upright.grid.voxel_size[:2])
    if len(away) and away.max(axis=1).min() > 60:
        raise ValueError("the discs of the session's reference image lie beside this image: the two do not overlap")
    labels = np.zeros(upright.grid.shape, np.int16)
    heights = voxels[:, 2]
    lost = []
    for value, place, height in sorted(
        zip(session_discs["value"].tolist(), voxels, heights, strict=True), key=lambda one: -one[2]
    ):
        if not -0.5 <= height < shape[2] - 0.5:
            continue
        # the slice of a disc belongs to the vertebra below it: the highest one whose middle is not above the disc
        x, y, z = np.clip([*np.rint(place[:2]), np.floor(height)], 0, shape - 1).astype(int)
        if (labels[:, :, z] > 0).any():  # two discs in one thick slice: the upper one stays
            lost.append(disc_name(int(value)))
            continue
        labels[x, y, z] = value
    if lost:
        warnings.warn(f"{', '.join(lost)} lie in the same thick slice as the disc above: left out", stacklevel=2)
    warnings.warn(
        "the levels come from another image of the session: they are right as far as nobody moved", stacklevel=2
    )
    return Volume(labels, upright.grid).onto(image.grid)


def voxels_of(points: Table, grid: Grid) -> Array:
    """Points (x, y, z in mm, RAS+) in voxels of a grid; (N, 3)."""
    places = np.column_stack([points[axis] for axis in "xyz"] + [np.ones(len(points))])
    return (np.linalg.inv(grid.matrix) @ places.T)[:3].T
