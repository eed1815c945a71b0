"""Artifact + view -> PNG: slices along three planes, in one orientation and one scale, on black.

Pictures are neurological: the patient's left is on the left, whatever the affine says. Voxels are drawn as they are,
in their physical proportions, each on a whole number of pixels; where a picture has more voxels than pixels it says so.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS, Artifact, View
from neuraxis.volume import Array, Grid, Volume

MAX_BYTES = 300_000
"""A picture that would be larger shows fewer slices, then coarser pixels."""

_WIDTH, _HEIGHT, _GAP = 1800, 1300, 4  # pixels: twice what a page shows, for dense screens and for zooming
_MARGIN_MM = 12.0  # enough around a brain to see what a mask has left out
_OUTLINE = (255, 176, 0)  # an amber that colour-blind readers tell from grey
_PLANES = {"axial": (2, 0, 1, "LRPA"), "coronal": (1, 0, 2, "LRIS"), "sagittal": (0, 1, 2, "PAIS")}
_FRACTIONS = {1: (0.5,), 2: (0.4, 0.58), 3: (0.32, 0.5, 0.68), 5: (0.2, 0.35, 0.5, 0.65, 0.8)}
_LAYOUTS = ((5, 2, 2), (3, 1, 1), (1, 1, 1))  # axial, coronal, sagittal: from rich to sparse
_COARSER = (1.25, 1.6, 2.0, 2.5, 3.2, 4.0)


@dataclass(frozen=True)
class _Image:
    """A volume turned to the closest RAS+ axes and cropped to `box`; slices are taken between the ends of `core`."""

    data: Array
    matrix: Array
    size: Array
    box: tuple[slice, ...]
    core: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Panel:
    plane: str
    index: int
    echo: int
    row: int


def caption(artifact: Artifact) -> str:
    """What a figure of `artifact` shows: its title, its unit and what its values mean."""
    if artifact.view and artifact.view.kind == "outline":
        return f"{artifact.title}: {artifact.meaning}. Its outline on: {_title(artifact.view.on)}."
    return f"{artifact.title}, {_unit(artifact)}: {artifact.meaning}."


def draw(
    artifact: Artifact,
    volume: Volume,
    *,
    under: Volume | None = None,
    region: Volume | None = None,
    labels: Sequence[str] = (),
) -> bytes:
    """A picture of `volume`, as the view of `artifact` says.

    Parameters
    ----------
    artifact
        Its row of the glossary; it must have a view.
    volume
        (X, Y, Z) or (X, Y, Z, E); any affine. At most four echoes are shown, from the first to the last.
    under
        For outlines: what the outline is drawn on; the first of its echoes. Without it the mask itself is shown.
    region
        A mask on the same grid: slices and grey scale are chosen inside it, so that all figures of a unit show the
        same places. Without it: where `volume` is not zero.
    labels
        Names of the echoes, for instance "4.0 ms".

    Returns
    -------
    A PNG file; the same bytes for the same input.
    """
    if artifact.view is None:
        raise ValueError(f"{artifact.name} has no view")
    for other in (under, region):
        if other is not None and not other.grid.same_as(volume.grid):
            raise ValueError(f"{artifact.name}: the figure was given volumes on different grids")
    outline = artifact.view.kind == "outline"
    shown, of = (under, ARTIFACTS.get(artifact.view.on, artifact)) if outline and under is not None else (volume, artifact)
    data = np.asarray(shown.data)
    if outline and data.ndim > 3:
        data = data[..., 0]
    where = np.asarray((region or volume).data)
    image = _turned(data, where if region is not None or outline else _foreground(data), volume.grid)
    mask = _turned(np.asarray(volume.data), None, volume.grid, like=image).data != 0 if outline else None
    inside = _turned(where, None, volume.grid, like=image).data != 0 if region is not None else None
    limits = _limits(of.view or View(), image.data, inside)
    best = b""
    for panels, coarse in _attempts(image):
        best = _render(image, mask, limits, of, panels, coarse, labels)
        if len(best) <= MAX_BYTES:
            break
    return best


def _title(name: str) -> str:
    return ARTIFACTS[name].title.lower() if name in ARTIFACTS else name


def _unit(artifact: Artifact) -> str:
    return {"1": "no unit", "arbitrary": "arbitrary unit"}.get(artifact.unit, artifact.unit)


def _foreground(data: Array) -> Array:
    """Where there is something: not zero; for a magnitude, which is nowhere zero, above a tenth of its bright end."""
    flat = data if data.ndim == 3 else np.abs(data[..., 0])
    flat = np.nan_to_num(np.asarray(flat, np.float32))
    found = flat != 0
    if found.mean() > 0.95 and flat.min() >= 0:
        found = flat > 0.1 * np.percentile(flat, 99)
    return found


def _turned(data: Array, where: Array | None, grid: Grid, like: _Image | None = None) -> _Image:
    """`data` along the closest RAS+ axes, cropped around `where`, or as `like` was."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn = io_orientation(grid.matrix)
    data = apply_orientation(data, turn)
    if like is not None:
        return _Image(data[like.box], like.matrix, like.size, like.box, like.core)
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
    return _Image(data[tuple(box)], corner, size, tuple(box), tuple(core))


def _limits(view: View, data: Array, inside: Array | None) -> tuple[float, float] | None:
    """Ends of the grey scale: those of the view, or percentiles inside the mask, else of what is not zero."""
    values = data[inside] if inside is not None and inside.any() else data
    values = values[np.isfinite(values) & (values != 0)]
    if not values.size:
        return None
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    low = low if view.low is None else view.low
    high = high if view.high is None else view.high
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def _attempts(image: _Image) -> Iterator[tuple[list[_Panel], float]]:
    """Panels, and voxels per pixel: from the richest picture to the smallest file."""
    if image.data.ndim == 3:
        layouts = [_rows(image, layout) for layout in _LAYOUTS]
    else:
        most = min(4, image.data.shape[3])
        layouts = [_columns(image, echoes) for echoes in range(most, min(most, 2) - 1, -1)]
    for panels in layouts:
        yield panels, 1.0
    for coarse in _COARSER:
        yield layouts[-1], coarse


def _places(image: _Image, plane: str, number: int) -> list[int]:
    first, last = image.core[_PLANES[plane][0]]
    return sorted({first + int(f * (last - first)) for f in _FRACTIONS[number]})


def _rows(image: _Image, layout: tuple[int, int, int]) -> list[_Panel]:
    """One volume: axial slices above, coronal and sagittal ones below."""
    return [
        _Panel(plane, index, 0, row, 0)
        for row, plane, number in zip((0, 1, 1), _PLANES, layout, strict=True)
        for index in _places(image, plane, number)
    ]


def _columns(image: _Image, echoes: int) -> list[_Panel]:
    """Several echoes: one column each, one row per plane."""
    chosen = sorted({round(e) for e in np.linspace(0, image.data.shape[3] - 1, echoes)})
    widest = max(image.data.shape[0], image.data.shape[1])
