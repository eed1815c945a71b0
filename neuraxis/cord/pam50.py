"""Shape along the cord of one person, laid onto the slices of the PAM50 template by vertebral level."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.levels import doubts
from neuraxis.cord.vertebrae import PAM50_LEVELS, PAM50_SLICE_MM, vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array

_NOT_METRICS = {"slice", "level", "distance_pmj", "length", "components", "trusted", "why"}
"""Columns of a shape table that are no measure of a cross-section: a length that is summed, counts, places, remarks."""


def shape_pam50(shape: Table, level_table: Table | None = None) -> Table:
    """Shape per slice of the PAM50 template.

    People differ in the height of their vertebrae; in PAM50 all have one. Within each vertebral level the n slices of the
    image are spread evenly over the N slices (0.5 mm) of that level of the template, and each metric is interpolated
    linearly:

        at = (slice - first) / (last - first) * (N - 1),   metric_pam50(k) = interp(k, at, metric)

    The highest and the lowest level may lie partly outside the image. They are stretched by the mean factor N / n of the
    levels between, cut to a whole number of slices, and begin at the disc that they share with their neighbour. With only
    two levels that factor comes from their length in mm, and a lone level is taken to be complete; both are said in a
    warning. A slice without a value is not filled in from beyond its neighbours.

    Parameters
    ----------
    shape
        Shape per slice, with the vertebral level of each slice (NaN where unknown); only slices with a level are used.
    level_table
        Which levels are trusted. One that only ends at its usual height, for want of the next label, is laid on as said above.

    Returns
    -------
    One row per PAM50 slice that the image covers, from the lowest: slice (of PAM50), level, slice_image (the place in the
    image that it was taken from; fractional), every metric of the shape table in its unit, trusted (1 where the slices of
    the image on both sides are, and their level). Empty where there is no level.

    Raises
    ------
    ValueError: the table of shape has no slice or no level column.

    References
    ----------
    Valosek 2024, doi:10.1162/imag_a_00075
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    if "slice" not in shape or "level" not in shape:
        raise ValueError("the table of shape needs the columns slice and level")
    metrics = [n for n, v in shape.columns.items() if n not in _NOT_METRICS and np.issubdtype(v.dtype, np.number)]
    level = np.rint(shape["level"].astype(float))
    known = np.isin(level, list(PAM50_LEVELS))
    doubted = doubts(level_table, open_ends=False) if level_table is not None else {}
    parts = []
    if known.any():
        beyond = sorted({int(v) for v in level[np.isfinite(level) & ~known & (level > 0)]})
        if beyond:
            names = ", ".join(vertebra_name(v) for v in beyond)
            warnings.warn(f"PAM50 ends above {names}: these levels are left out", stacklevel=2)
        for one, low, count in _placement(shape, level, known):
            parts.append(_stretched(shape, metrics, np.flatnonzero(level == one), one, low, count))
            if one in doubted:
                parts[-1]["trusted"][:] = False
    else:
        warnings.warn("no vertebral level is known, so that shape cannot be laid onto PAM50", stacklevel=2)
    parts.sort(key=lambda part: part["slice"][0])
    columns = {}
    for name in ("slice", "level", "slice_image", *metrics, "trusted"):
        kind = np.int64 if name in ("slice", "level", "trusted") else np.float64
        columns[name] = np.concatenate([np.empty(0), *(part[name] for part in parts)]).astype(kind)
    return Table.of(columns)


def _placement(shape: Table, level: Array, known: Array) -> list[tuple[int, int, int]]:
    """(level, PAM50 slice of its lowest slice in the image, PAM50 slices that its part in the image takes)."""
    levels = sorted({int(v) for v in level[known]})
    height = {one: int(np.ptp(shape["slice"][level == one])) + 1 for one in levels}
    full = {one: PAM50_LEVELS[one][1] - PAM50_LEVELS[one][0] + 1 for one in levels}
    if len(levels) == 1:
        name = vertebra_name(levels[0])
        warnings.warn(f"only {name} is known: it is taken to lie in the image as a whole", stacklevel=3)
        return [(levels[0], PAM50_LEVELS[levels[0]][0], full[levels[0]])]
    inner = [full[one] / height[one] for one in levels[1:-1]]
    if inner:
        factor = float(np.mean(inner))
    else:
        lengths = shape["length"][known] if "length" in shape else np.full(1, np.nan)
        if not np.isfinite(lengths).any():
            raise ValueError("with only two levels the column length is needed to lay them onto PAM50")
        factor = float(np.nanmean(lengths)) / PAM50_SLICE_MM
        warnings.warn("only two levels are known: they are laid onto PAM50 by their length in mm", stacklevel=3)
    placed = [(one, PAM50_LEVELS[one][0], full[one]) for one in levels[1:-1]]
    top, bottom = levels[0], levels[-1]
    count = {one: max(1, int(factor * height[one])) for one in (top, bottom)}
    placed.append((top, PAM50_LEVELS[top][0], count[top]))
    placed.append((bottom, PAM50_LEVELS[bottom][1] - count[bottom] + 1, count[bottom]))
    return placed


def _stretched(shape: Table, metrics: list[str], rows: Array, level: int, low: int, count: int) -> dict[str, Array]:
    """The metrics of one level on `count` PAM50 slices from `low` on, cut to the level."""
    rows = rows[np.argsort(shape["slice"][rows])]
    slices = shape["slice"][rows].astype(float)
    places = (slices - slices[0]) / max(np.ptp(slices), 1.0) * (count - 1)
    first, last = PAM50_LEVELS[level]
    kept = np.arange(count)[(low + np.arange(count) >= first) & (low + np.arange(count) <= last)]
    trusted = shape["trusted"][rows] if "trusted" in shape else np.ones(len(rows))
    made = {name: np.interp(kept, places, shape[name][rows].astype(float)) for name in metrics}
    return {
        "slice": low + kept,
        "level": np.full(len(kept), level),
        "slice_image": np.interp(kept, places, slices),
        **made,
        "trusted": np.interp(kept, places, trusted.astype(float)) > 1 - 1e-9,
    }
