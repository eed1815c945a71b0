"""Minimum over slabs, to see vessels run."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.volume import Grid, Volume


def minimum_intensity(swi: Volume, mask: Volume, *, thickness: float = 10.0, step: int = 1) -> Volume:
    """Minimum intensity projection over slabs.

    Slabs lie across the voxel axis nearest to foot to head, each made of so many slices that it is as thick as asked; only
    voxels of the mask count, so that the rim of the brain stays bright:

        projection_j = min over slices j step .. j step + slices - 1,   number of slabs = (N - slices) // step + 1

    The header tells where the slabs lie: slab j at the centre of its slices, slabs `step` slices apart.

    Parameters
    ----------
    swi
        Susceptibility-weighted image; arbitrary unit, (X, Y, Z).
    mask
        Voxels that count; (X, Y, Z), on the same grid.
    thickness
        Of a slab; mm, above 0. At least two slices are taken, and at most all.
    step
        Slices from one slab to the next, at least 1; 1 slides.

    Returns
    -------
    Projection; unit of the image, one slice per slab, zero where a slab holds no voxel of the mask.

    Raises
    ------
    ValueError: a knob out of range, or image and mask on different grids.

    References
    ----------
    Haacke 2004, doi:10.1002/mrm.20198
    """
    if not 0 < thickness < math.inf:
        raise ValueError(f"thickness must be above 0 mm, not {thickness}")
    if not step >= 1:
        raise ValueError(f"step must be at least 1 slice, not {step}")
    if not swi.grid.same_as(mask.grid):
        raise ValueError("image and mask do not lie on one grid")
    matrix, size = swi.grid.matrix, swi.grid.voxel_size
    axis = int(np.argmax(np.abs(matrix[2, :3]) / np.array(size)))
    count = swi.grid.shape[axis]
    slices = min(max(round(thickness / size[axis]), 2), count)
    data = np.moveaxis(np.where(np.asarray(mask.data) > 0, swi.data, np.inf).astype(np.float32), axis, 0)
    slabs = np.stack([data[first : first + slices].min(axis=0) for first in range(0, count - slices + 1, step)])
    slabs = np.moveaxis(np.where(np.isfinite(slabs), slabs, 0), 0, axis)
    moved = matrix.copy()
    moved[:3, 3] += matrix[:3, axis] * (slices - 1) / 2
    moved[:3, axis] *= step
    return Volume(np.ascontiguousarray(slabs), Grid.of(slabs.shape, moved))
