"""Every map in every region of the atlas: over all slices, by level, by range of levels, and slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from neuraxis.cord.extraction.figures import Shares, measured
from neuraxis.cord.extraction.groups import Group, groups_of, single_slices, slice_levels
from neuraxis.cord.tracts import NUMBERS, REGIONS, beside_atlas, check_atlas, region_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def tract_metrics(
    tract_atlas: Volume,
    levels: Volume | None = None,
    level_table: Table | None = None,
    image: Volume | None = None,
    mtr: Volume | None = None,
    mtsat: Volume | None = None,
    mt_t1: Volume | None = None,
    fa: Volume | None = None,
    md: Volume | None = None,
    ad: Volume | None = None,
    rd: Volume | None = None,
    tsnr: Volume | None = None,
    r2star: Volume | None = None,
    t2star: Volume | None = None,
    chi: Volume | None = None,
    *,
    ranges: str = "",
    noise_variance: float = 1.0,
    label_variance: float = 1.0,
    median_points: Literal["slices", "region"] = "slices",
    zeros: Literal["unknown", "values"] = "unknown",
    least_voxels: float = 5.0,
    least_known: float = 0.8,
    most_inflation: float = 10.0,
) -> tuple[Table, Table]:
    """Maps in the regions of a probabilistic atlas in the image's space, with partial volumes taken apart.

    With w the share of a voxel that a region fills, x the map, X all regions' shares and y the map in voxels with any share:

        wa   sum w x / sum w                              bin   mean of x where w is at least 1/2
        ml   beta = (X'X)^-1 X'y                          map   beta0 + (X'X + v I)^-1 X'(y - X beta0)

    v is noise_variance / label_variance, and beta0 the ml value of white matter, grey matter or fluid. What is combined of
    several regions is one column of X beside the others; its beta0 is the mean of its parts', by size. The Spinal Cord Toolbox
    has the same figures, save `max`, which it takes over the whole slices. The value of a region without trust is given all the same.

    Parameters
    ----------
    tract_atlas
        Share of each voxel in the 37 regions of PAM50; 0 to 1, (X, Y, Z, R), any orientation, on the image's voxels or some of them.
    levels
        Vertebral levels painted on the cord; whole numbers, (X, Y, Z), 0 is unknown. A slice has the rounded mean of its voxels.
    level_table
        Which levels are trusted.
    image
        The cord's image; any unit, (X, Y, Z).
    mtr
        Magnetisation transfer ratio; percent, (X, Y, Z).
    mtsat
        Magnetisation transfer saturation; percent, (X, Y, Z).
    mt_t1
        T1 that belongs to it; s, (X, Y, Z).
    fa
        Fractional anisotropy; 0 to 1, (X, Y, Z).
    md
        Mean diffusivity; mm2/s, (X, Y, Z).
    ad
        Axial diffusivity; mm2/s, (X, Y, Z).
    rd
        Radial diffusivity; mm2/s, (X, Y, Z).
    tsnr
        Temporal signal-to-noise ratio; (X, Y, Z).
    r2star
        R2*; 1/s, (X, Y, Z).
    t2star
        T2*; s, (X, Y, Z).
    chi
        Susceptibility; ppm, (X, Y, Z).
    ranges
        Ranges of levels that get rows of their own, as "2:5,3:4" (from level to level, both included); C2 is 2.
    noise_variance
        Variance of the noise in a voxel, for map; above 0. Only its ratio to label_variance counts: 1 is that of the Spinal Cord
        Toolbox, 10 to 30 hold better where the atlas does not lie quite right.
    label_variance
        Variance of the regions about beta0, for map; above 0. Larger draws less towards beta0.
    median_points
        slices: values of no weight in the same slices are points of the median's interpolation too, as in the Spinal Cord
        Toolbox; region: only the region's own.
    zeros
        What exact zeros of a computed map are: unknown, as its makers write them outside their mask and where a fit failed, and then
        left out and counted; or values. Those of `image` are always values.
    least_voxels
        A smaller size is not trusted; voxels, 0 or more.
    least_known
        A region of which the map knows a smaller share is not trusted; 0 to 1.
    most_inflation
        Where overlap with neighbours makes the variance of ml more than so many times larger, it is not trusted; 1 or more.

    Returns
    -------
    Two tables, one row per map, region (0 to 36, combined ones from 50) and group of slices: the whole cord, every level, and
    the ranges; and every slice. Empty regions have a row of size 0 in the first, none in the second.

    Raises
    ------
    ValueError: there is no map, the grids differ, the atlas is not one of 37 shares, or a knob is outside its range.

    References
    ----------
    Levy 2015, doi:10.1016/j.neuroimage.2015.06.040
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    if not (noise_variance > 0 and label_variance > 0 and least_voxels >= 0 and 0 <= least_known <= 1 and most_inflation >= 1):
        raise ValueError(
            "noise_variance and label_variance must be above 0, least_voxels 0 or more, least_known 0 to 1, most_inflation 1 or more"
        )
    given = {
        "image": image, "mtr": mtr, "mtsat": mtsat, "mt_t1": mt_t1, "fa": fa, "md": md, "ad": ad, "rd": rd, "tsnr": tsnr,
        "r2star": r2star, "t2star": t2star, "chi": chi,
    }  # fmt: skip
    maps = {name: one for name, one in given.items() if one is not None}
    if not maps:
        raise ValueError("there is no map")
    check_atlas(tract_atlas)
    maps = {name: beside_atlas(one, tract_atlas, name) for name, one in maps.items()}
    levels = None if levels is None else beside_atlas(levels, tract_atlas, "levels")
    if tract_atlas.data.shape[3] != len(REGIONS):
        raise ValueError(f"the regions of PAM50 are {len(REGIONS)}, not {tract_atlas.data.shape[3]}")
    atlas = tract_atlas.oriented("LAS").data
    there = np.asarray(atlas.any(axis=(0, 1, 3)))
    level: Array = np.zeros(len(there), int) if levels is None else slice_levels(levels.oriented("LAS").data)
    groups, single = groups_of(level, there, ranges, level_table), single_slices(there)
    shares = Shares.of(atlas)
    together, alone = [], []
    for name, one in maps.items():
        data = one.oriented("LAS").data
        if zeros == "unknown" and name != "image":
            data = np.where(data == 0, np.nan, data)
        figures = measured(
            shares, data, [*groups, *single], noise_variance=noise_variance, label_variance=label_variance,
            whole_slices=median_points == "slices",
        )  # fmt: skip
        figures["volume"] = figures["size"] * tract_atlas.grid.voxel_volume
        why = _why(figures, [*groups, *single], least_voxels, least_known, most_inflation)
        figures |= {"why": why, "trusted": (why == "").astype(int)}
        first = {column: values[: len(groups)] for column, values in figures.items()}
        rest = {column: values[len(groups) :] for column, values in figures.items()}
        labels = {column: [getattr(group, column) for group in groups] for column in ("group", "level", "name", "slices")}
        together.append(_rows(name, labels, first))
        at = np.flatnonzero(there)
        alone.append(_rows(name, {"slice": at, "level": np.where(level > 0, level, np.nan)[at]}, rest))
    slices = _below(alone)
    return _below(together), slices.where(slices["size"] > 0)


_FIGURES = (
    "size", "volume", "fraction", "wa", "bin", "median", "max", "ml", "map", "sd", "ml_error", "map_error", "left_out", "trusted", "why",
)  # fmt: skip


def _why(figures: Mapping[str, Array], groups: Sequence[Group], least: float, known: float, inflation: float) -> Array:
    """What speaks against each figure, in words; (G, 43)."""
    size, twisted = figures["size"], figures["inflation"]
    empty = size == 0
    said = {
        "not in the image": empty & (figures["left_out"] == 0),
        "the map is not known in it": empty & (figures["left_out"] > 0),
        "few voxels": ~empty & (size < least),
        "the map is not known in a part of it": ~empty & (figures["known"] < known),
        "ml is not determined by these voxels": np.isinf(twisted),
        "ml hardly tells it from its neighbours": np.isfinite(twisted) & (twisted > inflation),
    }
    found = np.empty(size.shape, object)
    for group, one in enumerate(groups):
        for region in range(size.shape[1]):
            found[group, region] = "; ".join([*([one.why] if one.why else []), *(text for text, where in said.items() if where[group, region])])
    return found


def _rows(name: str, labels: Mapping[str, Any], figures: Mapping[str, Array]) -> Table:
    """The table of one map: group after group, in each all regions."""
    groups, regions = figures["size"].shape
    return Table.of(
        {
            "metric": np.full(groups * regions, name),
            "region": np.tile(NUMBERS, groups),
            "region_name": np.tile([region_name(number) for number in NUMBERS], groups),
            **{column: np.repeat(np.asarray(values), regions) for column, values in labels.items()},
            **{column: figures[column].ravel() for column in _FIGURES},
        }
    )


def _below(tables: Sequence[Table]) -> Table:
    return Table.of({name: np.concatenate([one[name] for one in tables]) for name in tables[0].columns})
