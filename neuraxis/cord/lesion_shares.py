"""Where in the cord lesions lie: their share in each vertebral level, and in the tracts of an atlas."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.tracts import check_atlas, region_name
from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def lesion_levels(lesion_labels: Volume, levels: Volume) -> Table:
    """Share of each lesion in each vertebral level, and of each level in each lesion.

    Parameters
    ----------
    lesion_labels
        Labelled lesions; whole numbers, (X, Y, Z), 0 is none, any orientation.
    levels
        Vertebral levels painted on the cord; whole numbers, (X, Y, Z), 0 is unknown.

    Returns
    -------
    One row per lesion and level that they share, then those of all lesions together (lesion 0): lesion, level, name, volume
    (mm3), share (% of the lesion), occupied (% of the cord of that level in the image). What lies in no level has level 0,
    no name and no occupied.

    Raises
    ------
    ValueError: the two lie on different grids.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    if not levels.grid.same_as(lesion_labels.grid):
        raise ValueError("levels and lesion_labels lie on different grids")
    labels, painted = lesion_labels.oriented("LAS").data, _everywhere(levels.oriented("LAS").data)
    cord = np.nan_to_num(levels.data).astype(int)
    rows = []
    for number in [*range(1, int(labels.max(initial=0)) + 1), 0]:
        inside = painted[labels == number] if number else painted[labels > 0]
        for level in np.unique(inside):
            voxels = int((inside == level).sum())
            room = int((cord == level).sum())
            occupied = 100 * min(voxels / room, 1.0) if level and room else np.nan
            name = vertebra_name(int(level)) if level else ""
            volume = voxels * lesion_labels.grid.voxel_volume
            rows.append((number, int(level), name, volume, 100 * voxels / len(inside), occupied))
    names = ("lesion", "level", "name", "volume", "share", "occupied")
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})


def lesion_tracts(lesion_labels: Volume, tract_atlas: Volume, levels: Volume | None = None) -> Table:
    """Share of each lesion in each region of a probabilistic atlas in the image's space, level by level.

    With w the weight of a region in a voxel (its share of the voxel's volume):

        volume = sum of w in the lesion,   share = volume / volume of the lesion,   occupied = volume / sum of w

    Parameters
    ----------
    lesion_labels
        Labelled lesions; whole numbers, (X, Y, Z), 0 is none, any orientation.
    tract_atlas
        Weights of the regions; 0..1, (X, Y, Z, R).
    levels
        Vertebral levels painted on the cord; whole numbers, (X, Y, Z). With them there are further rows per level.

    Returns
    -------
    One row per lesion (0 is all together), region (0..R-1) and level (0 is all levels): lesion, level, region and its
    name, volume (mm3), share (% of the lesion), occupied (% of the region, in that level).

    Raises
    ------
    ValueError: the grids differ, the atlas has no fourth axis, or its weights are not numbers from 0 to 1.

    References
    ----------
    Levy 2015, doi:10.1016/j.neuroimage.2015.06.040
    """
    check_atlas(tract_atlas, {"lesion_labels": lesion_labels, "levels": levels})
    weights = tract_atlas.data
    labels, mm3 = lesion_labels.data, lesion_labels.grid.voxel_volume
    painted = None
    if levels is not None:
        painted = Volume(_everywhere(levels.oriented("LAS").data), levels.oriented("LAS").grid).onto(levels.grid).data
    known = [] if painted is None else [int(v) for v in np.unique(painted) if v > 0]
    rows = []
    for level in [0, *known]:
        within = np.ones(labels.shape, bool) if level == 0 or painted is None else painted == level
        room = weights[within].sum(axis=0, dtype=np.float64)
        for number in [*range(1, int(labels.max(initial=0)) + 1), 0]:
            mask = labels == number if number else labels > 0
            total = int(mask.sum())
            inside = weights[mask & within].sum(axis=0, dtype=np.float64)
            for region, (weight, all_of_it) in enumerate(zip(inside, room, strict=True)):
                share = 100 * weight / total if total else np.nan
                occupied = 100 * weight / all_of_it if all_of_it > 0 else np.nan
                name = region_name(region, weights.shape[3])
                rows.append((number, level, region, name, weight * mm3, share, occupied))
    names = ("lesion", "level", "region", "region_name", "volume", "share", "occupied")
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})


def _everywhere(levels: Array) -> Array:
    """Upright levels; a voxel without one takes the rounded mean of its slice, 0 where that has none."""
    found = np.nan_to_num(levels).astype(int)
    count = (found > 0).sum(axis=(0, 1))
    mean = np.rint(found.sum(axis=(0, 1)) / np.maximum(count, 1)).astype(int)
    return np.where(found > 0, found, mean[None, None, :])
