"""How far every voxel lies from a path through the slices: what soft masks around it are made of."""

from __future__ import annotations

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array


def path_distance(path: Table, shape: tuple[int, ...], voxel_size: tuple[float, float, float]) -> Array:
    """Distance in the plane of each slice from the place where a path crosses it.

    Between its rows the path is straight; slices beyond its ends have the place of the last row.

    Parameters
    ----------
    path
        Columns slice, x, y, in voxels, in any order; (N,).
    shape
        Of the image, whose third axis runs along the path.
    voxel_size
        mm.

    Returns
    -------
    Distances; mm, (X, Y, Z).

    Raises
    ------
    ValueError: the path is empty.
    """
    if not len(path):
        raise ValueError("the centerline is empty: it is not known where the cord runs")
    order = np.argsort(path["slice"])
    slices, *places = (np.asarray(path[name], float)[order] for name in ("slice", "x", "y"))
    x, y = (np.interp(np.arange(shape[2]), slices, one) for one in places)
    across = (np.arange(shape[0])[:, None, None] - x) * voxel_size[0]
    deep = (np.arange(shape[1])[None, :, None] - y) * voxel_size[1]
    return np.hypot(across, deep)
