"""Tables of many participants -> where the marks of their plots lie: curves along the cord, and strips per value."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.cord.vertebrae import PAM50_LEVELS, vertebra_name
from neuraxis.report.plots import finite
from neuraxis.table import Table
from neuraxis.volume import Array

WIDTH, HEIGHT = 900, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 24, 34
_STRIP_WIDTH, _STRIP_HEIGHT, _EDGE = 420, 92, 18
_SCATTER_HEIGHT = 170
_POINTS = 30_000
"""Points of all lines of a plot together, so that a page over a thousand participants still opens."""


def cohort_curves(tables: Mapping[str, Table], metric: str) -> dict[str, Any] | None:
    """Everybody's curve along the cord, their mean and standard deviation: marks of one plot, the head on the left.

    Parameters
    ----------
    tables
        Unit -> its table. Places must mean the same in all: slices of PAM50, or else mm below the pontomedullary junction
        (`distance_pmj`), which is taken where there is such a column.
    metric
        The column.

    Returns
    -------
    What the template draws; None where no unit has a value.
    """
    curves = {unit: curve for unit, table in tables.items() if (curve := _curve(table, metric)) is not None}
    if not curves:
        return None
    template = not any("distance_pmj" in table for table in tables.values())
    step = 1.0
    low = min(at[0] for at, _ in curves.values())
    grid = np.arange(low, max(at[-1] for at, _ in curves.values()) + step / 2, step)
    stack = np.full((len(curves), len(grid)), np.nan)
    for row, (at, values) in zip(stack, curves.values(), strict=True):
        inside = (grid >= at[0] - 0.5) & (grid <= at[-1] + 0.5)
        row[inside] = np.interp(grid[inside], at, values)  # NaN stays NaN
    number = np.isfinite(stack).sum(0)
    total = np.where(np.isfinite(stack), stack, 0).sum(0)
    mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    squares = np.where(np.isfinite(stack), (stack - mean) ** 2, 0).sum(0)
    sd = np.where(number > 1, np.sqrt(squares / np.maximum(number - 1, 1)), np.nan)
    bottom, top = float(np.nanmin(stack)), float(np.nanmax(stack))
    room = 0.05 * (top - bottom) or 0.05 * abs(top) or 1.0
    below = _BOTTOM if not template else 8
    frame = _Frame((grid[0], grid[-1]), (bottom - room, top + room))
    shared = number >= max(min(2, len(curves)), len(curves) / 5)  # a mean of few of the units says nothing of them all
    every = max(1, math.ceil(len(curves) * len(grid) / _POINTS))
    return {
        "width": WIDTH,
        "height": HEIGHT - _BOTTOM + below,
        "base": HEIGHT - _BOTTOM,
        "top": _TOP,
        "left": _LEFT,
        "right": WIDTH - _RIGHT,
        "number": len(curves),
        "lines": [
            {"unit": unit, "path": frame.path(grid[::every], row[::every])}
            for unit, row in zip(curves, stack, strict=True)
        ],
        "mean": frame.path(grid, np.where(shared, mean, np.nan)) if len(curves) > 1 else "",
        "band": frame.band(grid, *(np.where(shared, mean + side * sd, np.nan) for side in (-1, 1))),
        "levels": _levels(frame, grid) if template else [],
        "x_ticks": [] if template else [{"x": frame.x(v), "value": v} for v in ticks(grid[0], grid[-1])],
        "x_title": "" if template else "mm below the pontomedullary junction",
        "y_ticks": [{"y": frame.y(v), "value": v} for v in ticks(bottom - room, top + room)],
    }


def _curve(table: Table, metric: str) -> tuple[Array, Array] | None:
    """Rising places and values; a slice that is not trusted has none."""
    pmj = finite(table, "distance_pmj")
    at = np.abs(pmj) if "distance_pmj" in table else -finite(table, "slice")
    values = np.where(finite(table, "trusted") == 0, np.nan, finite(table, metric))
    known = np.isfinite(at)
    at, values = at[known], values[known]
    if not np.isfinite(values).any():
        return None
    order = np.argsort(at, kind="stable")
    return at[order], values[order]


class _Frame:
    """From numbers to the units of the drawing."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        share = (value - self.across[0]) / ((self.across[1] - self.across[0]) or 1.0)
        return round(float(_LEFT + share * (WIDTH - _LEFT - _RIGHT)), 1)

    def y(self, value: float) -> float:
        share = (value - self.up[0]) / (self.up[1] - self.up[0])
        return round(float(HEIGHT - _BOTTOM - share * (HEIGHT - _BOTTOM - _TOP)), 1)

    def path(self, at: Array, values: Array) -> str:
        """An SVG path with gaps where there is no value; a lonely point is a short dash."""
        words, pen = [], False
        for a, value in zip(at, values, strict=True):
            if not np.isfinite(value):
                pen = False
                continue
            words.append(f"{'L' if pen else 'M'}{self.x(a)} {self.y(value)}" + ("" if pen else "h.6"))
            pen = True
        return "".join(words)

    def band(self, at: Array, low: Array, high: Array) -> list[str]:
        """Polygons between two curves, one for each stretch where both are known."""
        known = np.isfinite(low) & np.isfinite(high)
        cuts = np.flatnonzero(np.diff(np.r_[False, known, False].astype(int)))
        found = []
        for first, last in zip(cuts[::2], cuts[1::2], strict=True):
            upper = [f"{self.x(a)},{self.y(v)}" for a, v in zip(at[first:last], high[first:last], strict=True)]
            lower = [f"{self.x(a)},{self.y(v)}" for a, v in zip(at[first:last], low[first:last], strict=True)]
            if len(upper) > 1:
                found.append(" ".join(upper + lower[::-1]))
        return found


