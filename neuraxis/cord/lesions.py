"""Lesions of the cord one by one: size, place, the share of the cord they take, and the tissue that they spare."""

from __future__ import annotations

import math
import warnings

import numpy as np

from neuraxis.cord.bridges import Anatomy, anatomy, filled, midsagittal
from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_MEASURES = (
    "volume", "length", "width", "max_equivalent_diameter", "max_axial_damage_ratio", "mean", "std",
    "slice_low", "slice_high", "level_top", "level_bottom", "levels", "midsagittal_slice", "length_midsagittal",
    "width_midsagittal", "dorsal_bridge", "ventral_bridge", "total_bridge", "dorsal_bridge_ratio", "ventral_bridge_ratio",
    "bridge_from",
)  # fmt: skip
_TEXT = ("levels", "bridge_from")


def lesions(
    lesion: Volume,
    cord: Volume,
    image: Volume | None = None,
    levels: Volume | None = None,
    *,
    smoothing: float = 20.0,
    lesion_free_slice: int | None = None,
) -> tuple[Volume, Table]:
    """Each lesion of the cord, labelled and measured.

    Voxels that touch by a face or an edge make one lesion. With t the angle between slice normal and centerline, s its part
    in the sagittal plane, and voxels px, py (in the slice) and pz:

        length = sum over slices of pz / cos t
        width = max over slices of antero-posterior extent * py * cos s
        max_equivalent_diameter = 2 sqrt(max over slices of area * cos t / pi)
        max_axial_damage_ratio = max over slices of area of the lesion / area of the cord

    The midsagittal slice is the mean position (left-right) of the cord's centre over the 5 slices around the centre of the
    largest lesion, the same for all lesions; it is fractional, and what is measured there is interpolated between the two
    sagittal slices beside it. Tissue bridges are the least width of spared cord behind (dorsal) and in front of (ventral)
    the lesion over its axial slices; where only one of the two sagittal slices holds lesion, that one counts. A lesion
    beside the midsagittal slice leaves all of it: the least antero-posterior diameter of the cord along the lesion is
    shared by both bridges, and `bridge_from` says "cord".

    Lesion outside the cord is left out, with a warning; holes of the cord mask within a slice belong to the cord.

    Parameters
    ----------
    lesion
        Lesions; above 0.5 is lesion, (X, Y, Z), any orientation. May be empty.
    cord
        The cord, binary or soft; above 0.5 is cord, (X, Y, Z).
    image
        Image whose mean and standard deviation in each lesion are given; any unit, (X, Y, Z). Zeros count as no value.
    levels
        Vertebral levels painted on the cord; whole numbers, (X, Y, Z), 0 is unknown.
    smoothing
        Of the centerline that gives the angles; at least 0. Larger is straighter.
    lesion_free_slice
        Slice (of the upright frame, 0 is the lowest) at which the diameter of the cord stands for the tissue bridges when
        there is no lesion at all, such as the neurological level of injury. Not used where there is a lesion.

    Returns
    -------
    Labelled lesions; int16, (X, Y, Z), 1 is the highest lesion, 0 is none.
    One row per lesion and one, lesion 0, for all together: lesion, count, volume (mm3), length, width,
    max_equivalent_diameter (mm), max_axial_damage_ratio (0..1), mean and std of the image, lowest and highest slice, highest
    and lowest level and their names, midsagittal_slice, length and width there (mm), dorsal, ventral and total bridge (mm),
    the share of both in the total (%), and what the bridges come from ("lesion", "cord"). For all together, volumes,
    lengths and counts are sums, the other sizes the largest, and the bridges the smallest.

    Raises
    ------
    ValueError: the volumes lie on several grids, the cord is empty, no lesion voxel lies in the cord, or lesion_free_slice
    holds no cord.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    Huber 2017, doi:10.1002/ana.24932
    Vallotton 2019, doi:10.1212/WNL.0000000000007642
    """
    for name, other in (("cord", cord), ("image", image), ("levels", levels)):
        if other is not None and not other.grid.same_as(lesion.grid):
            raise ValueError(f"{name} and lesion lie on different grids")
    labels = _labelled(lesion, cord)
    here = anatomy(labels, cord, smoothing)
    values = None if image is None else image.oriented("LAS").data[here.box]
    painted = None if levels is None else np.nan_to_num(levels.oriented("LAS").data[here.box])
    count = int(labels.data.max(initial=0))
    middle = _middle(here, count)
    rows = [_measured(here, number, middle, values, painted) for number in range(1, count + 1)]
    together = _together(here, rows, values, painted, middle, lesion_free_slice)
    every = [{"lesion": 0, "count": count, **together}]
    every = [*({"lesion": i + 1, "count": 1, **row} for i, row in enumerate(rows)), *every]
    table = {name: np.array([row[name] for row in every]) for name in ("lesion", "count")}
    for name in _MEASURES:
        found = [row.get(name, "" if name in _TEXT else math.nan) for row in every]
        table[name] = np.array(found, dtype=str if name in _TEXT else float)
    return labels, Table.of(table)


