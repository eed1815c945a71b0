"""Artifact + view -> PNG: slices along three planes, in one orientation and one scale, on black.

Pictures are neurological: the patient's left is on the left, whatever the affine says. Voxels are drawn as they are,
in their physical proportions, each on a whole number of pixels; where a picture has more voxels than pixels it says so.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS, Artifact, View
from neuraxis.report.slices import (
    LAYOUTS,
    PLANES,
    Image,
    Panel,
    columns_of,
    cut,
    edges,
    extent,
    foreground,
    rows_of,
    tilt,
    turned,
    where_text,
)
from neuraxis.volume import Array, Volume

MAX_BYTES = 300_000
"""A picture that would be larger gets smaller pixels, then fewer slices, then coarser pixels."""

_WIDTH, _HEIGHT, _GAP = 1800, 1300, 4  # pixels: twice what a page shows, for dense screens and for zooming
_OUTLINE = (255, 176, 0)  # an amber that colour-blind readers tell from grey
_COARSER = (1.25, 1.6, 2.0, 2.5, 3.2, 4.0)


def caption(artifact: Artifact) -> str:
    """What a figure of `artifact` shows: its title, its unit and what its values mean."""
    if artifact.view and artifact.view.kind == "outline":
        return f"{artifact.title}: {artifact.meaning}. Its outline on: {_title(artifact.view.on)}."
    title = ", ".join(filter(None, (artifact.title, _unit(artifact))))
    return f"{title}: {artifact.meaning}."


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
    shown, of = volume, artifact
    if outline and under is not None:
        shown, of = under, ARTIFACTS.get(artifact.view.on, artifact)
    data = np.asarray(shown.data)
    if outline and data.ndim > 3:
        data = data[..., 0]
    where = np.asarray((region or volume).data)
    image = turned(data, where if region is not None or outline else foreground(data), volume.grid)
    mask = turned(np.asarray(volume.data), None, volume.grid, like=image).data != 0 if outline else None
    inside = turned(where, None, volume.grid, like=image).data != 0 if region is not None else None
    limits = _limits(of.view or View(), image.data, inside)
    best = b""
    for panels, zoom in _attempts(image, limits):
        best = _render(image, mask, limits, of, panels, zoom, labels)
        if len(best) <= MAX_BYTES:
            break
    return best


def _title(name: str) -> str:
    return ARTIFACTS[name].title.lower() if name in ARTIFACTS else name


def _unit(artifact: Artifact) -> str:
    return {"1": "no unit", "arbitrary": "a.u."}.get(artifact.unit, artifact.unit)


def _limits(view: View, data: Array, inside: Array | None) -> tuple[float, float] | None:
    """Ends of the grey scale: those of the view, or percentiles inside the mask, else of what is not zero."""
    values = data[inside] if inside is not None and inside.any() else data
    values = values[np.isfinite(values) & (values != 0)]
    if not values.size:
        return None
    low, high = view.low, view.high
    if low is None or high is None:
        first, last = (float(v) for v in np.percentile(values, (1, 99), overwrite_input=True))
        low, high = first if low is None else low, last if high is None else high
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def _attempts(image: Image, limits: tuple[float, float] | None) -> Iterator[tuple[list[Panel], float]]:
    """Panels, and pixels per voxel at most: from the richest picture to the smallest file."""
    if image.data.ndim == 3:
        layouts = [rows_of(image, layout) for layout in LAYOUTS]
    else:
        most = min(4, image.data.shape[3])
        layouts = [columns_of(image, echoes) for echoes in range(most, min(most, 2) - 1, -1)]
    for panels in layouts:
        packed = sum(len(zlib.compress(_bytes(cut(image.data, p), limits).tobytes(), 1)) for p in panels)
        if packed < 0.8 * MAX_BYTES:
            yield panels, math.inf
        if packed < 1.2 * MAX_BYTES:
            yield panels, 1.0
    for coarse in _COARSER:
        yield layouts[-1], 1 / coarse


def _bytes(values: Array, limits: tuple[float, float] | None) -> Array:
    """Numbers -> greys. What is not known (zero, not finite) is black."""
    low, high = limits or (0.0, 1.0)
    known = np.isfinite(values) & (values != 0)
    grey = np.clip((np.where(known, values, low) - low) * (255 / (high - low)), 0, 255)
    return np.where(known, grey, 0).astype(np.uint8)


def _scale(image: Image, panels: Sequence[Panel], zoom: float) -> float:
    """Pixels per mm: a whole number of pixels per (smallest) voxel, as many as fit and `zoom` allows."""
    rows = [[p for p in panels if p.row == row] for row in {p.row for p in panels}]
    width = max(sum(max(extent(image, p)[0], p.cell) for p in row) for row in rows)
    height = sum(max(extent(image, p)[1] for p in row) for row in rows)
    fit = min(_WIDTH / width, _HEIGHT / height) * float(image.size.min())
    return min(float(math.floor(fit)) if fit >= 1 else fit, zoom) / float(image.size.min())


def _render(
    image: Image,
    mask: Array | None,
    limits: tuple[float, float] | None,
    of: Artifact,
    panels: Sequence[Panel],
    zoom: float,
    labels: Sequence[str],
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = _scale(image, panels, zoom)
    pixels = {p: tuple(max(1, round(mm * scale)) for mm in extent(image, p)) for p in panels}
    cells = {p: max(pixels[p][0], round(p.cell * scale)) for p in panels}
    rows = [[p for p in panels if p.row == row] for row in sorted({p.row for p in panels})]
    inner = max(sum(cells[p] + _GAP for p in row) for row in rows)
    font = max(11, round(inner / 95))
    line, bar = round(1.5 * font), 9 * font
    top = line if image.data.ndim > 3 else 0
    width = max(inner, 30 * font) + bar
    height = top + sum(max(pixels[p][1] for p in row) + line for row in rows) + line
    figure = Figure((width / 72, height / 72), dpi=72, facecolor="black")  # 72 dpi: a point is a pixel
    canvas = FigureCanvasAgg(figure)
    draw_text = _writer(figure, width, height, font)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))  # one for all: each more takes 20 ms
    axes.axis("off")
    edge = height - top
    for number, row in enumerate(rows):
        tallest = max(pixels[p][1] for p in row)
        left = (max(inner, 30 * font) - sum(cells[p] + _GAP for p in row)) // 2
        for panel in row:
            x, (wide, high) = left + (cells[panel] - pixels[panel][0]) // 2, pixels[panel]
            y = edge - line - (tallest + high) // 2
            _slice(axes, (x, y, wide, high), image, mask, limits, panel, averaged=scale * image.size.min() < 1)
            left_end, right_end, lower_end, upper_end = tuple(PLANES[panel.plane][3])
            draw_text(x + 0.8 * font, y + high / 2, left_end)
            draw_text(x + wide - 0.8 * font, y + high / 2, right_end)
            draw_text(x + wide / 2, y + 0.7 * font, lower_end)
            draw_text(x + wide / 2, y + high - 0.7 * font, upper_end)
            draw_text(x + wide / 2, edge - line / 2, where_text(image, panel), "0.75")
            if top and number == 0:
                name = labels[panel.echo] if panel.echo < len(labels) else ""
                draw_text(x + wide / 2, height - line / 2, f"echo {panel.echo + 1}" + (f", {name}" if name else ""))
            left += cells[panel] + _GAP
        edge -= tallest + line
    draw_text(font, line / 2, _footer(image, limits, scale), "0.6", "left")
    if limits is not None:
        _colour_bar(figure, (width - bar + 2 * font, width, height), limits, of, font, draw_text)
    canvas.draw()
    return _png(np.asarray(canvas.buffer_rgba())[..., :3])


def _writer(figure: Any, width: float, height: float, font: float) -> Callable[..., None]:
    from matplotlib.patheffects import withStroke

    def write(x: float, y: float, text: str, colour: str = "white", align: str = "center") -> None:
        figure.text(
            x / width, y / height, text, color=colour, fontsize=font, ha=align, va="center_baseline",
            family="DejaVu Sans", parse_math=False, path_effects=[withStroke(linewidth=font / 4, foreground="black")],
        )  # fmt: skip

    return write


def _slice(
    axes: Any,
    place: tuple[int, int, int, int],
    image: Image,
    mask: Array | None,
    limits: tuple[float, float] | None,
    panel: Panel,
    averaged: bool,
) -> None:
    """Draws the numbers of a panel, each voxel a rectangle, and the outline of the mask along the voxels' edges."""
    from matplotlib.image import AxesImage

    x, y, wide, high = place
    grey = _bytes(cut(image.data, panel), limits)
    interpolation = "antialiased" if averaged else "nearest"
    shown = AxesImage(axes, cmap="gray", origin="lower", extent=(x, x + wide, y, y + high), interpolation=interpolation)
    shown.set_data(grey.T)
    shown.set_clim(0, 255)
    axes.add_artist(shown)
    if mask is not None:
        from matplotlib.collections import LineCollection

        colour = tuple(c / 255 for c in _OUTLINE)
        lines = edges(cut(mask, panel)) * (wide / grey.shape[0], high / grey.shape[1]) + (x, y)
        axes.add_collection(LineCollection(list(lines), colors=[colour], linewidths=1.6, antialiaseds=False), autolim=False)


