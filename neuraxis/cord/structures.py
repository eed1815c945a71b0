"""Areas of grey matter, white matter and spinal canal across the cord, and how full of cord the canal is."""

from __future__ import annotations

import math
import warnings

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_EDGE_MM = 0.8
"""Nearer to the cord's edge than this, or than a voxel, fluid mixes in."""

_FEWEST = 3
"""Voxels of each tissue that a slice must have to tell their contrast."""


def structures(
    shape: Table,
    centerline: Table,
    gray_matter: Volume | None = None,
    white_matter: Volume | None = None,
    canal: Volume | None = None,
    image: Volume | None = None,
    *,
    angle_correction: bool = True,
    least_contrast: float = 1.5,
) -> Table:
    """Area of each structure per slice, and the adapted spinal canal occupation ratio (aSCOR).

    A slice shows a section that is stretched by 1 / cos t where the cord crosses it at the angle t to its normal. All
    structures are corrected by the angle of the cord (its mask is larger, and its centerline steadier):

        area = cos t * sum of soft values * area of a voxel,    cos t = 1 / sqrt(1 + (dx/dz)^2 + (dy/dz)^2)
        ascor = area of the cord / area of the canal

    aSCOR (spinal cord parenchymal fraction in studies of multiple sclerosis) is a fraction, about 0.35 to 0.5 in healthy
    people and 1 where the cord fills the canal.

    A network draws grey matter where it usually lies even in an image that does not show it. So the image is asked: inside the
    cord, a voxel away from its edge, the contrast is the median over the slices of

        |mean(gray) - mean(white)| / scatter,      scatter^2 = pooled variance within the two

    On images with manual grey matter (T2*w, MT) it is 1.8 to 3.2, on T1w and T2w of 1 mm 0.8 to 1.1. Grey and white matter with
    less than `least_contrast` are not trusted, and said to be so.

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
    image
        The image that grey and white matter were drawn on; any contrast, (X, Y, Z), finite. Without it their contrast is not asked.
    angle_correction
        Whether the tilt of the cord against the slice is taken out; the same as for the shape.
    least_contrast
        Contrast below which grey and white matter are not trusted, in units of the scatter; at least 0.

    Returns
    -------
    One row per structure and slice of the cord that holds it: structure, slice, level, area (mm2), ascor (canal only, NaN
    elsewhere), trusted (1 or 0) and why not. Empty where no structure is given.

    Raises
    ------
    ValueError: the structures lie on several grids, one is not finite or has negative values, or least_contrast is negative.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    Mongay-Ochoa 2025, doi:10.1212/WNL.0000000000210136
    """
    if not 0 <= least_contrast < math.inf:
        raise ValueError(f"least_contrast must be at least 0, not {least_contrast}")
    given = {"gray_matter": gray_matter, "white_matter": white_matter, "canal": canal}
    volumes = {name: one for name, one in given.items() if one is not None}
    cord = dict(zip(shape["slice"].tolist(), shape["area"].tolist(), strict=True))
    level = dict(zip(shape["slice"].tolist(), shape["level"].tolist(), strict=True))
    rows: list[tuple[object, ...]] = []
    for name, volume in volumes.items():
        if not volume.grid.same_as(next(iter(volumes.values())).grid):
            raise ValueError(f"{name} and {next(iter(volumes))} lie on different grids")
        for z, area in zip(centerline["slice"], _areas(name, volume, centerline, angle_correction), strict=True):
            if area > 0:
                ratio = cord.get(int(z), math.nan) / area if name == "canal" else math.nan
                rows.append((name, int(z), float(level.get(int(z), math.nan)), float(area), ratio))
    names = ("structure", "slice", "level", "area", "ascor")
    table = Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})
    contrast = math.nan
    if image is not None and gray_matter is not None and white_matter is not None:
        contrast = _contrast(image, gray_matter, white_matter)
    why = ""
    if contrast < least_contrast:
        why = f"grey matter is not seen (contrast {contrast:.1f})"
        warnings.warn(
            f"{why}, {least_contrast:g} is asked for: its outline is a guess from the shape of the cord", stacklevel=2
        )
    doubted = np.array([why if name in ("gray_matter", "white_matter") else "" for name, *_ in rows], dtype=str)
    return Table.of({**table.columns, "trusted": np.array([int(not text) for text in doubted]), "why": doubted})


def _contrast(image: Volume, gray: Volume, white: Volume) -> float:
    """Between grey and white matter in units of their scatter, median over the slices; NaN where too few voxels tell."""
    if not image.grid.same_as(gray.grid) or not white.grid.same_as(gray.grid):
        raise ValueError("image, gray_matter and white_matter lie on different grids")
    picture, inner, outer = (one.oriented("LAS") for one in (image, gray, white))
    size = picture.grid.voxel_size[:2]
    found = []
    for z in np.flatnonzero((inner.data > 0.5).any(axis=(0, 1))):
        chance, rest, values = (one.data[:, :, z].astype(float) for one in (inner, outer, picture))
        depth = scipy.ndimage.distance_transform_edt(np.pad(chance + rest > 0.5, 1), sampling=size)[1:-1, 1:-1]
        deep = depth > max(_EDGE_MM, 1.01 * max(size))
        one, other = values[deep & (chance > 0.6)], values[deep & (chance < 0.3)]
        if min(len(one), len(other)) >= _FEWEST:
            pooled = (one.var() * len(one) + other.var() * len(other)) / (len(one) + len(other) - 2)
            found.append(abs(one.mean() - other.mean()) / max(math.sqrt(pooled), np.finfo(float).tiny))
    return float(np.median(found)) if found else math.nan


def structure_levels(structures: Table) -> Table:
    """Mean area of each structure over the whole cord and per vertebral level.

    Area and its standard deviation are taken over the slices of a row; ascor is the ratio of the mean areas of cord and
    canal, over the slices where both are known.

    Parameters
    ----------
    structures
        Area of each structure per slice; mm2.

    Returns
    -------
    One row per structure for the whole cord in view (level NaN) and for each level from the head down: structure, level, name,
    area (mm2), area_sd (mm2, over slices), slices (their number), ascor, trusted (1 where all these slices are) and why not.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(structures["structure"].tolist()):
        of = structures["structure"] == name
        for level in (math.nan, *np.unique(structures["level"][of & np.isfinite(structures["level"])])):
            chosen = of & (structures["level"] == level) if math.isfinite(level) else of
            title = vertebra_name(int(level)) if math.isfinite(level) else "whole cord"
            area, ascor = structures["area"][chosen], structures["ascor"][chosen]
            known = np.isfinite(ascor)
            ratio = float((ascor * area)[known].sum() / area[known].sum()) if known.any() else math.nan
            why = "; ".join(dict.fromkeys(text for text in structures["why"][chosen].tolist() if text))
            rows.append((name, float(level), title, float(area.mean()), float(area.std()), len(area), ratio, int(not why), why))
    names = ("structure", "level", "name", "area", "area_sd", "slices", "ascor", "trusted", "why")
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
