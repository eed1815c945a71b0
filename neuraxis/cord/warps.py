"""Straightening as a pair of displacement fields that other programs can apply."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.straightening import straightening_fields
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

NOWHERE_MM = 1e4
"""Displacement where there is nothing to be found: 10 m away, outside every image, so that it is filled with background."""


def leads(field: Array) -> Array:
    """Where a displacement (..., 3) leads to a place at all."""
    return np.asarray(np.abs(field[..., 0]) < NOWHERE_MM / 2)


def straightening_warps(image: Volume, centerline: Table, *, width: float = 35.0) -> tuple[Volume, Volume]:
    """Displacement fields that straighten an image, and that bend it back.

    Each gives, where a value is wanted, the way to where it is found, so that out(p) = in(p + field(p)). Where nothing is to
    be found (sections that cross, voxels away from the cord) the field leads out of every image.

    Parameters
    ----------
    image
        Cord image, of which only the grid is used; (X, Y, Z).
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    width
        Width and depth of the straight frame around the cord; mm, above 0.

    Returns
    -------
    Field on the straight grid, to the body; RAS+ mm, (X, Y, Z, 3): it straightens the image.
    Field on the image's grid, to the straight frame; RAS+ mm, (X, Y, Z, 3): it bends the straight image back.

    Raises
    ------
    ValueError: width is not above 0, or the centerline has fewer than two slices or does not run upwards.

    References
    ----------
    De Leener 2017, doi:10.1002/jmri.25622
    """
    straight, bent = straightening_fields(image, centerline, width=width)
    return Volume(_led_away(straight.data), straight.grid), Volume(_led_away(bent.data), bent.grid)


def to_fsl(warp: Volume, moving: Volume) -> Volume:
    """A warp as FSL's applywarp reads it (`--rel`).

    FSL measures places in mm along the voxel axes from the first voxel, the first axis turned round where the affine matrix has a
    positive determinant. With f that place in an image, p the centre of a voxel of the warp's grid and d its displacement:

        fsl(p) = f_moving(p + d) - f_warp(p)

    Parameters
    ----------
    warp
        Displacement, from a place of its grid to where the value is found; RAS+ mm, (X, Y, Z, 3); in the file as ITK and ANTs write it.
    moving
        The image that the warp is to be applied to; (X, Y, Z). Only its grid is used.

    Returns
    -------
    Relative displacement; mm along FSL's axes, (X, Y, Z, 3), on the grid of the warp.

    References
    ----------
    Jenkinson 2012, doi:10.1016/j.neuroimage.2011.09.015
    """
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in warp.grid.shape], indexing="ij"), axis=-1)
    places = index @ warp.grid.matrix[:3, :3].T + warp.grid.matrix[:3, 3]
    back = np.linalg.inv(moving.grid.matrix)
    found = (places + warp.data) @ back[:3, :3].T + back[:3, 3]
    return Volume((_along_fsl(found, moving.grid) - _along_fsl(index, warp.grid)).astype(np.float32), warp.grid)


def _along_fsl(voxels: Array, grid: Grid) -> Array:
    """Places in voxels as FSL's coordinates; mm."""
    turned = voxels.copy()
    if np.linalg.det(grid.matrix[:3, :3]) > 0:
        turned[..., 0] = grid.shape[0] - 1 - turned[..., 0]
    return turned * np.array(grid.voxel_size)


def _led_away(field: Array) -> Array:
    return np.where(np.isfinite(field), field, np.float32(NOWHERE_MM)).astype(np.float32)
