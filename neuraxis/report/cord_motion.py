"""Motion of a series as a picture: one slice over time before and after, and the shifts of all slices."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from neuraxis.report.cord_slices import course, inside, sampled, upright
from neuraxis.report.plots import FONT, INK, LINE, SOFT, picture
from neuraxis.report.sheet import Sheet
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

FRAMES = 24
"""Most volumes in the moving picture."""

_FIELD_MM, _SIDE, _FONT, _PAUSE_MS = 36.0, 200, 15, 250


def film(series: Volume, corrected: Volume, weights: Volume, motion: Table, volumes: Table | None) -> bytes:
    """One axial slice in one volume after the other, before motion correction on the left and after it on the right.

    The slice that moved most; of a diffusion series the diffusion-weighted volumes, if it has any. At most `FRAMES` volumes, evenly chosen. A
    cross in the middle stands still. An animated PNG, which browsers play without a script.
    """
    from PIL import Image

    weighted = np.ones(series.data.shape[3], bool) if volumes is None else volumes["weighted"] == 1
    chosen = np.flatnonzero(weighted if weighted.any() else ~weighted)
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(FRAMES, len(chosen))).round().astype(int))]
    stacks = [upright(Volume(one.data[..., chosen], one.grid)) for one in (series, corrected)]
    around = upright(weights)
    way = course(stacks[0].shape, around, None)
    shifts = np.hypot(motion["x"], motion["y"]).reshape(series.data.shape[3], -1)[chosen].mean(0)
    z = int(way.first + shifts[way.first : way.last + 1].argmax())
    px, py, _ = series.oriented("LAS").grid.voxel_size
    offset = (_SIDE / 2 - np.arange(_SIDE) - 0.5) * _FIELD_MM / _SIDE
    across, up = way.x[z] + offset / px, way.y[z] + offset / py
    there = inside(stacks[0].shape, across, up)
    high = float(np.percentile(stacks[1][:, :, z][around[:, :, z] > 0.5], 99)) or 1.0
    line, gap = 2 * _FONT, 8
    frames = []
    for number, volume in enumerate(chosen):
        sheet = Sheet(2 * _SIDE + gap, _SIDE + line, _FONT)
        for side, stack in enumerate(stacks):
            grey = np.clip(sampled(stack[:, :, z, number], across, up, order=0) / high, 0, 1)
            sheet.paste(side * (_SIDE + gap), line, np.where(there, np.rint(63 * grey) * 4, 0).astype(np.uint8))
            middle = np.array([side * (_SIDE + gap) + _SIDE / 2, line + _SIDE / 2])
            sheet.lines([middle + np.array([(-12, 0), (12, 0)]), middle + np.array([(0, -12), (0, 12)])], LINE, over=False, width=1)
            sheet.text(middle[0], line / 2, ("before", "after")[side] + f" · volume {volume}", "0.85")
        frames.append(Image.open(io.BytesIO(sheet.png())).convert("RGB").quantize(64, dither=Image.Dither.NONE))
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:], duration=_PAUSE_MS, loop=0)
    return out.getvalue()


def chart(motion: Table) -> bytes:
    """Shifts over time, to the right and to the front: every slice a thin line, their mean a thick one; outliers as crosses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    number = int(motion["volume"].max()) + 1
    volumes = np.arange(number)
    bad = motion["outlier"].reshape(number, -1) == 1
    figure = Figure((1520 / 72, 300 / 72), dpi=72, facecolor="black")
    FigureCanvasAgg(figure)
    reach = max(0.5, 1.1 * float(np.abs(np.r_[motion["x"], motion["y"]]).max()))
    words: dict[str, Any] = {"family": "DejaVu Sans", "parse_math": False}
    for side, (axis, title) in enumerate((("x", "To the right (mm)"), ("y", "To the front (mm)"))):
        axes = figure.add_axes(((side * 760 + 74) / 1520, 58 / 300, 670 / 1520, 196 / 300), facecolor="black")
        shifts = motion[axis].reshape(number, -1)
        colours = _shades(shifts.shape[1])
        for z in range(shifts.shape[1]):
            axes.plot(volumes, shifts[:, z], color=colours[z], linewidth=0.8, alpha=0.8)
        known = np.where(bad.all(1), np.nan, (~bad).sum(1))  # a gap where the whole volume is lost
        axes.plot(volumes, np.where(bad, 0, shifts).sum(1) / known, color=LINE, linewidth=2.4)
        at, where = np.nonzero(bad)
        axes.plot(at, shifts[at, where], "x", color="#ff4fa3", markersize=8, markeredgewidth=2)
        axes.set(ylim=(-reach, reach), xlim=(-0.5, number - 0.5))
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("0.45")
        axes.tick_params(colors="0.75", labelsize=FONT - 1)
        axes.grid(axis="y", color="0.2", linewidth=0.8)
        axes.set_title(title, loc="left", color=INK, fontsize=FONT + 1, **words)
        axes.set_xlabel("volume", color=SOFT, fontsize=FONT, **words)
    return picture(figure)


def _shades(number: int) -> Array:
    """Blue, brighter for lower slices."""
    from matplotlib import colormaps

    return colormaps["Blues"](np.linspace(0.35, 0.85, number))


def said(quality: Table | None, motion: Table) -> str:
    """What the chart cannot show, in words."""
    text = "Shifts of every slice (thin, brighter for lower slices) and their mean (amber); pink crosses are outliers."
    for row in quality.rows() if quality is not None else ():
        if row["lost"]:
            text += f" {row['lost']} of {row['volumes']} volumes{_of(row)} {'is' if row['lost'] == 1 else 'are'} lost: no motion is known of them."
        if np.isfinite(row["shift_before"]):
            text += f" Mean shift{_of(row)} {row['shift_before']:.2f} mm before, {row['shift_after']:.2f} mm found again after;"
            text += f" tSNR around the cord {row['tsnr_before']:.1f} before, {row['tsnr_after']:.1f} after."
    return text + f" {int(motion['outlier'].sum())} of {len(motion)} slices are outliers."


def _of(row: dict[str, Any]) -> str:
    return "" if row["kind"] == "all" else f" of {row['kind']}"
