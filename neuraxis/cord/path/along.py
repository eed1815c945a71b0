"""The path along a cord that is known already."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.centerline.fit import centers
from neuraxis.table import Table
from neuraxis.volume import Volume


def along(cord: Volume) -> Table:
    """Path along a cord that was given.

    The centre of mass of the mask in every slice; slices without cord between others are bridged by a straight line.

    Parameters
    ----------
    cord
        Mask of the cord; 0 to 1, (X, Y, Z), binary or soft.

    Returns
    -------
    Path: slice, x, y (voxels of the upright frame) and score (1 in every slice).

    Raises
    ------
    ValueError: the mask is empty, or no mask of a cord.
    """
    z, x, y = centers(cord)
    every = np.arange(z[0], z[-1] + 1)
    return Table.of(
        {"slice": every, "x": np.interp(every, z, x), "y": np.interp(every, z, y), "score": np.ones(len(every))}
    )