def _labelled(lesion: Volume, cord: Volume) -> Volume:
    """Lesions numbered from the head down, on the lesion's own grid; int16."""
    from scipy.ndimage import generate_binary_structure, label

    upright = lesion.oriented("LAS")
    drawn = upright.data > 0.5
    inside = drawn & filled(cord.oriented("LAS").data > 0.5)
    lost = int(drawn.sum() - inside.sum())
    if drawn.any() and not inside.any():
        raise ValueError("no voxel of the lesion lies in the cord: the two masks do not belong together")
    if lost:
        volume = lost * lesion.grid.voxel_volume
        share = 100 * lost / int(drawn.sum())
        warnings.warn(f"{volume:.1f} mm3 of lesion ({share:.1f} %) lie outside the cord and are left out", stacklevel=3)
    found, count = label(inside, generate_binary_structure(3, 2))
    where = np.nonzero(found)
    number = found[where]
    height = np.bincount(number, where[2], count + 1)[1:] / np.bincount(number, minlength=count + 1)[1:]
    order = np.zeros(count + 1, np.int16)
    order[1 + np.argsort(-height, kind="stable")] = np.arange(1, count + 1)
    return Volume(order[found], upright.grid).onto(lesion.grid)


def _middle(here: Anatomy, count: int) -> float:
    """Midsagittal position: mean of the cord's centres over 5 slices around the largest lesion, or over the whole cord."""
    centres = here.centre_x
    if count == 0:
        return float(np.nanmean(centres))
    largest = int(np.argmax(np.bincount(here.labels.ravel())[1:])) + 1
    z = round(float(np.argwhere(here.labels == largest)[:, 2].mean()))
    return float(np.nanmean(centres[max(z - 2, 0) : z + 3]))


def _measured(
    here: Anatomy, number: int, middle: float, image: Array | None, levels: Array | None
) -> dict[str, object]:
    """All measures of one lesion."""
    mask = here.labels == number
    px, py, pz = here.voxel_size
    z = np.flatnonzero(mask.any(axis=(0, 1)))
    area = mask.sum(axis=(0, 1))[z]
    rows = mask.any(axis=0)[:, z]
    extent = rows.shape[0] - np.argmax(rows[::-1], axis=0) - np.argmax(rows, axis=0)
    row: dict[str, object] = {
        "volume": float(mask.sum() * px * py * pz),
        "length": float((pz / here.cos[z]).sum()),
        "width": float((extent * py * here.cos_sagittal[z]).max()),
        "max_equivalent_diameter": 2 * math.sqrt(float((area * px * py * here.cos[z]).max()) / math.pi),
        "max_axial_damage_ratio": float((area / here.cord.sum(axis=(0, 1))[z]).max()),
        "slice_low": int(z[0]),
        "slice_high": int(z[-1]),
        "midsagittal_slice": here.box[0].start + middle,
        **midsagittal(here, mask, middle),
    }
    return row | _intensity(mask, image) | _levels(mask, levels)


def _together(
    here: Anatomy,
    rows: list[dict[str, object]],
    image: Array | None,
    levels: Array | None,
    middle: float,
    free: int | None,
) -> dict[str, object]:
    """The row for all lesions together; without any, sizes of 0 and bridges from the diameter of the cord."""
    if not rows:
        nothing: dict[str, object] = dict.fromkeys(("volume", "length", "width", "max_axial_damage_ratio"), 0.0)
        nothing |= {"max_equivalent_diameter": 0.0, "midsagittal_slice": here.box[0].start + middle}
        if free is None:
            return nothing
        if not 0 <= free < here.cord.shape[2] or not here.cord[:, :, free].any():
            raise ValueError(f"lesion_free_slice is {free}, where there is no cord")
        centre = float(here.centre_x[free])
        only = np.zeros(here.cord.shape, bool)
        return (
            nothing
            | {"midsagittal_slice": here.box[0].start + centre}
            | midsagittal(here, only, centre, np.array([free]))
        )
    if len(rows) == 1:
        return rows[0]
    mask = here.labels > 0

    def over(name: str, how: object) -> float:
        return float(how(np.array([row[name] for row in rows], dtype=float)))  # type: ignore[operator]

    largest = ("width", "max_equivalent_diameter", "max_axial_damage_ratio", "width_midsagittal", "slice_high")
    smallest = ("dorsal_bridge", "ventral_bridge", "total_bridge", "slice_low")
    found: dict[str, object] = {name: over(name, np.sum) for name in ("volume", "length", "length_midsagittal")}
    found |= {name: over(name, np.max) for name in largest} | {name: over(name, np.min) for name in smallest}
    found["midsagittal_slice"] = here.box[0].start + middle
    return found | _intensity(mask, image) | _levels(mask, levels)


def _intensity(mask: Array, image: Array | None) -> dict[str, object]:
    if image is None:
        return {}
    values = image[mask]
    values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
    return {"mean": float(values.mean()), "std": float(values.std())} if len(values) else {}


def _levels(mask: Array, levels: Array | None) -> dict[str, object]:
    found = [] if levels is None else sorted({int(v) for v in levels[mask] if v >= 1})
    if not found:
        return {}
    top, bottom = vertebra_name(found[0]), vertebra_name(found[-1])
    return {"level_top": found[0], "level_bottom": found[-1], "levels": top if top == bottom else f"{top}-{bottom}"}
