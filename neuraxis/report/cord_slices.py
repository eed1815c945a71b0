"""The cord slice by slice: small axial patches around its centre, side by side, with outlines that can be taken off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.report.sheet import COLOURS, DASHED, SPARE_COLOURS, Sheet, contours
from neuraxis.report.slices import tilt
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

MAX_BYTES = 390_000
MOST_SLICES = 40
_WIDTH, _FONT, _GAP = 1560, 15, 3  # pixels
_PATCH = (96, 300)  # least and most pixels of a patch


@dataclass(frozen=True)
class Course:
    """Where the cord runs, in voxels of the upright frame: x and y for every slice, and its first and last slice."""

    x: Array
    y: Array
    first: int
    last: int
    found: bool


@dataclass(frozen=True)
class Scale:
    """Values -> greys, the same in every patch: black at `low`, white at `high`, in `unit`."""

    low: float
    high: float
    unit: str

    def greys(self, values: Array, where: Array) -> Array:
        share = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        return np.where(where, np.rint(255 * share) // 2 * 2, 0).astype(np.uint8)  # 128 greys: half the file


def upright(volume: Volume) -> Array:
    """The numbers in the upright frame (LAS), finite."""
    return np.nan_to_num(np.asarray(volume.oriented("LAS").data, np.float32), posinf=0, neginf=0)


def course(shape: tuple[int, ...], cord: Array | None, path: Table | None) -> Course:
    """The cord's centre in every slice: of `path`, else of the mask, held beyond its ends; else the image's middle."""
    slices, x, y = np.empty(0), np.empty(0), np.empty(0)
    if path is not None and len(path):
        order = np.argsort(path["slice"])
        slices, x, y = (np.asarray(path[name], float)[order] for name in ("slice", "x", "y"))
        fine = np.isfinite(x) & np.isfinite(y) & (slices >= 0) & (slices < shape[2])
        slices, x, y = slices[fine], x[fine], y[fine]
    filled = cord is not None and cord.any()
    if not slices.size and filled:
        assert cord is not None
        weight = np.where(cord > 0.5, cord, 0) if (cord > 0.5).any() else np.clip(cord, 0, None)
        mass = weight.sum((0, 1))
        slices = np.flatnonzero(mass > 0).astype(float)
        at = slices.astype(int)
        x = (weight.sum(1) * np.arange(shape[0])[:, None]).sum(0)[at] / mass[at]
        y = (weight.sum(0) * np.arange(shape[1])[:, None]).sum(0)[at] / mass[at]
    every = np.arange(shape[2])
    if not slices.size:
        middle = [np.full(shape[2], (n - 1) / 2) for n in shape[:2]]
        return Course(middle[0], middle[1], 0, shape[2] - 1, False)
    first, last = int(slices.min()), int(slices.max())
    if filled:  # what is shown is what was segmented
        assert cord is not None
        used = np.flatnonzero((cord > min(0.5, 0.5 * float(cord.max()))).any((0, 1)))
        first, last = (int(used[0]), int(used[-1])) if used.size else (first, last)
    return Course(np.interp(every, slices, x), np.interp(every, slices, y), first, last, True)


def slice_levels(levels: Array | None, named: Callable[[int], str] = vertebra_name) -> dict[int, str]:
    """Slice -> name of its level, the rounded mean of the labels there."""
    if levels is None:
        return {}
    number = (levels > 0).sum((0, 1))
    total = np.where(levels > 0, levels, 0).sum((0, 1))
    return {int(z): named(max(1, round(float(total[z] / number[z])))) for z in np.flatnonzero(number)}


def mosaic(
    image: Volume,
    cord: Volume | None,
    overlays: Mapping[str, Volume],
    path: Table | None = None,
    *,
    levels: Volume | None = None,
    field_mm: float = 30.0,
    most: int = MOST_SLICES,
    scale: Scale | None = None,
    other: Volume | None = None,
    names: tuple[str, str] = ("", ""),
) -> tuple[bytes, bytes | None]:
    """Axial patches around the cord from the top to the bottom, and the outlines of `overlays` as a second picture.

    Parameters
    ----------
    image
        Any contrast, any orientation; (X, Y, Z), of which the first number is shown where there are more.
    cord
        Its slices are shown; without it those of `path`, without both the middle of the image.
    overlays
        Name -> mask or probability on the image's grid, outlined at 0.5 between the voxels.
    path
        slice, x, y (voxels of the upright frame): the centre of the patches.
    levels
        Vertebral levels: their names stand beside the slice numbers.
    field_mm
        Edge of a patch; mm.
    most
        Slices shown at most, evenly chosen.
    scale
        Ends of the greys and their unit, one for all patches; without it each patch has its own.
    other
        An image on the same grid that is shown in turn with the first: the outlines then stand in both.
    names
        What both show, in words.

    Returns
    -------
    The picture, and what lies over it: its outlines as a transparent picture of the same size (None without any), or the
    picture of `other`; two PNG files.
    """
    grey = upright(image)
    grey = grey if grey.ndim == 3 else grey[..., 0]
    mask = None if cord is None else upright(cord)
    way = course(grey.shape, mask, path)
    outlined = {name: upright(volume) for name, volume in overlays.items()}
    said = slice_levels(None if levels is None else upright(levels))
    second = None if other is None else upright(other)
    number = min(most, way.last - way.first + 1)
    chosen = sorted({round(z) for z in np.linspace(way.last, way.first, number)}, reverse=True)
    columns = _columns(len(chosen))
    side = int(np.clip(_WIDTH // columns - _GAP, *_PATCH))
    best: tuple[bytes, bytes | None] = (b"", None)
    while True:
        place = (way, chosen, columns, side, field_mm, said, scale)
        if second is None:
            best = _sheet(image, grey, outlined, *place).png_and_over()
        else:
            pair = zip((grey, second), names, strict=True)
            one, two = (_sheet(image, values, outlined, *place, name=name, flat=True).png() for values, name in pair)
            best = one, two
        size = sum(len(one or b"") for one in best)
        if size <= MAX_BYTES or side <= _PATCH[0] // 2:
            return best
        side = int(min(0.95, 0.97 * math.sqrt(MAX_BYTES / size)) * side)


def _columns(number: int) -> int:
    """Columns of a sheet about twice as wide as high, with few places left empty."""
    if number <= 6:
        return number
    wish = math.sqrt(2.4 * number)
    tried = range(math.ceil(0.8 * wish), math.ceil(1.25 * wish) + 1)
    return min(tried, key=lambda c: (-number % c / c + abs(c - wish) / wish, c))


def _sheet(
    image: Volume, grey: Array, outlined: Mapping[str, Array], way: Course, chosen: list[int], columns: int, side: int,
    field_mm: float, names: Mapping[int, str], scale: Scale | None, *, name: str = "", flat: bool = False,
) -> Sheet:  # fmt: skip
    grid = image.oriented("LAS").grid
    px, py, _ = grid.voxel_size
    line = round(1.6 * _FONT)
    footer = _footer(image, way, chosen, field_mm, side)
    wrapped = _wrap(footer, max(columns * (side + _GAP), 420))
    rows = math.ceil(len(chosen) / columns)
    width = max(columns * (side + _GAP) + _GAP, 420)
    height = rows * (side + line) + line * (len(wrapped) + bool(outlined or scale or name)) + 8
    sheet = Sheet(width, height, _FONT)
    margin = (width - columns * (side + _GAP)) // 2
    for number, z in enumerate(chosen):
        left, top = margin + number % columns * (side + _GAP), line + number // columns * (side + line)
        step = field_mm / side  # mm per pixel
        offset = (side / 2 - np.arange(side) - 0.5) * step
        across, up = way.x[z] + offset / px, way.y[z] + offset / py  # left in the picture is the patient's left
        values, known = sampled(grey[:, :, z], across, up), inside(grey.shape, across, up)
        sheet.paste(left, top, scale.greys(values, known) if scale else stretched(values, known))
        label = f"{names[z]} · {z}" if z in names else str(z)
        sheet.text(left + side / 2, top - line / 2, label, "0.85")
        if number == 0:
            for x, y, letter in ((0.06, 0.5, "L"), (0.94, 0.5, "R"), (0.5, 0.07, "A"), (0.5, 0.93, "P")):
                sheet.text(left + x * side, top + y * side, letter, size=0.9 * _FONT)
        for order, (label, mask) in enumerate(outlined.items()):
            found = contours(sampled(mask[:, :, z], across, up, order=1))
            colour = COLOURS.get(label, SPARE_COLOURS[order % len(SPARE_COLOURS)])
            moved = [p + (left, top) for p in found]
            sheet.lines(moved, colour, over=not flat, width=max(1.2, side / 100), dashed=label in DASHED)
    base = rows * (side + line) + line // 2 + 4
    for text in wrapped:
        sheet.text(_FONT, base, text, "0.62", align="left")
        base += line
    end = _legend(sheet, outlined, base, over=not flat)
    if scale:
        _ramp(sheet, scale, round(end), base)
    if name:
        sheet.text(sheet.width - _FONT, base, name, align="right", bold=True)
    return sheet


def _ramp(sheet: Sheet, scale: Scale, x: int, y: int) -> None:
    """The greys of a scale from end to end, with their numbers."""
    first, last = f"{scale.low:g}", f"{scale.high:g} {scale.unit}".strip()
    sheet.text(x, y, first, align="left")
    x += round((0.8 + 0.62 * len(first)) * sheet.font)
    sheet.paste(x, y - 5, np.broadcast_to(np.linspace(0, 255, 120).astype(np.uint8), (10, 120))[:, : max(0, sheet.width - x)])
    sheet.text(x + 128, y, last, align="left")


def _legend(sheet: Sheet, outlined: Mapping[str, Array], y: float, *, over: bool) -> float:
    """What the outlines are; gives back where it ends."""
    x = float(sheet.font)
    for order, (name, values) in enumerate(outlined.items()):
        colour = COLOURS.get(name, SPARE_COLOURS[order % len(SPARE_COLOURS)])
        said = name.replace("_", " ") + ("" if (values > 0.5).any() else ": nothing found")
        sheet.lines([np.array([(x, y), (x + 2 * sheet.font, y)])], colour, over=over, width=2, dashed=name in DASHED)
        sheet.text(x + 2.6 * sheet.font, y, said, colour, align="left", over=over)
        x += (4.5 + 0.62 * len(said)) * sheet.font
    return x


def sampled(plane: Array, across: Array, up: Array, order: int = 3) -> Array:
    """(rows, columns) of a plane (first axis across, second upwards) at fractional voxels.

    Images by cubic splines, kept within the range of the patch; masks linearly, nothing beyond the field of view.
    """
    from scipy.ndimage import map_coordinates

    low = [max(0, math.floor(min(at.min(), n - 1)) - 6) for at, n in zip((across, up), plane.shape, strict=True)]
    high = [min(n, math.ceil(max(at.max(), 0)) + 7) for at, n in zip((across, up), plane.shape, strict=True)]
    part = plane[low[0] : high[0], low[1] : high[1]].astype(np.float32)
    at = np.meshgrid(across - low[0], up - low[1])
    mode = "nearest" if order > 1 else "grid-constant"
    return np.clip(map_coordinates(part, at, order=order, mode=mode), part.min(), part.max())


def inside(shape: tuple[int, ...], across: Array, up: Array) -> Array:
    """Which pixels lie in the field of view, (rows, columns)."""
    fine = [(at >= -0.5) & (at <= n - 0.5) for at, n in zip((across, up), shape[:2], strict=True)]
    return fine[1][:, None] & fine[0][None, :]


def stretched(values: Array, where: Array, equalised: float = 0.45) -> Array:
    """Greys of one patch: between its own percentiles, and by a share equalised over its middle, where the cord lies.

    So bright fluid does not take the contrast away from the cord, nor noise in dark bone gain too much.
    """
    known = values[where]
    if not known.size or known.max() <= known.min():
        return np.where(where, np.uint8(90 if known.size and known.max() else 0), np.uint8(0)).astype(np.uint8)
    low, high = (float(v) for v in np.percentile(known, (1, 99.5)))
    low, high = (low, high) if high > low else (float(known.min()), float(known.max()))
    linear = np.clip((values - low) / (high - low), 0, 1)
    ranks = np.linspace(0, 1, 65)
    middle = tuple(slice(n // 4, n - n // 4) for n in values.shape)
    central = values[middle][where[middle]]
    nodes = np.quantile(central if central.size else known, ranks) + 1e-9 * np.arange(65) * (high - low)
    equal = np.interp(values, nodes, ranks)
    mixed = (1 - equalised) * linear + equalised * equal
    return np.where(where, np.rint(6 + 249 * mixed) // 2 * 2, 0).astype(np.uint8)  # 128 greys: half the file


def _footer(image: Volume, way: Course, chosen: list[int], field_mm: float, side: int) -> str:
    grid = image.oriented("LAS").grid
    said = [] if way.found else ["no cord was found: the middle of the image"]
    total = way.last - way.first + 1
    share = f"{len(chosen)} of {total}" if len(chosen) < total else f"all {total}"
    said.append(f"{share} slices, from the top down")
    size = " × ".join(f"{v:.3g}" for v in grid.voxel_size)
    said.append(f"{field_mm:g} mm wide, voxels {size} mm drawn at {field_mm / side:.2g} mm")
    if (angle := tilt(grid.matrix)) > 1:
        said.append(f"planes along the voxel axes, {angle:.0f}° from the scanner's")
    return "; ".join(said)


def _wrap(text: str, width: float) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(20, int(width / (0.58 * _FONT))))
