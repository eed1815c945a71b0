"""What all plots on black share: axes, colours, vertebral levels as bands, numbers in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.report.sheet import png
from neuraxis.table import Table
from neuraxis.volume import Array

TITLES = {
    "area": "Area",
    "diameter_AP": "Diameter, front to back",
    "diameter_RL": "Diameter, side to side",
    "diameter_AP_ellipse": "Diameter of the ellipse, front to back",
    "eccentricity": "Eccentricity",
    "solidity": "Solidity",
    "orientation": "Turn of the section",
    "angle_AP": "Tilt in the coronal plane",
    "angle_RL": "Tilt in the sagittal plane",
    "symmetry_RL": "Symmetry, right to left",
    "symmetry_AP": "Symmetry, front to back",
    "asymmetry_LR": "Asymmetry, left to right",
    "ascor": "Cord over canal, areas",
    "shift_left": "Shift to the left",
    "shift_front": "Shift to the front",
    "likeness_before": "Likeness before",
    "likeness": "Likeness after",
}
"""Column -> its name on an axis; its unit stands in the glossary."""

_UNITS = {"mm2": "mm²", "deg": "°", "1": ""}

LINE, DOUBT, BAND, INK, SOFT, ALARM = "#ffb000", "#8f979f", ("#16303f", "#2f5570"), "#e6e8ea", "#9aa4ae", "#ff4fa3"
FONT = 15.0


def falling(axes: Any) -> None:
    """The upright axis of places is drawn from the head on: positions are slices times -1, their labels are the slices."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{0.0 - value:g}")


def axis_label(metric: str) -> str:
    unit = unit_of(metric)
    return f"{metric_title(metric)} ({unit})" if unit else metric_title(metric)


def metric_title(metric: str) -> str:
    return TITLES.get(metric) or metric[:1].upper() + metric[1:].replace("_", " ")


def unit_of(metric: str) -> str:
    """The unit of a column of the tables along the cord, as it is printed."""
    for name in ("shape", "structures", "mt_off_shifts"):
        for column in (metric, metric.rsplit(" ", 1)[-1]):
            if name in ARTIFACTS and column in ARTIFACTS[name].columns:
                unit = ARTIFACTS[name].columns[column].unit
                return _UNITS.get(unit, unit)
    return ""


def spans(levels: Array, at: Array) -> list[tuple[int, float, float]]:
    """(level, begin, end) along an axis, from the level of every point; unknown levels make no span."""
    half = float(np.median(np.abs(np.diff(np.sort(at))))) / 2 if len(at) > 1 else 0.5
    found = []
    whole = np.where(np.isfinite(levels), np.floor(np.nan_to_num(levels) + 1e-6), 0).astype(int)
    for level in sorted(set(whole[whole > 0].tolist())):
        places = at[whole == level]
        found.append((level, float(places.min()) - half, float(places.max()) + half))
    return sorted(found, key=lambda span: span[1])


def panels(metrics: Sequence[str], columns: int = 2) -> tuple[Any, list[Any]]:
    """A black figure with one panel per metric, one position axis for all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(metrics))
    rows = -(-len(metrics) // columns)
    width, each, low, high = 760 * columns, 262, 62, 14
    height = rows * each + low + high
    figure = Figure((width / 72, height / 72), dpi=72, facecolor="black")
    FigureCanvasAgg(figure)
    made = []
    for number, metric in enumerate(metrics):
        row, column = divmod(number, columns)
        left, bottom = column * 760 + 74, height - high - (row + 1) * each + 14
        axes = figure.add_axes((left / width, bottom / height, (760 - 74 - 16) / width, (each - 14 - 58) / height))
        axes.set_facecolor("black")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("0.45")
        axes.tick_params(colors="0.75", labelsize=FONT - 1, labelbottom=number + columns >= len(metrics))
        axes.grid(axis="y", color="0.2", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0.01, y=0.12)
        axes.text(0, 1.15, axis_label(metric), transform=axes.transAxes, color=INK, fontsize=FONT + 1,
                  va="bottom", ha="left", family="DejaVu Sans", parse_math=False)  # fmt: skip
        made.append(axes)
    return figure, made


def draw_levels(axes: Any, found: Sequence[tuple[int, float, float]], names: Mapping[int, str]) -> None:
    """Bands with the levels' names above the panel."""
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axes.transData, axes.transAxes)
    whole = max((end for _, _, end in found), default=1) - min((begin for _, begin, _ in found), default=0)
    for number, (level, begin, end) in enumerate(found):
        if number % 2 == 0:
            axes.axvspan(begin, end, color="0.11", linewidth=0, zorder=0)
        if end - begin > 0.022 * whole:
            axes.text((begin + end) / 2, 1.03, names.get(level, str(level)), transform=place, color=SOFT, ha="center",
                      va="bottom", fontsize=FONT - 1.5, family="DejaVu Sans", parse_math=False)  # fmt: skip


def position_label(axes: Sequence[Any], text: str, columns: int = 2) -> None:
    for one in axes[-min(columns, len(axes)) :]:
        one.set_xlabel(text, color="0.75", fontsize=FONT, parse_math=False)


def finite(table: Table, name: str) -> Array:
    """A column as numbers; NaN where there is none."""
    if name not in table:
        return np.full(len(table), np.nan)
    return np.asarray(table[name], float)


def picture(figure: Any) -> bytes:
    figure.canvas.draw()
    return png(np.asarray(figure.canvas.buffer_rgba())[..., :3])
