"""Curves along the cord: the participant's shape from the top down, alone or in the healthy band."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.cord.vertebrae import PAM50_LEVELS, vertebra_name
from neuraxis.report.plots import (
    ALARM,
    BAND,
    DOUBT,
    LINE,
    SOFT,
    TITLES,
    draw_levels,
    falling,
    finite,
    panels,
    picture,
    position_label,
    spans,
)
from neuraxis.table import Table
from neuraxis.volume import Array

SHOWN = ("area", "diameter_AP", "diameter_RL", "eccentricity", "solidity", "angle_RL", "angle_AP", "asymmetry_LR")
STEEP = 20.0
"""Angle above which a slice is too oblique for its section to be trusted; degrees (cord.md 6, SCT issue 4807)."""

_BELOW_PMJ = "mm below the pontomedullary junction"
_NAMES = {level: vertebra_name(level) for level in range(1, 30)}


def shown(table: Table, wished: Sequence[str] = ()) -> list[str]:
    """The columns that can be drawn: those wished, else the usual ones, else every number known by name."""
    wanted = [name for name in (wished or SHOWN) if name in table]
    wanted = wanted or [name for name in TITLES if name in table]
    wanted = wanted or [name for name in table.columns if name.endswith(" area")]
    return [name for name in wanted if np.isfinite(finite(table, name)).any()]


def position(table: Table) -> tuple[Array, str]:
    """Place of every row, growing downwards, and what it is: mm below the PMJ, mm from the top, else the slice."""
    pmj, length, slices = (finite(table, name) for name in ("distance_pmj", "length", "slice"))
    if len(table) and np.isfinite(pmj).all():
        return np.abs(pmj), _BELOW_PMJ
    if not len(table) or np.isfinite(length).sum() < 0.8 * len(table) or not np.nanmin(length) > 0:
        return -slices, "slice"
    order = np.argsort(-slices)
    steps = np.where(np.isfinite(length), length, np.nanmedian(length))[order]
    gaps = np.maximum(np.diff(-slices[order], prepend=-slices[order[0]]), 1)  # slices left out have their length too
    at = np.empty(len(table))
    at[order] = np.cumsum(np.where(np.arange(len(steps)) > 0, steps * gaps, 0))
    if np.isfinite(pmj).any():  # slices above the junction have no distance, and lie above it
        return at + float(np.nanmedian(np.abs(pmj) - at)), _BELOW_PMJ
    return at, "mm from the uppermost slice"


def curves(
    table: Table,
    metrics: Sequence[str] = (),
    *,
    compressed: Collection[int] = (),
    names: Mapping[int, str] | None = None,
) -> bytes:
    """Small multiples along the cord, the head on the left.

    Parameters
    ----------
    table
        slice, the metrics; level, trusted, length, distance_pmj where there are such columns.
    metrics
        Columns to draw; the usual ones of a shape table without it.
    compressed
        Slices to mark.
    names
        Level -> its name; vertebral ones without it.

    Returns
    -------
    A PNG file; rows that are not trusted are hollow and grey.
    """
    wanted = shown(table, metrics)
    if not wanted:
        return _nothing("Nothing was measured.")
    at, text = position(table)
    order = np.argsort(at)
    at, table = at[order], table.where(order)
    trusted = finite(table, "trusted") != 0
    level_spans = spans(finite(table, "level"), at)
    figure, axes = panels(wanted)
    for one, metric in zip(axes, wanted, strict=True):
        values = finite(table, metric)
        draw_levels(one, level_spans, names or _NAMES)
        _line(one, at, np.where(trusted, values, np.nan), LINE, 2.0)
        known = np.isfinite(values)
        alone = trusted & known & ~(_beside(trusted & known))
        one.plot(at[alone], values[alone], "o", color=LINE, markersize=4)
        one.plot(at[~trusted & known], values[~trusted & known], "o", markersize=5.5 if len(at) < 80 else 3.5, markerfacecolor="none",
                 markeredgecolor=DOUBT, markeredgewidth=1.0)  # fmt: skip
        _limits(one, values[trusted & known], doubted=values[~trusted & known])
        if metric.startswith("angle"):
            for edge in (-STEEP, STEEP):
                one.axhline(edge, color=DOUBT, linewidth=1, linestyle=(0, (4, 3)))
        for slice_number in compressed:
            for place in at[finite(table, "slice") == slice_number]:
                one.axvline(place, color=ALARM, linewidth=1.4, linestyle=(0, (5, 2)))
        one.set_xlim(at[0] - 0.01 * (np.ptp(at) or 1) - 0.5, at[-1] + 0.01 * (np.ptp(at) or 1) + 0.5)
        if text == "slice":
            falling(one)
    position_label(axes, text)
    return picture(figure)


def _beside(known: Array) -> Array:
    """Points with a neighbour, which a line shows."""
    return np.r_[False, known[:-1]] | np.r_[known[1:], False]


def _line(axes: Any, at: Array, values: Array, colour: str, width: float) -> None:
    axes.plot(at, values, color=colour, linewidth=width, solid_capstyle="round")


def _limits(axes: Any, values: Array, more: Sequence[Array] = (), doubted: Array | None = None) -> None:
    """Ends of the axis from what is trusted, and from the rest as far as it does not flatten the curve."""
    kept = np.concatenate([values, *more])
    kept = kept[np.isfinite(kept)]
    if doubted is not None:
        span = np.ptp(kept) if kept.size else np.inf
        near = doubted if not kept.size else doubted[(doubted > kept.min() - span) & (doubted < kept.max() + span)]
        kept = np.concatenate([kept, near])
    if not kept.size:
        return
    low, high = float(kept.min()), float(kept.max())
    room = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)


def _nothing(text: str) -> bytes:
    from neuraxis.report.sheet import Sheet

    sheet = Sheet(460, 60, 14)
    sheet.text(230, 30, text, "0.8")
    return sheet.png()


def normative_curve(shape: Table, bands: Mapping[str, Table], metrics: Sequence[str] = ()) -> bytes:
    """The participant in the healthy mean with its bands of one and two SD, along the template.

    Parameters
    ----------
    shape
        One row per PAM50 slice: slice and the metrics.
    bands
        Metric -> slice, mean, sd of healthy people.
    metrics
        Those to draw; all of `bands` without it.

    Returns
    -------
    A PNG file; the parts of the curve beyond two SD are drawn in another colour.
    """
    wanted = [m for m in (metrics or bands) if m in bands and len(bands[m]) and np.isfinite(finite(shape, m)).any()]
    if not wanted:
        return _nothing("There is nothing to compare with.")
    slices = finite(shape, "slice")
    order = np.argsort(-slices)
    at, shape = -slices[order], shape.where(order)
    ends = (at.min() - 20, at.max() + 20)
    levels = [(level, -high - 0.5, -low + 0.5) for level, (low, high) in sorted(PAM50_LEVELS.items())]
    levels = [(level, max(a, ends[0]), min(b, ends[1])) for level, a, b in levels if b > ends[0] and a < ends[1]]
    figure, axes = panels(wanted)
    for one, metric in zip(axes, wanted, strict=True):
        draw_levels(one, levels, _NAMES)
        band = bands[metric].where(np.argsort(-finite(bands[metric], "slice")))
        x, mean, sd = -finite(band, "slice"), finite(band, "mean"), finite(band, "sd")
        near = (x >= ends[0]) & (x <= ends[1])
        x, mean, sd = x[near], mean[near], sd[near]
        one.fill_between(x, mean - 2 * sd, mean + 2 * sd, color=BAND[0], linewidth=0, zorder=1)
        one.fill_between(x, mean - sd, mean + sd, color=BAND[1], linewidth=0, zorder=1)
        one.plot(x, mean, color=SOFT, linewidth=1.3)
        values = finite(shape, metric)
        doubted = finite(shape, "trusted") == 0
        one.plot(at[doubted], values[doubted], "o", markersize=3, markerfacecolor="none", markeredgecolor=DOUBT)
        values = np.where(doubted, np.nan, values)
        _line(one, at, values, LINE, 2.0)
        if x.size:
            healthy, spread = (np.interp(at, x, column, left=np.nan, right=np.nan) for column in (mean, sd))
            far = np.abs(values - healthy) > 2 * spread
            _line(one, at, np.where(far, values, np.nan), ALARM, 3.0)
        _limits(one, values, [mean - 2 * sd, mean + 2 * sd])
        one.set_xlim(*ends)
        falling(one)
    position_label(axes, "slice of the PAM50 template")
    return picture(figure)
