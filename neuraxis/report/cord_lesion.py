"""A lesion from the side, with the tissue that is left in front of it and behind it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuraxis.report.cord_sagittal import SPECIAL, draw_levels, greys, plane_around, seen_on, sheet_of
from neuraxis.report.cord_slices import Course, course, slice_levels, upright
from neuraxis.report.sheet import COLOURS, contours
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def lesion_view(
    image: Volume, cord: Volume, lesion: Volume, table: Table | None = None, *, levels: Volume | None = None
) -> tuple[bytes, bytes | None]:
    """The largest lesion from the side, in the middle of the cord, with the tissue left in front of and behind it.

    Where `table` (lesion, midsagittal_slice, dorsal_bridge, ventral_bridge) has a row for it, plane and numbers are those
    of the analysis. Without it the plane lies at the mean centre of the cord in the five slices around the lesion's centre,
    and the bridges are the smallest distances between the outlines, across the cord. The lines lie where the picture has
    them.
    """
    grey, mask, found = upright(image), upright(cord), upright(lesion)
    grey = grey if grey.ndim == 3 else grey[..., 0]
    way = course(grey.shape, mask, None)
    largest, part = _largest(found)
    if not part.any():
        plane = plane_around(image, way, None, (), (25.0, 25.0, 10.0))
        sheet, left, top = sheet_of(
            image, plane, greys(seen_on(grey, plane), plane.scale), "No lesion.", follows=way.found
        )
        sheet.lines([p + (left, top) for p in contours(seen_on(mask, plane, 1))], COLOURS["cord"], width=1.6)
        return sheet.png(), sheet.over_png()
    where = np.argwhere(part)
    middle = round(float(where[:, 2].mean()))
    measured = _row(table, largest)
    x = measured.get("midsagittal_slice", float(way.x[max(0, middle - 2) : middle + 3].mean()))
    near = Course(way.x, way.y, max(0, int(where[:, 2].min())), int(where[:, 2].max()), way.found)
    plane = plane_around(image, near, x, (), (25.0, 25.0, 22.0))
    sheet, left, top = sheet_of(image, plane, greys(seen_on(grey, plane), plane.scale), "", follows=False)
    cord_seen, seen = seen_on(mask, plane, 1), seen_on(part.astype(np.float32), plane, 1)
    others = seen_on(((found > 0.5) & ~part).astype(np.float32), plane, 1)
    sheet.lines([p + (left, top) for p in contours(cord_seen)], COLOURS["cord"], width=1.6)
    sheet.lines([p + (left, top) for p in contours(others)], COLOURS["lesion"], width=1.2, dashed=True)
    sheet.lines([p + (left, top) for p in contours(seen)], COLOURS["lesion"], width=1.8)
    bridges = _bridges(cord_seen > 0.5, seen > 0.5)
    slope = (
        np.gradient(way.y)[near.first : near.last + 1].mean() * plane.size[1] / plane.size[2] if len(way.y) > 1 else 0.0
    )
    across = math.cos(math.atan(slope))  # of a distance along the row, what lies across the cord
    for name, (row, first, last) in bridges.items():
        y = top + row + 0.5
        sheet.lines([np.array([(left + first, y), (left + last, y)])], SPECIAL, width=2.2)
        ventral = name == "ventral"
        long = measured.get(f"{name}_bridge", (last - first) * across / plane.scale)
        sheet.text(left + (first - 10 if ventral else last + 10), y, f"{name} {long:.1f} mm", SPECIAL,
                   over=True, align="right" if ventral else "left")  # fmt: skip
    if not bridges:
        sheet.text(
            left + 8, top + 2 * sheet.font, "the lesion does not reach this plane", SPECIAL, over=True, align="left"
        )
    names = slice_levels(None if levels is None else upright(levels))
    kept = {z: name for z, name in names.items() if plane.z[-1] <= z <= plane.z[0]}
    draw_levels(sheet, plane, kept, way, (left, top), {})
    return sheet.png(), sheet.over_png()


def _row(table: Table | None, lesion: int) -> dict[str, float]:
    """The numbers known of one lesion."""
    if table is None or "lesion" not in table:
        return {}
    row = next((row for row in table.rows() if row["lesion"] == lesion), {})
    return {name: float(v) for name, v in row.items() if isinstance(v, (int, float)) and math.isfinite(v)}


def _largest(lesion: Array) -> tuple[int, Array]:
    """The lesion with the most voxels: of labels by value, of a mask by its connected parts (18 neighbours)."""
    from scipy.ndimage import generate_binary_structure, label

    values = np.rint(lesion).astype(int)
    parts: Any = values if values.max() > 1 else label(lesion > 0.5, generate_binary_structure(3, 2))[0]
    counts = np.bincount(parts.ravel())[1:]
    number = int(counts.argmax()) + 1 if counts.size and counts.any() else 0
    return number, (parts == number) & (number > 0)


def _bridges(cord: Array, lesion: Array) -> dict[str, tuple[int, float, float]]:
    """Side -> row and columns of the narrowest tissue between lesion and edge of the cord; front is left."""
    best: dict[str, tuple[int, float, float]] = {}
    for row in np.flatnonzero((cord & lesion).any(1)):
        edges, inner = np.flatnonzero(cord[row]), np.flatnonzero(lesion[row] & cord[row])
        for name, first, last in (("ventral", edges[0], inner[0]), ("dorsal", inner[-1] + 1, edges[-1] + 1)):
            if name not in best or last - first < best[name][2] - best[name][1]:
                best[name] = int(row), float(first), float(last)
    return best
