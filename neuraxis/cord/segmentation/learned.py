"""The cord out of the probabilities of the small learned model."""

from __future__ import annotations

import math

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.segmentation.parts import main_component
from neuraxis.cord.tissues.column import checked_path
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")


def learned(
    image: Volume,
    tissues: Volume,
    cord_path: Table,
    *,
    threshold: float = 0.5,
    soft_rim: float = 2.0,
    reach: float = 8.0,
) -> Volume:
    """Cord by the learned tissue probabilities: the part that follows the path.

    Voxels over the threshold within reach of the path are one mask; of its connected parts (gaps of up to two slices
    count as connected) the largest is the cord. Its probabilities are kept as partial volumes, with those of the rim
    around it; all else is zero.

    Parameters
    ----------
    image
        Image that was looked at; (X, Y, Z). Only its grid is used.
    tissues
        Probabilities of cord, canal and grey matter; 0..1, (X, Y, Z, 3).
    cord_path
        Rough path of the cord: slice, x, y (voxel indices of the upright image).
    threshold
        Smallest probability inside the mask; 0 < threshold < 1. Larger is a thinner cord.
    soft_rim
        Width of the rim whose probabilities are kept; mm, 0 to 10. At 0 the outline is binary on its outer side.
    reach
        How far from the path the mask of a slice must come at least; mm, over 0. Slices where it does not have no cord.

    Returns
    -------
    Cord; 0..1, (X, Y, Z), zero in slices without support.

    Raises
    ------
    ValueError: a knob is outside its range, the grids differ, the path is empty, or no voxel near it is over the threshold.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold}")
    if not 0 <= soft_rim <= 10:
        raise ValueError(f"soft_rim must be 0 to 10 mm, not {soft_rim}")
    if not 0 < reach < math.inf:
        raise ValueError(f"reach must be over 0 mm, not {reach}")
    if tissues.data.ndim != 4 or not tissues.grid.same_as(image.grid):
        raise ValueError("the tissue probabilities must have four axes and lie on the image's grid")
    upright = Volume(tissues.data[..., 0], tissues.grid).oriented()
    path = checked_path(cord_path, upright.grid)
    chance = np.where(np.isfinite(upright.data), upright.data, 0).astype(np.float32)
    size = upright.grid.voxel_size
    mask = chance > threshold
    mask &= _supported(mask, path, size, reach)
    mask = main_component(mask)
    if not mask.any():
        raise ValueError(f"the learned model finds no cord within {reach:g} mm of the path")
    # within the slice: a rim above the last slice would be a slice without support
    far = np.stack([_distance(mask[:, :, z], size) for z in range(mask.shape[2])], 2)
    rim = (far <= soft_rim) & (chance <= threshold)
    return Volume(np.where(mask | rim, chance, np.float32(0)), upright.grid).onto(image.grid)


def _distance(mask: Array, size: tuple[float, ...]) -> Array:
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return scipy.ndimage.distance_transform_edt(~mask, sampling=size[:2])


def _supported(mask: Array, path: Table, size: tuple[float, ...], reach: float) -> Array:
    """The parts of each slice's mask that come within reach of the path."""
    kept = np.zeros(mask.shape, bool)
    x, y = np.indices(mask.shape[:2])
    for z, u, v in zip(path["slice"].astype(int), path["x"], path["y"], strict=True):
        parts, number = scipy.ndimage.label(mask[:, :, z])
        near = np.hypot((x - u) * size[0], (y - v) * size[1]) <= reach
        chosen = np.unique(parts[near & (parts > 0)])
        kept[:, :, z] = np.isin(parts, chosen) & (number > 0)
    return kept