def _footer(image: Image, limits: tuple[float, float] | None, scale: float) -> str:
    said = ["voxels " + " × ".join(f"{v:.3g}" for v in image.size) + " mm"]
    if scale * image.size.min() < 0.999:
        said.append(f"drawn at {1 / scale:.2g} mm per pixel")
    if (angle := tilt(image.matrix)) > 1:
        said.append(f"planes along the voxel axes, {angle:.0f}° from the scanner's")
    if limits is None:
        said.append("no value other than zero")
    return ", ".join(said)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")


def _colour_bar(
    figure: Any, place: tuple[float, float, float], limits: tuple[float, float], of: Artifact, font: float, write: Any
) -> None:
    left, width, height = place
    bottom, tall = 0.2 * height, 0.55 * height
    axes = figure.add_axes((left / width, bottom / height, font / width, tall / height))
    axes.imshow(np.linspace(0, 1, 256)[:, None], cmap="gray", origin="lower", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.6")
    for fraction in (0.0, 0.5, 1.0):
        value = limits[0] + fraction * (limits[1] - limits[0])
        value = 0.0 if abs(value) < 0.005 * (limits[1] - limits[0]) else value
        write(left + 1.5 * font, bottom + fraction * tall, _number(value), align="left")
    write(left, bottom + tall + 1.4 * font, _unit(of), align="left")


def _png(rgb: Array) -> bytes:
    """One byte per pixel: greys, and the outline's colour as the last entry of the palette. No time, no software."""
    from PIL import Image as Picture

    coloured = rgb[..., 0].astype(np.int16) - rgb[..., 2] > 40
    grey = np.ascontiguousarray(rgb[..., 1])
    if coloured.any():
        grey = np.minimum(grey, 254)
        grey[coloured] = 255
    picture = Picture.fromarray(grey)
    if coloured.any():
        picture.putpalette([v for g in range(255) for v in (g, g, g)] + list(_OUTLINE))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return out.getvalue()
