"""Tissue bridges: the cord that a lesion spares behind and in front of it, in sagittal slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.centerline.fit import fit
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Labelled lesions and their cord in the upright frame (x to the left, y to the front, z upwards), cut to the cord."""

    box: tuple[slice, slice]
    """Where the arrays lie in x and y of the upright frame; z is whole."""
    labels: Array
    """(x, y, Z) whole numbers, 0 is no lesion."""
    cord: Array
    """(x, y, Z) bool, holes filled."""
    voxel_size: tuple[float, float, float]
    """mm."""
    centre_x: Array
    """(Z,) centre of the cord, voxels of the box; NaN where there is none."""
    cos: Array
    """(Z,) cosine of the angle between slice normal and centerline."""
    cos_sagittal: Array
    """(Z,) the same of the part of that angle in the sagittal plane."""


def anatomy(labels: Volume, cord: Volume, smoothing: float = 20.0) -> Anatomy:
    """Lesions and cord upright, with the angles of the cord's centerline (cubic spline); ValueError without a cord."""
    upright = cord.oriented("LAS")
    mask = upright.data > 0.5
    if not mask.any():
        raise ValueError("the cord is empty")
    rows, columns, z = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    mask = mask[box]
    centres = np.array([np.argwhere(mask[:, :, one]).mean(axis=0) for one in z])
    every = np.arange(mask.shape[2])
    size = upright.grid.voxel_size
    _, _, dx, dy = fit(z, centres[:, 0], centres[:, 1], every, size, "bspline", smoothing)
    across, along = dx * size[0] / size[2], dy * size[1] / size[2]
    centre_x = np.full(len(every), math.nan)
    centre_x[z] = centres[:, 0]
    return Anatomy(
        box,
        labels.oriented("LAS").data[box],
        filled(mask),
        size,
        centre_x,
        1 / np.sqrt(1 + across**2 + along**2),
        1 / np.sqrt(1 + along**2),
    )


def filled(mask: Array) -> Array:
    """An upright mask with the holes of each axial slice filled."""
    from scipy.ndimage import binary_fill_holes

    made = mask.copy()
    if mask.any():
        x, y, z = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        box = slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1)
        for one in z:
            made[*box, one] = binary_fill_holes(mask[*box, one])
    return made


def tissue_bridges(lesion_labels: Volume, cord: Volume, *, smoothing: float = 20.0) -> Table:
    """Tissue bridges of each lesion in every sagittal slice that it meets.

    In each axial slice the spared tissue is measured from the edge of the cord to the lesion, and corrected by the angle s
    between slice normal and centerline in the sagittal plane; the bridge is the least over the axial slices:

        dorsal = min over slices of (back of the lesion - back of the cord) * py * cos s,   ventral likewise

    Parameters
    ----------
    lesion_labels
        Labelled lesions; whole numbers, (X, Y, Z), 0 is none, any orientation.
    cord
        The cord, binary or soft; above 0.5 is cord, (X, Y, Z).
    smoothing
        Of the centerline that gives the angles; at least 0. Larger is straighter.

    Returns
    -------
    One row per lesion and sagittal slice: lesion, sagittal_slice (of the upright frame, to the left), dorsal_bridge,
    ventral_bridge, total_bridge (mm).

    Raises
    ------
    ValueError: the cord is empty or lies on another grid.

    References
    ----------
    Huber 2017, doi:10.1002/ana.24932
    """
    if not cord.grid.same_as(lesion_labels.grid):
        raise ValueError("cord and lesion_labels lie on different grids")
    here = anatomy(lesion_labels, cord, smoothing)
    rows = []
    for number in range(1, int(here.labels.max(initial=0)) + 1):
        mask = (here.labels == number) & here.cord
        for x in np.flatnonzero(mask.any(axis=(1, 2))):
            dorsal, ventral = (float(np.nanmin(one)) for one in _spared(here, mask, int(x)))
            rows.append((number, here.box[0].start + int(x), dorsal, ventral, dorsal + ventral))
    names = ("lesion", "sagittal_slice", "dorsal_bridge", "ventral_bridge", "total_bridge")
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})


