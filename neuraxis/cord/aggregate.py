"""Shape of the cord per vertebral level, range of levels or distance from the brainstem, with the error of its area."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping

import numpy as np

from neuraxis.cord.levels import doubts
from neuraxis.cord.shape import MEASURES
from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array


def shape_levels(
    shape: Table,
    level_table: Table | None = None,
    *,
    ranges: str = "",
    pmj_distance: tuple[float, ...] = (),
    pmj_extent: float = 20.0,
) -> Table:
    """Means over the slices of the whole cord, of every level, and of what else is asked for.

    Mean and SD are those of the Spinal Cord Toolbox: over all slices with a value, each with the same weight, SD over n; the
    lengths are added. `area_mean_trusted` leaves out the slices that are flagged.

    area_uncertainty is the standard error of the mean area,

        error^2 = mean of e_i^2  +  sigma^2 / n,      sigma^2 = 2/3 mean of (A_i - (A_{i-1} + A_{i+1}) / 2)^2

    e_i is the error of slice i inside its soft outline: neighbouring slices see the same edge, so it does not average out.
    sigma is the scatter of neighbouring slices after their local trend is taken away, which does. Both are over trusted
    slices as long as there are any. Errors that all slices share and that the mask does not show (a rater who draws too
    large) are not in it.

    Parameters
    ----------
    shape
        One row per slice, with level and distance from the pontomedullary junction where they are known.
    level_table
        Which levels are trusted. Without it only the slices decide.
    ranges
        Ranges of levels that get a row each, as "2:3,3:4" (from level to level, both included); levels by number, C2 is 2.
    pmj_distance
        Distances below the pontomedullary junction that get a row each; mm, above 0.
    pmj_extent
        Length of cord around each of these distances; mm, above 0.

    Returns
    -------
    One row per group (cord, level from the head down, range, pmj): level, name, slices, their number and how many are trusted, distance (mm),
    mean and SD of every measure, sum of the lengths (mm), mean area of trusted slices and its standard error (mm2), trusted (1
    unless a level of the row is not, or none of its slices is) and why not.

    Raises
    ------
    ValueError: there is no slice, or a knob cannot be read.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    Bedard 2022, doi:10.3389/fnimg.2022.1031253
    """
    if not len(shape):
        raise ValueError("there is no slice with cord")
    if not 0 < pmj_extent < math.inf or not all(0 < one < math.inf for one in pmj_distance):
        raise ValueError(f"pmj_extent and pmj_distance must be above 0 mm, not {pmj_extent} and {list(pmj_distance)}")
    level = shape["level"]
    doubted = doubts(level_table, open_ends=True) if level_table is not None else {}
    rows = [_row(shape, np.ones(len(shape), dtype=bool), "cord", "all", "whole cord")]
    known = np.unique(level[~np.isnan(level)]).astype(int)
    of_levels = [_row(shape, level == one, "level", str(one), vertebra_name(int(one)), doubted) for one in known]
    rows += sorted(of_levels, key=lambda row: -int(re.split("[:;]", str(row["slices"]))[0]))
    for low, high in level_ranges(ranges):
        chosen = (level >= low) & (level <= high)
        absent = [vertebra_name(one) for one in range(low, high + 1) if one not in known]
        if absent:
            warnings.warn(f"no slice of {', '.join(absent)} in view for the range {low}:{high}", stacklevel=2)
        if chosen.any():
            name = f"{vertebra_name(low)}-{vertebra_name(high)}"
            rows.append(_row(shape, chosen, "range", f"{low}:{high}", name, doubted))
    for distance in pmj_distance:
        around = _around(shape, distance, pmj_extent)
        if around is not None:
            rows.append(_row(shape, around, "pmj", "", f"{distance:g} mm below the PMJ", distance=distance))
    return Table.of_rows(rows)


def compact(slices: Array) -> str:
    """Slices as text: runs "3:7", parted by ";"."""
    runs = np.split(np.sort(slices), np.flatnonzero(np.diff(np.sort(slices)) > 1) + 1)
    return ";".join(f"{run[0]}:{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs if len(run))


def _row(
    shape: Table,
    chosen: Array,
    group: str,
    level: str,
    name: str,
    doubted: Mapping[int, str] | None = None,
    distance: float = math.nan,
) -> dict[str, str | int | float]:
    part = shape.where(chosen)
    trusted = part["trusted"] == 1
    why = [f"{vertebra_name(one)}: {text}" for one, text in (doubted or {}).items() if (part["level"] == one).any()]
    if not trusted.any():
        why.append("none of its slices is trusted")
    row: dict[str, str | int | float] = {
        "group": group,
        "level": level,
        "name": name,
        "slices": compact(part["slice"]),
        "n_slices": len(part),
        "n_trusted": int(trusted.sum()),
        "distance_pmj": distance,
    }
    for measure in MEASURES:
        row[f"{measure}_mean"], row[f"{measure}_sd"] = _mean_sd(part[measure])
    row["length_sum"] = float(np.nansum(part["length"]))
    row["area_mean_trusted"] = _mean_sd(part["area"][trusted])[0]
    row["area_uncertainty"] = _uncertainty(shape, chosen)
    return row | {"trusted": int(not why), "why": "; ".join(why)}


def _mean_sd(values: Array) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    return (float(values.mean()), float(values.std())) if len(values) else (math.nan, math.nan)


def _uncertainty(shape: Table, chosen: Array) -> float:
    """Standard error of the mean area of the chosen slices; mm2."""
    usable = ~np.isnan(shape["area"])
    if (chosen & usable & (shape["trusted"] == 1)).any():
        usable &= shape["trusted"] == 1
    slices, area = shape["slice"], shape["area"]
    outline = float(np.mean(shape["area_uncertainty"][chosen & usable] ** 2))
    inner = np.arange(1, len(slices) - 1)
    triple = usable[inner - 1] & usable[inner] & usable[inner + 1] & (slices[inner + 1] - slices[inner - 1] == 2)
    inner = inner[triple & chosen[inner]]
    bend = area[inner] - (area[inner - 1] + area[inner + 1]) / 2
    scatter = float(np.mean(bend**2)) * 2 / 3 if len(inner) else 0.0
    return math.sqrt(outline + scatter / np.count_nonzero(chosen & usable))


def level_ranges(text: str) -> list[tuple[int, int]]:
    """First and last level of every range in a text like "2:3,3:4" or "5"; ValueError where it cannot be read."""
    found = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+)(?::(\d+))?", part)
        if part and (not match or int(match[1]) < 1 or int(match[2] or match[1]) < int(match[1])):
            raise ValueError(f"ranges is not like 2:3,3:4 but {text!r}")
        if match:
            found.append((int(match[1]), int(match[2] or match[1])))
    return found


def _around(shape: Table, distance: float, extent: float) -> Array | None:
    """Slices from the one nearest to the far end up to, without it, the one nearest to the near end (as SCT does)."""
    away = shape["distance_pmj"]
    if np.isnan(away).all():
        warnings.warn("no pontomedullary junction is known: there is no row by distance from it", stacklevel=3)
        return None
    far, near = distance + extent / 2, distance - extent / 2
    thickness = float(np.nanmax(shape["length"]))
    if far > np.nanmax(away) + thickness / 2 or near < np.nanmin(away) - thickness / 2:
        message = f"the cord in view does not reach from {near:g} to {far:g} mm below the pontomedullary junction"
        warnings.warn(message, stacklevel=3)
        return None
    low, high = (int(shape["slice"][np.nanargmin(np.abs(away - one))]) for one in (far, near))
    return (shape["slice"] >= low) & (shape["slice"] < max(high, low + 1))
