"""Maps in the tracts of the cord on a participant's page: the few rows worth reading, and every region as a point."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.cord.tracts import COMBINED, REGIONS
from neuraxis.report.plots import DOUBT, FONT, INK, LINE, SOFT, picture
from neuraxis.table import Table

_READ = ("metric", "region_name", "size", "wa", "sd", "bin", "ml", "map", "map_error", "trusted", "why")
_COLOURS = {"left": LINE, "right": "#56b4e9", "": INK}
_PER_ROW = 4  # panels side by side
_LABELS, _PANEL, _LINE = 250, 300, 19  # pixels: width of the names, width of a panel, height of a region


def tract_summary(table: Table) -> Table:
    """What a page shows as a table: combined regions over the whole cord, the columns that are read most."""
    chosen = (table["group"] == "cord") & (table["region"] >= min(COMBINED))
    return Table({name: table[name][chosen] for name in _READ})


def tract_picture(table: Table) -> bytes | None:
    """Every region over the whole cord: map as a point with the standard deviation over its voxels, one panel per map.

    Parameters
    ----------
    table
        `tract_metrics`.

    Returns
    -------
    A PNG file; None where no region has a value. Left ones are round, right ones square, what is not trusted hollow and grey.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    table = table.where((table["group"] == "cord") & np.isfinite(table["map"]))
    metrics = list(dict.fromkeys(table["metric"].tolist()))
    if not metrics:
        return None
    names = _names()
    columns = min(_PER_ROW, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    height = len(names) * _LINE + 70
    size = (_LABELS + columns * _PANEL, rows * height)
    figure = Figure((size[0] / 72, size[1] / 72), dpi=72, facecolor="black")  # 72 dpi: a point is a pixel
    FigureCanvasAgg(figure)
    for number, metric in enumerate(metrics):
        row, column = divmod(number, columns)
        left, bottom = _LABELS + column * _PANEL + 8, size[1] - (row + 1) * height + 34
        place = (left / size[0], bottom / size[1], (_PANEL - 24) / size[0], len(names) * _LINE / size[1])
        axes = figure.add_axes(place, ylim=(len(names) - 0.5, -0.5))
        axes.set_facecolor("black")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("0.45")
        axes.grid(axis="x", color="0.2", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors="0.75", labelsize=FONT - 2)
        axes.set_yticks(range(len(names)), names if column == 0 else [""] * len(names), color=INK if column == 0 else SOFT)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(_title(metric), color=INK, fontsize=FONT, parse_math=False)
        for one in table.where(table["metric"] == metric).rows():
            line, side = _place(int(one["region"]))
            colour = _COLOURS[side] if one["trusted"] else DOUBT
            axes.errorbar(
                one["map"], line + {"left": -0.18, "right": 0.18}.get(side, 0), xerr=one["sd"], color=colour, ecolor=colour, elinewidth=1,
                marker="s" if side == "right" else "o", markersize=5, markerfacecolor=colour if one["trusted"] else "none",
            )  # fmt: skip
    return picture(figure)


def _title(metric: str) -> str:
    """Name of a map and its unit."""
    unit = ARTIFACTS[metric].unit if metric in ARTIFACTS else ""
    unit = {"1": "", "arbitrary": "a.u.", "mm2/s": "mm²/s"}.get(unit, unit)
    return f"{metric} ({unit})" if unit else metric


def _names() -> list[str]:
    """What the lines of the picture are: combined regions, both sides of a region, the fluid."""
    both = dict.fromkeys(_plain(name) for name in REGIONS)
    return [*(name for name, _ in COMBINED.values()), *both]


def _plain(name: str) -> str:
    """A region's name without tissue, side and what stands in brackets."""
    return name.split(" (")[0].replace("WM ", "").replace("GM ", "").replace("left ", "").replace("right ", "")


def _place(region: int) -> tuple[int, str]:
    """Line of a region, and its side: left, right or none."""
    if region in COMBINED:
        return list(COMBINED).index(region), ""
    name = REGIONS[region]
    side = next((one for one in ("left", "right") if f" {one} " in name), "")
    return _names().index(_plain(name)), side
