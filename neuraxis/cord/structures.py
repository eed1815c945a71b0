"""Areas of grey matter, white matter and spinal canal across the cord, and how full of cord the canal is."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def structures(
    shape: Table,
    centerline: Table,
    gray_matter: Volume | None = None,
    white_matter: Volume | None = None,
    canal: Volume | None = None,
    *,
    angle_correction: bool = True,
) -> Table:
    """Area of each structure per slice, and the adapted spinal canal occupation ratio (aSCOR).

    A slice shows a section that is stretched by 1 / cos t where the cord crosses it at the angle t to its normal. All
    structures are corrected by the angle of the cord (its mask is larger, and its centerline steadier):

        area = cos t * sum of soft values * area of a voxel,    cos t = 1 / sqrt(1 + (dx/dz)^2 + (dy/dz)^2)
        ascor = area of the cord / area of the canal

    aSCOR (spinal cord parenchymal fraction in studies of multiple sclerosis) is a fraction, about 0.35 to 0.5 in healthy
    people and 1 where the cord fills the canal.

    Parameters
    ----------
    shape
        Shape of the cord per slice: area (mm2) and level.
    centerline
        Slices and slopes of the cord's centerline; voxels per slice of the upright frame.
    gray_matter
        Grey matter, binary or soft; 0..1, (X, Y, Z), any orientation.
    white_matter
        White matter, binary or soft; 0..1, (X, Y, Z), any orientation.
    canal
        Canal with the cord in it, binary or soft; 0..1, (X, Y, Z), any orientation.
    angle_correction
        Whether the tilt of the cord against the slice is taken out; the same as for the shape.

    Returns
    -------
    One row per structure and slice of the cord that holds it: structure, slice, level, area (mm2), ascor (canal only, NaN
    elsewhere). Empty where no structure is given.

    Raises
    ------
    ValueError: the structures lie on several grids, or one is not finite or has negative values.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    Mongay-Ochoa 2025, doi:10.1212/WNL.0000000000210136
    """
    given = {"gray_matter": gray_matter, "white_matter": white_matter, "canal": canal}
    volumes = {name: one for name, one in given.items() if one is not None}
    cord = dict(zip(shape["slice"].tolist(), shape["area"].tolist(), strict=True))
    level = dict(zip(shape["slice"].tolist(), shape["level"].tolist(), strict=True))
    rows: list[tuple[str, int, float, float, float]] = []
    for name, volume in volumes.items():
        if not volume.grid.same_as(next(iter(volumes.values())).grid):
            raise ValueError(f"{name} and {next(iter(volumes))} lie on different grids")
        for z, area in zip(centerline["slice"], _areas(name, volume, centerline, angle_correction), strict=True):
            if area > 0:
                ratio = cord.get(int(z), math.nan) / area if name == "canal" else math.nan
                rows.append((name, int(z), float(level.get(int(z), math.nan)), float(area), ratio))
    names = ("structure", "slice", "level", "area", "ascor")
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})


def structure_levels(structures: Table) -> Table:
    """Mean area of each structure per vertebral level.

    Area and its standard deviation are taken over the slices of a level; ascor is the ratio of the mean areas of cord and
    canal, over the slices where both are known.

    Parameters
    ----------
    structures
        Area of each structure per slice; mm2.

    Returns
    -------
    One row per structure and level, levels from the head down: structure, level, area (mm2), area_sd (mm2, over slices),
    slices (their number), ascor.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(structures["structure"].tolist()):
        of = structures["structure"] == name
        for level in np.unique(structures["level"][of & np.isfinite(structures["level"])]):
            chosen = of & (structures["level"] == level)
            area, ascor = structures["area"][chosen], structures["ascor"][chosen]
            known = np.isfinite(ascor)
            ratio = float((ascor * area)[known].sum() / area[known].sum()) if known.any() else math.nan
            rows.append((name, int(level), float(area.mean()), float(area.std()), len(area), ratio))
    names = ("structure", "level", "area", "area_sd", "slices", "ascor")
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})


def _areas(name: str, volume: Volume, centerline: Table, corrected: bool) -> Array:
    """Area of a structure in each slice of the centerline; mm2."""
    upright = volume.oriented("LAS")
    if not np.isfinite(upright.data).all() or (upright.data < 0).any():
        raise ValueError(f"{name} has values that are negative or not finite")
    px, py, pz = upright.grid.voxel_size
    z = centerline["slice"]
    if len(z) and not 0 <= z.min() <= z.max() < upright.data.shape[2]:
        raise ValueError(f"{name} has no slice {int(z.max())}, which the centerline has")
    area = upright.data.sum(axis=(0, 1), dtype=np.float64)[z] * px * py
    if not corrected:
        return area
    return area / np.sqrt(1 + (centerline["dx"] * px / pz) ** 2 + (centerline["dy"] * py / pz) ** 2)
