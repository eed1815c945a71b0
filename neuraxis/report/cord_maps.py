"""Quantitative maps around the cord, one or several below each other on one scale of colours, with the cord's outline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuraxis.report.cord_slices import course, sampled, upright
from neuraxis.report.plots import FONT, INK, SOFT, picture
from neuraxis.report.sheet import COLOURS, contours
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

MOST = 12
_SIDE, _LEFT, _RIGHT, _TOP = 150, 90, 110, 34  # pixels


def maps(
    rows: Mapping[str, Volume],
    around: Volume | None,
    cord: Volume | None,
    path: Table | None,
    limits: tuple[float, float],
    unit: str,
    *,
    field_mm: float = 30.0,
    most: int = MOST,
) -> bytes:
    """Axial patches of every map, the head on the left; a PNG file.

    Parameters
    ----------
    rows
        What stands beside a row -> a map; (X, Y, Z), all on one grid.
    around
        What the patches are centred on where there is no path and no cord: a mask or weights.
    cord
        Share of the voxel that is cord: its outline at 0.5 is drawn.
    path
        slice, x, y (voxels of the upright frame): the centre of the patches.
    limits
        Values of the first and the last colour.
    unit
        Of the maps, for the scale; in words or signs.
    field_mm
        Edge of a patch; mm.
    most
        Slices shown at most, evenly chosen.
    """
    first = next(iter(rows.values()))
    values = {name: upright(one) for name, one in rows.items()}
    outline = None if cord is None else upright(cord)
    middle = outline if outline is not None and (outline > 0.5).any() else None if around is None else upright(around)
    shape = next(iter(values.values())).shape
    way = course(shape, middle, path)
    px, py, _ = first.oriented("LAS").grid.voxel_size
    chosen = sorted({round(z) for z in np.linspace(way.last, way.first, min(most, way.last - way.first + 1))}, reverse=True)
    step = field_mm / _SIDE
    offset = (_SIDE / 2 - np.arange(_SIDE) - 0.5) * step
    sheet = np.full((len(values) * _SIDE, len(chosen) * _SIDE), np.nan, np.float32)
    lines: list[Array] = []
    for row, one in enumerate(values.values()):
        for column, z in enumerate(chosen):
            across, up = way.x[z] + offset / px, way.y[z] + offset / py
            place = np.s_[row * _SIDE : (row + 1) * _SIDE, column * _SIDE : (column + 1) * _SIDE]
            sheet[place] = sampled(one[:, :, z], across, up, order=0)
            if outline is not None:
                lines += [p + (column * _SIDE, row * _SIDE) for p in contours(sampled(outline[:, :, z], across, up, order=1))]
    return _drawn(sheet, lines, list(values), chosen, limits, unit)


def _drawn(sheet: Array, lines: list[Array], names: list[str], chosen: list[int], limits: tuple[float, float], unit: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    left = _LEFT if any(names) else 10
    width, height = sheet.shape[1] + left + _RIGHT, sheet.shape[0] + _TOP + 10
    figure = Figure((width / 72, height / 72), dpi=72, facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, 10 / height, sheet.shape[1] / width, sheet.shape[0] / height))
    shown = axes.imshow(
        sheet, cmap="viridis", vmin=limits[0], vmax=limits[1], extent=(0, sheet.shape[1], sheet.shape[0], 0), interpolation="nearest"
    )
    axes.add_collection(LineCollection(lines, colors=COLOURS["cord"], linewidths=1.3), autolim=False)
    axes.axis("off")
    write: dict[str, Any] = {"fontsize": FONT, "family": "DejaVu Sans", "parse_math": False}
    for column, z in enumerate(chosen):
        axes.text((column + 0.5) * _SIDE, -8, str(z), color=SOFT, ha="center", va="bottom", **write)
    for row, name in enumerate(names):
        axes.text(-8, (row + 0.5) * _SIDE, name, color=INK, ha="right", va="center", **write)
    for x, y, letter in ((0.06, 0.5, "L"), (0.94, 0.5, "R"), (0.5, 0.08, "A"), (0.5, 0.92, "P")):
        axes.text(x * _SIDE, y * _SIDE, letter, color=INK, ha="center", va="center", **write)
    bar_axes = figure.add_axes(((width - _RIGHT + 14) / width, 10 / height, 16 / width, sheet.shape[0] / height))
    bar = figure.colorbar(shown, cax=bar_axes)
    bar.ax.tick_params(colors="0.8", labelsize=FONT - 2)
    bar.outline.set_edgecolor("0.5")  # type: ignore[operator]
    figure.text((width - 8) / width, 1 - 6 / height, unit, color=SOFT, ha="right", va="top", **write)
    return picture(figure)