def _levels(frame: _Frame, grid: Array) -> list[dict[str, Any]]:
    found = []
    for number, (level, (low, high)) in enumerate(sorted(PAM50_LEVELS.items())):
        begin, end = max(-high - 0.5, grid[0]), min(-low + 0.5, grid[-1])
        if end > begin:
            x, width = frame.x(begin), round(frame.x(end) - frame.x(begin), 1)
            found.append(
                {"x": x, "width": width, "name": vertebra_name(level) if width > 20 else "", "odd": number % 2}
            )
    return found


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    place = fraction * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def strip(title: str, found: Sequence[tuple[Any, str, str]], doubted: Collection[str] = ()) -> dict[str, Any]:
    """Where the marks of a strip plot with its box lie, from (value, unit, link).

    Points beyond 1.5 interquartile ranges are far; what is not a finite number is left out. `doubted`: units whose value is
    not trusted; they are drawn, and are in the box.
    """
    points = [(float(v), unit, link) for v, unit, link in found if isinstance(v, (int, float)) and math.isfinite(v)]
    plot: dict[str, Any] = {
        "title": title,
        "box": None,
        "points": [],
        "ticks": [],
        "width": _STRIP_WIDTH,
        "height": _STRIP_HEIGHT,
    }
    if not points:
        return plot
    values = sorted(value for value, _, _ in points)
    spread = values[-1] - values[0] or abs(values[0]) or 1.0
    low, high = values[0] - 0.06 * spread, values[-1] + 0.06 * spread

    def x(value: float) -> float:
        return round(_EDGE + (value - low) / (high - low) * (_STRIP_WIDTH - 2 * _EDGE), 1)

    lower, middle, upper = (_quantile(values, fraction) for fraction in (0.25, 0.5, 0.75))
    reach = 1.5 * (upper - lower)
    inside = [v for v in values if lower - reach <= v <= upper + reach]
    if len(values) >= 4:
        ends = {"lower": lower, "middle": middle, "upper": upper, "least": inside[0], "most": inside[-1]}
        plot["box"] = {name: x(value) for name, value in ends.items()}
    for number, (value, unit, link) in enumerate(points):
        mark = "far" if len(values) >= 4 and not inside[0] <= value <= inside[-1] else ""
        mark = " ".join(word for word in (mark, "doubted" if unit in doubted else "") if word)
        y = 26 + 18 * ((number * 0.618034) % 1)  # spread in height, the same at every writing
        plot["points"].append({"x": x(value), "y": round(y, 1), "value": value, "unit": unit, "href": link, "mark": mark})
    plot["ticks"] = [{"x": x(value), "value": value} for value in ticks(low, high)]
    return plot


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends, three to six of them."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span))
    for step in (m * power for m in (5, 2, 1, 0.5, 0.2, 0.1)):
        found = [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if len(found) >= 3:
            break
    return found


def scatter(title: str, found: Sequence[tuple[float, float, str, str]], slope: float) -> dict[str, Any]:
    """Where the marks of a scatter plot lie, from (x, y, unit, link), with a line of that slope through the middle of all.

    There must be one point at least.
    """
    across, up = [point[0] for point in found], [point[1] for point in found]
    ends = [(min(v), max(v)) for v in (across, up)]
    (left, right), (low, high) = ((a - 0.06 * ((b - a) or 1), b + 0.06 * ((b - a) or abs(b) or 1)) for a, b in ends)

    def x(value: float) -> float:
        return round(_LEFT + (value - left) / (right - left) * (_STRIP_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_SCATTER_HEIGHT - 24 - (value - low) / (high - low) * (_SCATTER_HEIGHT - 32), 1)

    middle = sum(across) / len(across), sum(up) / len(up)
    (begin, end), _ = ends
    heights = [middle[1] + slope * (at - middle[0]) for at in (begin, end)]
    return {
        "title": title,
        "width": _STRIP_WIDTH,
        "height": _SCATTER_HEIGHT,
        "left": _LEFT,
        "right": _STRIP_WIDTH - _RIGHT,
        "base": _SCATTER_HEIGHT - 24,
        "points": [{"x": x(a), "y": y(b), "at": a, "value": b, "unit": unit, "href": link, "mark": ""} for a, b, unit, link in found],
        "line": [{"x": x(at), "y": y(value)} for at, value in zip((begin, end), heights, strict=True)],
        "x_ticks": [{"x": x(value), "value": value} for value in ticks(left, right)],
        "y_ticks": [{"y": y(value), "value": value} for value in ticks(low, high)],
    }
