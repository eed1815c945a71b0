"""The cord from the probabilities of a learned model."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.segmentation.parts import largest
from neuraxis.table import Table
from neuraxis.volume import Volume


def learned(tissues: Volume, cord_path: Table, *, reach: float = 2.0, farthest: float = 10.0) -> Volume:
    """Cord by the learned model of this package.

    Of the voxels that are more likely cord than not, the part that hangs together and follows the path; around it, the soft
    values: they are close to the share of the voxel that is cord.

    Parameters
    ----------
    tissues
        Probabilities of cord, canal and grey matter; 0 to 1, (X, Y, Z, 3).
    cord_path
        Rough path of the cord: slice, x, y in voxels of the upright frame.
    reach
        How far from the mask soft values count; mm, at least 0.
    farthest
        Largest distance between the centre of the cord and the path in a slice; mm, above 0. Slices beyond are left out.

    Returns
    -------
    Cord; 0 to 1, (X, Y, Z).

    Raises
    ------
    ValueError: a knob is outside its range, or the model sees no cord along the path.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    if reach < 0 or farthest <= 0:
        raise ValueError(f"reach must be at least 0 mm and farthest above 0 mm, not {reach} and {farthest}")
    from scipy.ndimage import distance_transform_edt

    upright = Volume(tissues.data[..., 0], tissues.grid).oriented()
    data, size = upright.data, upright.grid.voxel_size
    firm = largest(data > 0.5)
    x, y = (np.arange(n) for n in data.shape[:2])
    dropped = 0
    path = {int(z): (a, b) for z, a, b in zip(cord_path["slice"], cord_path["x"], cord_path["y"], strict=True)}
    for z in np.flatnonzero(firm.any(axis=(0, 1))):
        area = firm[:, :, z].sum()
        centre = (x @ firm[:, :, z].sum(axis=1)) / area, (y @ firm[:, :, z].sum(axis=0)) / area
        there = path.get(int(z))
        if there is None or np.hypot(*((c - p) * h for c, p, h in zip(centre, there, size, strict=False))) > farthest:
            firm[:, :, z] = False
            dropped += 1
    if not firm.any():
        raise ValueError("the model sees no cord along the path")
    if dropped:
        warnings.warn(f"{dropped} slices in which the model sees something far from the path are left out", stacklevel=2)
    kept = np.zeros_like(data)
    for z in np.flatnonzero(firm.any(axis=(0, 1))):
        near = distance_transform_edt(~firm[:, :, z], size[:2]) <= reach
        kept[:, :, z] = np.where(near, data[:, :, z], 0)
    kept[kept < 0.02] = 0
    return Volume(kept, upright.grid).onto(tissues.grid)
