"""Which volumes of a series are diffusion-weighted, and where in them motion is looked for."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.path.tubular import tubular
from neuraxis.numerics.path_distance import path_distance
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_AXIAL = 1.1
"""Slices are not axial where one edge of a voxel, and that across the cord, is longer than both others by more than this factor."""


def check_axial(size: tuple[float, float, float]) -> None:
    """ValueError when slices of voxels of this `size` (right to left, back to front, foot to head; mm) are not axial."""
    if max(size[:2]) > _AXIAL * max(size[2], min(size[:2])):  # two long edges are pixels of thin axial slices
        raise ValueError(
            f"the slices are not axial (voxels of {size[0]:.3g} x {size[1]:.3g} x {size[2]:.3g} mm from right to left, back to front and "
            f"foot to head): slice-wise motion correction moves axial slices in their plane; a sagittal series cannot be corrected here"
        )


def volumes(b_values: Array, *, bvalmin: float = 100.0) -> Table:
    """The volumes of a diffusion series: which are diffusion-weighted, and which count as b = 0.

    Scanners write small b-values (5 to 50 s/mm2) for volumes without diffusion weighting.

    Parameters
    ----------
    b_values
        b-value of every volume; s/mm2, (T,).
    bvalmin
        A volume counts as b = 0 below this; s/mm2, > 0.

    Returns
    -------
    One row per volume: volume (from 0), b_value (s/mm2), weighted (1 where it is diffusion-weighted).

    Raises
    ------
    ValueError: bvalmin is not positive.
    """
    if bvalmin <= 0:
        raise ValueError(f"bvalmin must be greater than 0, not {bvalmin:g}")
    weighted = np.asarray(b_values, float) >= bvalmin
    return Table.of({"volume": np.arange(len(weighted)), "b_value": np.asarray(b_values, float), "weighted": weighted})


def classes(volumes: Table | None, number: int) -> dict[str, Array]:
    """Name -> numbers of the volumes that look alike: diffusion and b0 as far as there are any, or all; others are laid on the first."""
    if volumes is None:
        return {"all": np.arange(number)}
    weighted = volumes["weighted"] == 1
    found = {"diffusion": np.flatnonzero(weighted), "b0": np.flatnonzero(~weighted)}
    return {kind: chosen for kind, chosen in found.items() if len(chosen)}


def around_path(series: Volume, volumes: Table | None = None, *, radius: float = 12.0) -> Volume:
    """Soft weights around the rough path of the cord in the mean of the series.

    The mean of the diffusion-weighted volumes, or of all, is searched for the cord (closed contours and symmetry); around
    the path the weight falls with the distance r as exp(-(r / radius)^4): nearly 1 on the cord and its fluid, nothing on
    throat and skin, which move in another way.

    Parameters
    ----------
    series
        Volumes over time; any unit, (X, Y, Z, T).
    volumes
        Which volumes are diffusion-weighted; column weighted.
    radius
        Distance from the path at which the weight is 1/e; mm, > 0.

    Returns
    -------
    Weights; (X, Y, Z), 0 to 1.

    Raises
    ------
    ValueError: the slices are not axial, no cord is seen, or the radius is not positive.
    """
    if radius <= 0:
        raise ValueError(f"radius must be greater than 0, not {radius:g}")
    check_axial(series.oriented("RAS").grid.voxel_size)
    chosen = next(iter(classes(volumes, series.data.shape[3]).values()))
    mean = Volume(series.data[..., chosen].mean(-1, dtype=np.float32), series.grid)
    upright = mean.oriented()
    apart = path_distance(tubular(mean), upright.data.shape, upright.grid.voxel_size)
    weight = np.exp(-((apart / radius) ** 4))
    weight[weight < 0.01] = 0
    return Volume(weight.astype(np.float32), upright.grid).onto(series.grid)
