"""Volume -> slices: turned to the patient's axes, cropped, and chosen where there is something to see."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuraxis.volume import Array, Grid

PLANES = {"axial": (2, 0, 1, "LRPA"), "coronal": (1, 0, 2, "LRIS"), "sagittal": (0, 1, 2, "PAIS")}
"""Plane -> the axis across it, those from left to right and from bottom to top, the letters at their four ends."""

LAYOUTS = ((5, 2, 2), (3, 1, 1), (1, 1, 1))
"""Numbers of axial, coronal and sagittal slices: from rich to sparse."""

_MARGIN_MM = 12.0  # enough around a brain to see what a mask has left out
_FRACTIONS = {1: (0.5,), 2: (0.4, 0.58), 3: (0.32, 0.5, 0.68), 5: (0.2, 0.35, 0.5, 0.65, 0.8)}


@dataclass(frozen=True)
class Image:
    """A volume turned to the closest RAS+ axes and cropped to `box`; slices are taken between the ends of `core`."""

    data: Array
    matrix: Array
    size: Array
    box: tuple[slice, ...]
    core: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Panel:
    plane: str
    index: int
    echo: int
    row: int
    cell: float  # mm: the least width of its place


def foreground(data: Array) -> Array:
    """Where there is something: not zero; for a magnitude, which is nowhere zero, above a tenth of its bright end."""
    flat = data if data.ndim == 3 else np.abs(data[..., 0])
    flat = np.nan_to_num(np.asarray(flat, np.float32))
    found = flat != 0
    if found.mean() > 0.95 and flat.min() >= 0:
        found = flat > 0.1 * np.percentile(flat, 99)
    return found


def turned(data: Array, where: Array | None, grid: Grid, like: Image | None = None) -> Image:
    """`data` along the closest RAS+ axes, cropped around `where`, or as `like` was."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn = io_orientation(grid.matrix)
    data = apply_orientation(data, turn)
    if like is not None:
        return Image(data[like.box], like.matrix, like.size, like.box, like.core)
    matrix = grid.matrix @ inv_ornt_aff(turn, grid.shape)
    size = np.linalg.norm(matrix[:3, :3], axis=0)
    inside = apply_orientation(np.asarray(where) != 0, turn) if where is not None else np.ones(data.shape[:3], bool)
    if inside.ndim > 3:
        inside = inside.any(axis=-1)
    box, core = [], []
    for axis in range(3):
        used = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, data.shape[axis])
        margin = math.ceil(_MARGIN_MM / size[axis])
        box.append(slice(max(0, first - margin), min(data.shape[axis], last + margin)))
        core.append((first - box[-1].start, last - box[-1].start))
    corner = matrix.copy()
    corner[:3, 3] += matrix[:3, :3] @ [b.start for b in box]
    return Image(data[tuple(box)], corner, size, tuple(box), tuple(core))


def _places(image: Image, plane: str, number: int) -> list[int]:
    first, last = image.core[PLANES[plane][0]]
    return sorted({first + int(f * (last - first)) for f in _FRACTIONS[number]})


def rows_of(image: Image, layout: tuple[int, int, int]) -> list[Panel]:
    """One volume: axial slices above, coronal and sagittal ones below."""
    return [
        Panel(plane, index, 0, row, 0.0)
        for row, plane, number in zip((0, 1, 1), PLANES, layout, strict=True)
        for index in _places(image, plane, number)
    ]


def columns_of(image: Image, echoes: int) -> list[Panel]:
    """Several echoes: one column each, one row per plane."""
    chosen = sorted({round(e) for e in np.linspace(0, image.data.shape[3] - 1, echoes)})
    widest = max(image.data.shape[axis] * image.size[axis] for axis in (0, 1))
    return [
        Panel(plane, index, echo, row, float(widest))
        for row, plane in enumerate(PLANES)
        for echo in chosen
        for index in _places(image, plane, 1)
    ]


def cut(data: Array, panel: Panel) -> Array:
    """The numbers of a panel, (across, up)."""
    one = data if data.ndim == 3 else data[..., panel.echo]
    return one[(slice(None),) * PLANES[panel.plane][0] + (panel.index,)]


def extent(image: Image, panel: Panel) -> tuple[float, float]:
    """Width and height of a panel in mm."""
    _, across, up, _ = PLANES[panel.plane]
    return float(image.data.shape[across] * image.size[across]), float(image.data.shape[up] * image.size[up])


def edges(mask: Array) -> Array:
    """The outline of a mask along the edges of its voxels: (segments, 2 ends, 2 coordinates)."""
    padded = np.pad(mask, 1)
    x, y = np.nonzero(padded[1:, :] != padded[:-1, :])
    upright = np.stack([np.stack([x, y - 1], -1), np.stack([x, y], -1)], 1)
    x, y = np.nonzero(padded[:, 1:] != padded[:, :-1])
    level = np.stack([np.stack([x - 1, y], -1), np.stack([x, y], -1)], 1)
    return np.concatenate([upright, level]).astype(float)


def tilt(matrix: Array) -> float:
    """Angle between the voxel axes and the scanner's axes closest to them; degrees."""
    cosines = np.abs(matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)).max(axis=0)
    return math.degrees(math.acos(min(1.0, float(cosines.min()))))


def where_text(image: Image, panel: Panel) -> str:
    axis = PLANES[panel.plane][0]
    index = (np.array(image.data.shape[:3]) - 1) / 2
    index[axis] = panel.index
    position = image.matrix[axis, :3] @ index + image.matrix[axis, 3]
    return f"{'xyz'[axis]} {round(float(position))} mm".replace("-", "\u2212")
