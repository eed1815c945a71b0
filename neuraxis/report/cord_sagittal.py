"""The cord from the side: a view that follows it, with discs, levels and the pontomedullary junction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.vertebrae import CONUS, PMG, PMJ, disc_name, vertebra_name
from neuraxis.report.cord_slices import Course, course, slice_levels, upright
from neuraxis.report.sheet import COLOURS, Sheet, contours
from neuraxis.report.slices import tilt
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_HEIGHT, _WIDTH, _FONT = 1150, 620, 13  # pixels: at most, of the image alone
_FRONT_MM, _BACK_MM, _ENDS_MM = 45.0, 32.0, 18.0
_EVEN_MM = 20.0  # width over which brightness along the cord is evened
_TRUSTED, _DOUBTED = "#ffffff", "#a0a0a0"
_DISC, SPECIAL, _LEVEL = "#56b4e9", "#f0e442", ("#e6e6e6", "#8f8f8f")


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a view from the side lie: fractional voxels x and z per row, y per column; front is left."""

    x: Array
    y: Array
    z: Array
    scale: float  # pixels per mm
    size: tuple[float, float, float]

    def column(self, y: float) -> float:
        return float((self.y[0] - y) * self.size[1] * self.scale + 0.5)

    def row(self, z: float) -> float:
        return float((self.z[0] - z) * self.size[2] * self.scale + 0.5)


def plane_around(
    volume: Volume, way: Course, x: Array | float | None, extra: Sequence[int], mm: tuple[float, float, float]
) -> Plane:
    """Around the cord and the slices `extra`; `mm` are the margins in front, behind and at the ends."""
    grid = volume.oriented("LAS").grid
    size = grid.voxel_size
    low, high = min([way.first, *extra]), max([way.last, *extra])
    ends = math.ceil(min(mm[2] / size[2], grid.shape[2]))
    low, high = max(0, low - ends), min(grid.shape[2] - 1, high + ends)
    front = min(grid.shape[1] - 0.5, way.y[low : high + 1].max() + mm[0] / size[1])
    back = max(-0.5, way.y[low : high + 1].min() - mm[1] / size[1])
    tall, wide = (high - low + 1) * size[2], (front - back) * size[1]
    scale = min(8.0, _HEIGHT / tall, _WIDTH / wide)
    z = high + 0.5 - (np.arange(max(1, round(tall * scale))) + 0.5) / (scale * size[2])
    y = front - (np.arange(max(1, round(wide * scale))) + 0.5) / (scale * size[1])
    if x is None:
        x = np.interp(z, np.arange(len(way.x)), way.x)
    return Plane(np.broadcast_to(np.asarray(x, float), z.shape), y, z, scale, size)