def midsagittal(here: Anatomy, mask: Array, middle: float, slices: Array | None = None) -> dict[str, object]:
    """Length, width and bridges of a lesion at the fractional sagittal position `middle`.

    `slices`: where the cord is measured if the lesion is not met there; its own axial slices unless they are given.
    """
    weights = _weights(middle, mask.shape[0])
    planes = sum(weight * mask[x] for x, weight in weights)
    met = np.flatnonzero((planes > 0).any(axis=0))
    size = here.voxel_size
    if len(met) == 0:
        slices = np.flatnonzero(mask.any(axis=(0, 1))) if slices is None else slices
        diameters = _mixed([(weight, _diameter(here, x)) for x, weight in weights])[slices]
        diameter = float(np.nanmin(diameters)) if np.isfinite(diameters).any() else math.nan
        return {"length_midsagittal": 0.0, "width_midsagittal": 0.0} | _bridges(diameter / 2, diameter / 2, "cord")
    present = planes[:, met]
    share = present.sum(axis=0) / (present > 0).sum(
        axis=0
    )  # a slice counts by how much of its lesion lies there (SCT's)
    spared = [_spared(here, mask, x) for x, _ in weights]
    dorsal, ventral = (
        _mixed([(weight, one[side]) for (_, weight), one in zip(weights, spared, strict=True)]) for side in (0, 1)
    )
    return {
        "length_midsagittal": float((size[2] / here.cos_sagittal[met] * share).sum()),
        "width_midsagittal": float((present.sum(axis=0) * size[1] * here.cos_sagittal[met]).max()),
    } | _bridges(float(np.nanmin(dorsal)), float(np.nanmin(ventral)), "lesion")


def _bridges(dorsal: float, ventral: float, source: str) -> dict[str, object]:
    total = dorsal + ventral
    share = 100 / total if total > 0 else math.nan
    return {
        "dorsal_bridge": dorsal,
        "ventral_bridge": ventral,
        "total_bridge": total,
        "dorsal_bridge_ratio": dorsal * share,
        "ventral_bridge_ratio": ventral * share,
        "bridge_from": source,
    }


def _weights(middle: float, count: int) -> list[tuple[int, float]]:
    """The sagittal slices beside a fractional position, with their weights (none that is zero)."""
    low = math.floor(middle)
    pairs = [(low, 1 - (middle - low)), (low + 1, middle - low)]
    return [(x, weight) for x, weight in pairs if weight > 1e-9 and 0 <= x < count]


def _mixed(parts: list[tuple[float, Array]]) -> Array:
    """Weighted mean of arrays; where one of them has no value, the others alone."""
    weights = np.array([weight for weight, _ in parts])[:, None]
    values = np.stack([one for _, one in parts])
    known = np.isfinite(values)
    total = (weights * known).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, (weights * np.where(known, values, 0)).sum(axis=0), np.nan) / total


def _edges(plane: Array) -> tuple[Array, Array]:
    """First and last index of a (Y, Z) mask per z; NaN where it is empty."""
    some = plane.any(axis=0)
    first, last = np.argmax(plane, axis=0), plane.shape[0] - 1 - np.argmax(plane[::-1], axis=0)
    return np.where(some, first, np.nan), np.where(some, last, np.nan)


def _spared(here: Anatomy, mask: Array, x: int) -> tuple[Array, Array]:
    """Width of cord behind and in front of the lesion per axial slice, in one sagittal slice; mm, NaN without lesion."""
    back, front = _edges(here.cord[x])
    lesion_back, lesion_front = _edges(mask[x])
    scale = here.voxel_size[1] * here.cos_sagittal
    return (lesion_back - back) * scale, (front - lesion_front) * scale


def _diameter(here: Anatomy, x: int) -> Array:
    """Antero-posterior diameter of the cord per axial slice, in one sagittal slice; mm, NaN without cord."""
    back, front = _edges(here.cord[x])
    return (front - back + 1) * here.voxel_size[1] * here.cos_sagittal
