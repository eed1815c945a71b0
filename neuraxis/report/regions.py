"""The regions of the brain drawn on its image: outlines in the colours of their structures, in slices through the deep nuclei."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuraxis.brain.regions import Structure, structures
from neuraxis.report.sheet import Sheet, contours
from neuraxis.report.slices import PLANES, Image, Panel, cut, extent, turned, where_text
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_PIXELS_PER_MM = 2.6
_FONT = 13.0
_GAP = 6
_COLUMNS = 3

_PALETTE = (
    "#56b4e9", "#ffb000", "#7fe0b0", "#ff8fc8", "#f0e442", "#c9a2ff", "#ff6f59", "#4fd1ff", "#b6e880", "#ffd6a5", "#9db4ff", "#ff4fa3", "#00c08b",
)  # fmt: skip
"""One colour per structure, in turn."""

_FAINT = ("cerebral cortex", "cerebral white matter", "cerebellar cortex", "cerebellar white matter")
"""Their folds would hide all else."""

_UNSEEN = ("cerebrospinal fluid",)

_SHOWN = ("red nucleus", "globus pallidus internus", "globus pallidus", "putamen", "thalamus", "caudate", "dentate nucleus", "hippocampus")
"""Axial slices go through the middle of the first four of these that are there; coronal ones through the first two."""


def regions_picture(image: Volume, labels: Volume, names: Table | None = None) -> tuple[bytes, bytes | None]:
    """Six slices of the image, and the outlines of the labels as a transparent picture over it.

    Parameters
    ----------
    image
        What it is drawn on; (X, Y, Z), any unit.
    labels
        Whole numbers on the same grid, those of the merged table or of `names`.
    names
        index and name of given labels.

    Returns
    -------
    Two PNG files of one size; the second is None where there is no label.
    """
    shown = turned(np.asarray(image.data, np.float32), np.asarray(labels.data) != 0, labels.grid)
    drawn = turned(np.asarray(labels.data), None, labels.grid, like=shown).data
    values = shown.data[drawn != 0]
    low, high = np.percentile(values, [1, 99]) if values.size else (0.0, 1.0)
    known = structures(names)
    panels = _panels(shown, drawn, known)
    sizes = [tuple(max(1, round(mm * _PIXELS_PER_MM)) for mm in extent(shown, panel)) for panel in panels]
    rows = [list(range(n, min(n + _COLUMNS, len(panels)))) for n in range(0, len(panels), _COLUMNS)]
    width = max(sum(sizes[n][0] + _GAP for n in row) for row in rows)
    line = round(1.5 * _FONT)
    there = [one for one in known if one.name not in _UNSEEN and np.isin(drawn, (one.left, one.right)).any()]
    per_row = max(1, int(width // (20 * _FONT)))
    legend = -(-len(there) // per_row)
    heights = [max(sizes[n][1] for n in row) + line for row in rows]
    sheet = Sheet(width, sum(heights) + legend * line + 6, _FONT)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for n in row:
            _panel(sheet, shown, drawn, known, panels[n], (left, top + line), sizes[n], (float(low), float(high)))
            sheet.text(left + sizes[n][0] / 2, top + line / 2, where_text(shown, panels[n]), "0.75", halo=False)
            left += sizes[n][0] + _GAP
        top += height
    for number, one in enumerate(there):
        x, y = (number % per_row) * width / per_row + 8, top + (number // per_row + 0.5) * line + 3
        sheet.lines([np.array([(x, y), (x + 14, y)])], _colour(one, known), over=False, width=3)
        sheet.text(x + 20, y, f"{one.short}  {one.name}".strip(), "0.85", align="left", size=0.9 * _FONT, halo=False)
    return sheet.png(), sheet.over_png()


def _colour(structure: Structure, known: Sequence[Structure]) -> str:
    return "#cccccc" if structure.name in _FAINT else _PALETTE[known.index(structure) % len(_PALETTE)]


def _panels(image: Image, labels: Array, known: Sequence[Structure]) -> list[Panel]:
    """Axial and coronal slices through the middle of what should be seen; evenly spread ones where nothing of it is there."""
    found: dict[str, list[int]] = {"axial": [], "coronal": []}
    for one in (one for name in _SHOWN for one in known if one.name.lower() == name):
        where = np.argwhere(np.isin(labels, (one.left, one.right)))
        for plane, most in (("axial", 4), ("coronal", 2)):
            if len(where) and len(found[plane]) < most:
                at = int(np.median(where[:, PLANES[plane][0]]))
                if all(abs(at - other) * image.size[PLANES[plane][0]] > 4 for other in found[plane]):
                    found[plane].append(at)
    for plane, most in (("axial", 4), ("coronal", 2)):
        first, last = image.core[PLANES[plane][0]]
        for share in (0.5, 0.35, 0.65, 0.8):
            if len(found[plane]) < most and (at := first + int(share * (last - first))) not in found[plane]:
                found[plane].append(at)
    return [Panel(plane, at, 0, 0, 0.0) for plane in found for at in sorted(found[plane])]


def _panel(
    sheet: Sheet, image: Image, labels: Array, known: Sequence[Structure], panel: Panel, corner: tuple[int, int], size: tuple[int, ...],
    limits: tuple[float, float],
) -> None:  # fmt: skip
    """The slice with the patient's left on the left and up above; and the outlines of its labels."""
    from PIL import Image as Picture

    low, high = limits
    grey = np.clip((cut(image.data, panel) - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    seen = Picture.fromarray(np.ascontiguousarray(grey.T[::-1])).resize((size[0], size[1]), Picture.Resampling.BICUBIC)
    sheet.paste(*corner, np.asarray(seen))
    names = cut(labels, panel)
    scale = np.array([size[0] / names.shape[0], size[1] / names.shape[1]])
    for one in sorted(known, key=lambda one: one.name not in _FAINT):
        faint = one.name in _FAINT
        for number in () if one.name in _UNSEEN else sorted({one.left, one.right}):
            here = names == number
            if here.any():
                inside = np.pad(here, 1).astype(float)
                for path in ((line - 1.0)[:, ::-1] for line in contours(inside)):
                    x, y = path[:, 0] * scale[0], (names.shape[1] - path[:, 1]) * scale[1]
                    width, alpha = (0.5, 0.35) if faint else (1.4, 1.0)
                    sheet.lines([np.stack([x, y], -1) + corner], _colour(one, known), width=width, alpha=alpha)
    for x, y, letter in ((0.03, 0.5, PLANES[panel.plane][3][0]), (0.97, 0.5, PLANES[panel.plane][3][1])):
        sheet.text(corner[0] + x * size[0], corner[1] + y * size[1], letter)