def seen_on(data: Array, plane: Plane, order: int = 3) -> Array:
    """(rows, columns) of a volume on a plane; thick slices stay the steps that they are."""
    from scipy.ndimage import map_coordinates

    thick = plane.size[2] > 1.8 * max(plane.size[:2])
    z = np.clip(np.rint(plane.z), 0, data.shape[2] - 1) if thick else plane.z
    low = [max(0, math.floor(at.min()) - 6) for at in (plane.x, plane.y, z)]
    high = [math.ceil(at.max()) + 7 for at in (plane.x, plane.y, z)]
    part = data[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    if not part.size:
        return np.zeros((len(z), len(plane.y)), np.float32)
    shape = (len(z), len(plane.y))
    at = [
        np.broadcast_to(values, shape)
        for values in ((plane.x - low[0])[:, None], (plane.y - low[1])[None, :], (z - low[2])[:, None])
    ]
    mode = "nearest" if order > 1 else "grid-constant"
    return np.clip(map_coordinates(part.astype(np.float32), at, order=order, mode=mode), part.min(), part.max())


def greys(values: Array, scale: float) -> Array:
    """Greys, with half of the slow change of brightness along the cord (coils) taken out."""
    from scipy.ndimage import gaussian_filter1d

    if values.shape[0] * scale and values.max() > 0 and values.min() >= 0:
        bright = gaussian_filter1d(np.percentile(values, 95, axis=1), _EVEN_MM * scale, mode="nearest")
        values = values / np.sqrt(np.maximum(bright, 0.1 * bright.max()))[:, None]
    low, high = (float(v) for v in np.percentile(values, (1, 99.3)))
    high = high if high > low else low + (abs(low) or 1.0)
    return (np.rint(255 * np.clip((values - low) / (high - low), 0, 1) ** 0.8) // 2 * 2).astype(np.uint8)


def _points(volume: Volume | None) -> dict[int, Array]:
    """Value -> mean place of its voxels, in the upright frame."""
    if volume is None:
        return {}
    data = np.rint(upright(volume)).astype(int)
    where = np.argwhere(data != 0)
    values = data[tuple(where.T)]
    return {int(value): where[values == value].mean(0) for value in np.unique(values)}


def distrust(level_table: Table | None, levels: bool, discs: bool) -> str:
    """One line on why the levels, or some of them, should not be believed; empty when they may be."""
    none = (
        ""
        if levels
        else "No vertebral levels were made of the discs."
        if discs
        else "No vertebral levels: no disc is labelled."
    )
    if level_table is None or not len(level_table):
        return none
    rows = list(level_table.rows())
    doubted = [row for row in rows if not row.get("trusted", 1)]
    why = "; ".join(
        dict.fromkeys(str(row.get("why", "")).strip() for row in doubted if str(row.get("why", "")).strip())
    )
    if not doubted:
        return none
    names = [str(row["name"]) if row.get("name") else vertebra_name(int(row["level"])) for row in doubted]
    which = "Levels not trusted" if len(doubted) == len(rows) else f"Levels not trusted ({', '.join(names)})"
    return f"{which}: {why}." if why else f"{which}."


def sagittal(
    image: Volume,
    cord: Volume | None,
    discs: Volume | None = None,
    levels: Volume | None = None,
    level_table: Table | None = None,
    pmj: Volume | None = None,
    centerline: Table | None = None,
    *,
    compression: Volume | None = None,
    named: Callable[[int], str] = vertebra_name,
    warn: bool = True,
) -> tuple[bytes, bytes | None]:
    """The cord from the side in true mm: every row is taken where the cord runs, so that a curved cord stays in view.

    Parameters
    ----------
    image, cord
        Any contrast and orientation; the outline of the cord at 0.5.
    discs, pmj, compression
        Labels; drawn at their height and depth, whatever their side.
    levels
        Vertebral or spinal levels: their names stand behind the cord, where they begin and end.
    level_table
        level, name, trusted, why: levels that are not trusted are hollow, and a banner says why.
    centerline
        slice, x, y (voxels of the upright frame); without it the centre of the cord.
    named
        Number of a level -> its name.
    warn
        Whether a missing or doubted labelling is written over the picture.

    Returns
    -------
    The picture, and its outline and labels as a transparent picture of the same size: two PNG files.
    """
    grey = upright(image)
    grey = grey if grey.ndim == 3 else grey[..., 0]
    mask = None if cord is None else upright(cord)
    way = course(grey.shape, mask, centerline)
    points, special = _points(discs), _points(pmj)
    for value in (PMG, PMJ):
        if value in points:
            special.setdefault(value, points.pop(value))
    reach = [int(round(at[2])) for at in (*points.values(), *special.values())]
    margins = (_FRONT_MM, _BACK_MM, _ENDS_MM) if way.found else (math.inf,) * 3
    plane = plane_around(image, way, None, reach, margins)
    names = slice_levels(None if levels is None else upright(levels), named)
    banner = distrust(level_table, bool(names), bool(points)) if warn else ""
    if not way.found:
        banner = "No cord was found: the middle of the image." + ("\n" + banner if banner else "")
    sheet, left, top = sheet_of(image, plane, greys(seen_on(grey, plane), plane.scale), banner, follows=way.found)
    if mask is not None:
        found = contours(seen_on(mask, plane, order=1))
        sheet.lines([line + (left, top) for line in found], COLOURS["cord"], width=1.6)
    doubted = _doubted(level_table)
    draw_levels(sheet, plane, names, way, (left, top), doubted)
    marks = [(disc_name(value), at, _DISC, "o", _disc_doubted(value, doubted)) for value, at in points.items()]
    marks += [(disc_name(value), at, SPECIAL, "D", False) for value, at in special.items()]
    for z in np.unique(_each(compression)[:, 2]).astype(int):
        marks.append(("compression", np.array([0.0, way.y[z], z]), COLOURS["compression"], "<", False))
    _marks(sheet, plane, marks, (left, top))
    return sheet.png(), sheet.over_png()


def _each(volume: Volume | None) -> Array:
    return np.empty((0, 3)) if volume is None else np.argwhere(upright(volume) != 0)


def _disc_doubted(disc: int, doubted: Mapping[str, bool]) -> bool:
    """A disc is doubted when every level that it borders is."""
    if disc in (PMG, PMJ, CONUS):
        return False
    beside = [doubted[name] for n in (disc - 1, disc) if n > 0 and (name := vertebra_name(n)) in doubted]
    return bool(beside) and all(beside)


def _doubted(table: Table | None) -> dict[str, bool]:
    if table is None or "trusted" not in table:
        return {}
    return {str(row.get("name") or vertebra_name(int(row["level"]))): not row["trusted"] for row in table.rows()}


def sheet_of(image: Volume, plane: Plane, grey: Array, banner: str, follows: bool) -> tuple[Sheet, int, int]:
    """The image with its margins: names left, slice numbers and levels right, banner above, facts below."""
    import textwrap

    high, wide = grey.shape
    left, right = round(7.5 * _FONT), 8 * _FONT
    width = max(wide + left + right, 460)
    left += (width - wide - left - right) // 2
    per_line = int(width / (0.7 * _FONT))
    warned = "\n".join(line for part in banner.split("\n") for line in textwrap.wrap(part, per_line)) if banner else ""
    line = round(1.4 * _FONT)
    top = line * len(warned.split("\n")) + line // 2 + 4 if warned else 4
    said = textwrap.wrap(_facts(image, plane, follows), int(width / (0.6 * _FONT)))
    sheet = Sheet(width, top + high + line * len(said) + 10, _FONT)
    if warned:
        sheet.banner(warned, 0, top - 4)
    sheet.paste(left, top, grey)
    for x, y, letter in ((0.03, 0.5, "A"), (0.97, 0.5, "P"), (0.5, 0.02, "S"), (0.5, 0.98, "I")):
        sheet.text(left + x * wide, top + min(max(y * high, _FONT), high - _FONT), letter)
    bar_mm = 20 if 20 * plane.scale < 0.38 * wide else 10 if 10 * plane.scale < 0.38 * wide else 5
    bar = bar_mm * plane.scale
    sheet.lines(
        [np.array([(left + 8, top + high - 8), (left + 8 + bar, top + high - 8)])], "white", over=False, width=2
    )
    sheet.text(left + 12 + bar, top + high - 9, f"{bar_mm} mm", align="left", size=0.85 * _FONT)
    lowest, highest = math.ceil(plane.z[-1] - 0.5), math.floor(plane.z[0] + 0.5)
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200) if (highest - lowest) / n <= max(3, high / 60))
    edge = left + wide
    for z in range(-(-lowest // step) * step, highest + 1, step):
        y = top + plane.row(z)
        sheet.lines([np.array([(edge + 1, y), (edge + 5, y)])], "0.6", over=False, width=1)
        if top + 1.6 * _FONT < y < top + high - 0.5 * _FONT:
            sheet.text(edge + 8, y, str(z), "0.6", align="left", size=0.8 * _FONT)
    sheet.text(edge + 8, top + 0.6 * _FONT, "slice", "0.6", align="left", size=0.8 * _FONT)
    for number, text in enumerate(said):
        sheet.text(_FONT, top + high + (number + 0.8) * line + 4, text, "0.62", align="left", size=0.92 * _FONT)
    return sheet, left, top


def _facts(image: Volume, plane: Plane, follows: bool) -> str:
    said = ["every row where the cord runs, front left" if follows else "one sagittal plane, front left"]
    said.append("voxels " + " × ".join(f"{v:.3g}" for v in plane.size) + f" mm drawn at {1 / plane.scale:.2g} mm")
    if (angle := tilt(image.oriented("LAS").grid.matrix)) > 1:
        said.append(f"along the voxel axes, {angle:.0f}° from the scanner's")
    return "; ".join(said)


def draw_levels(
    sheet: Sheet,
    plane: Plane,
    names: Mapping[int, str],
    way: Course,
    corner: tuple[int, int],
    doubted: Mapping[str, bool],
) -> None:
    """A bar behind the cord from the top to the bottom of every level, with its name."""
    left, top = corner
    behind = 20 / plane.size[1]
    for number, name in enumerate(dict.fromkeys(names[z] for z in sorted(names))):
        slices = [z for z in names if names[z] == name]
        low, high = min(slices), max(slices)
        z = np.linspace(high + 0.45, low - 0.45, 24)
        y = np.interp(z, np.arange(len(way.y)), way.y) - behind
        bar = np.array([(left + plane.column(b), top + plane.row(a)) for a, b in zip(z, y, strict=True)])
        bad = doubted.get(name, False)
        sheet.lines([bar], _LEVEL[number % 2], width=3, dashed=bad)
        x = float(np.interp((low + high) / 2, z[::-1], bar[::-1, 0]))
        sheet.text(x + 8, top + plane.row((low + high) / 2), name + (" ?" if bad else ""), _DOUBTED if bad else _TRUSTED,
                   over=True, align="left", bold=not bad, size=1.05 * sheet.font)  # fmt: skip


def _marks(
    sheet: Sheet, plane: Plane, marks: Sequence[tuple[str, Array, str, str, bool]], corner: tuple[int, int]
) -> None:
    """Points with their names in the left margin, moved apart where they would overlap."""
    left, top = corner
    placed = sorted(marks, key=lambda mark: -mark[1][2])
    heights: list[float] = []
    for _, at, *_rest in placed:
        y = top + plane.row(at[2])
        heights.append(max(y, heights[-1] + 1.15 * sheet.font) if heights else y)
    for (name, at, colour, marker, hollow), height in zip(placed, heights, strict=True):
        x, y = left + plane.column(at[1]), top + plane.row(at[2])
        sheet.lines([np.array([(left - 4, height), (left + 6, height), (x - 5, y)])], colour, width=0.9, alpha=0.7)
        sheet.point(x, y, colour, marker=marker, hollow=hollow)
        sheet.text(left - 8, height, name + (" ?" if hollow else ""), colour, over=True, align="right")
