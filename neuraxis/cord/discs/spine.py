"""Discs by the spine model (TotalSpineSeg, step 1), when it is fetched."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis import resources
from neuraxis.cord.discs.numbering import SPACING
from neuraxis.cord.tissues.column import box_around, checked_path
from neuraxis.cord.vertebrae import PAM50_DISCS, disc_name
from neuraxis.numerics import nets
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_LEAST_DISC = 50.0
"""A smaller part than this is no disc; mm3. The smallest cervical disc of an adult has about 500."""

_PRIORITY = (3, 25, 8, 20)
"""Landmark discs, the surest first: C2/C3, L5/S1, C7/T1, T12/L1."""


@dataclass(frozen=True)
class _Disc:
    tip: tuple[int, int, int]
    height: float
    landmark: int  # 0: none
    size: int


def spine(image: Volume, cord_path: Table, *, tiles: float = 0.5, margin: float = 70.0) -> Volume:
    """Discs of TotalSpineSeg, named from the landmark discs; fetched with `neuraxis fetch spine`.

    The model finds all discs, and tells C2/C3, C7/T1, T12/L1 and L5/S1 from the others. The others are counted from these,
    upwards and downwards. Where two neighbours lie more than 1.6 times the usual distance apart (that of the PAM50
    template, scaled to this spine), discs between them are taken to be missing and are counted too. The label is put on
    the voxel of the disc nearest to the canal: its posterior tip. The app's own counting stands in place of the iterative
    labelling of the original program.

    Parameters
    ----------
    image
        Image of the spine, any contrast and orientation; (X, Y, Z), finite.
    cord_path
        Rough path of the cord: slice, x, y in voxels of the upright frame.
    tiles
        Step of the sliding window, in windows; over 0, to 1. Smaller is smoother and slower.
    margin
        Distance from the path, in plane, that is looked at; 40 to 300 mm. Larger is slower.

    Returns
    -------
    Discs; one voxel each, (X, Y, Z), the disc above vertebra n has the value n; all zero where no landmark disc is in
    view.

    Raises
    ------
    ValueError: the model is not installed, the path is empty, or a knob is out of range.

    References
    ----------
    Warszawer 2024, doi:10.5281/zenodo.13894354
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    if not 0 < tiles <= 1:
        raise ValueError(f"tiles must be over 0 and at most 1, not {tiles}")
    if not 40 <= margin <= 300:
        raise ValueError(f"margin must be 40 to 300 mm, not {margin}")
    if image.data.ndim != 3:
        raise ValueError(f"the image must have three axes, not {image.data.ndim}")
    model, about = resources.find("spine"), resources.known()["spine"]
    upright = image.oriented("LAS")
    box = box_around(cord_path, upright.grid, margin, whole_length=True)
    found = nets.predict(
        upright, model, step=tiles, orientation=nets.trained_orientation(model, about.orientation), box=box
    )
    labels = discs_of(found.data, nets.classes(model), cord_path, upright.grid)
    return Volume(labels, upright.grid).onto(image.grid)


def discs_of(probabilities: Array, meaning: nets.Classes, cord_path: Table, grid: Grid) -> Array:
    """Single voxels, int16, of the model's probabilities on the upright `grid`; warns where the count is not sure."""
    mask, landmarks = _discs_and_landmarks(probabilities, meaning)
    discs = _parts(mask, landmarks, _middle(probabilities, meaning, cord_path, grid), grid)
    labels = np.zeros(grid.shape, np.int16)
    for number, disc in zip(_numbers(discs), discs, strict=True):
        if number in PAM50_DISCS or 22 <= number <= 25:
            labels[disc.tip] = number
    return labels


def _discs_and_landmarks(probabilities: Array, meaning: nets.Classes) -> tuple[Array, Array]:
    """Where discs are, and which named disc a voxel is of (0: not known), by the names of the classes."""
    named = {name: number for name in meaning.names if (number := _disc_number(name)) is not None}
    if not named:
        raise ValueError(f"the model has no class of discs; it has {', '.join(meaning.names)}")
    part = np.stack([probabilities[..., meaning.names.index(name)] for name in named])
    if meaning.regions:
        mask = (part > 0.5).any(axis=0)
        part = np.where(part > 0.5, part, 0)
    else:
        mask = (
            probabilities.argmax(axis=-1)[None]
            == np.array([meaning.names.index(n) for n in named])[:, None, None, None]
        )
        part, mask = np.where(mask, part, 0), mask.any(axis=0)
    numbers = np.array(list(named.values()), np.int16)
    sure = part * (numbers > 0)[:, None, None, None]
    return np.asarray(mask), np.where(sure.max(axis=0) > 0, numbers[sure.argmax(axis=0)], 0)


def _disc_number(name: str) -> int | None:
    """3 for "disc_C2_C3"; 0 for discs without a name; None for what is no disc."""
    if not name.lower().startswith("disc"):
        return None
    match = re.fullmatch(r"disc[_ ]?[CTL]\d+[_/ -]?([CTLS])(\d*)", name, re.IGNORECASE)
    if match is None:
        return 0
    first = {"C": 0, "T": 7, "L": 19, "S": 24}[match[1].upper()]
    return first + int(match[2] or 1)


def _middle(probabilities: Array, meaning: nets.Classes, cord_path: Table, grid: Grid) -> Array:
    """(Z, 2): middle of the canal in each slice in voxels, from the model where it sees it, else from the path."""
    path = checked_path(cord_path, grid)
    every = np.arange(grid.shape[2])
    middle = np.stack([np.interp(every, path["slice"], path[name]) for name in ("x", "y")], axis=1)
    inside = [
        meaning.names.index(name) for name in ("canal", "cord", "spinal_canal", "spinal_cord") if name in meaning.names
    ]
    if inside:
        weights = probabilities[..., inside].max(axis=-1)
        weights = np.where(weights > 0.5, weights, 0)
        amount = weights.sum(axis=(0, 1))
        seen = amount * grid.voxel_size[0] * grid.voxel_size[1] > 30  # mm2; the canal has over 100
        for axis in (0, 1):
            mean = weights.sum(axis=1 - axis).T @ np.arange(grid.shape[axis])
            if seen.any():
                at = every[seen]
                near = (every >= at[0]) & (every <= at[-1])
                middle[near, axis] = np.interp(every[near], at, mean[seen] / amount[seen])
    return middle


def _parts(mask: Array, landmarks: Array, middle: Array, grid: Grid) -> list[_Disc]:
    """The discs from the top to the bottom."""
    parts, count = scipy.ndimage.label(mask, np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(scipy.ndimage.find_objects(parts), 1):
        voxels = np.argwhere(parts[box] == number) + [one.start for one in box]
        if len(voxels) * grid.voxel_volume < _LEAST_DISC:
            continue
        apart = (voxels[:, :2] - middle[voxels[:, 2]]) * grid.voxel_size[:2]
        distance = np.hypot(apart[:, 0], apart[:, 1])
        near = voxels[distance <= distance.min() + 0.5 * max(grid.voxel_size)]
        centre = near.mean(axis=0)
        tip = near[np.argmin((((near - centre) * grid.voxel_size) ** 2).sum(axis=1))]
        votes = np.bincount(landmarks[tuple(voxels.T)], minlength=1)
        votes[0] = 0
        landmark = int(votes.argmax()) if votes.sum() > 0.3 * len(voxels) else 0
        x, y, z = (int(one) for one in tip)
        found.append(_Disc((x, y, z), z * grid.voxel_size[2], landmark, len(voxels)))
    return sorted(found, key=lambda one: -one.height)


def _numbers(discs: list[_Disc]) -> list[int]:
    """The number of each disc, counted from the surest landmark; zeros where there is none."""
    best: dict[int, int] = {}
    for place, disc in enumerate(discs):
        if disc.landmark and (disc.landmark not in best or disc.size > discs[best[disc.landmark]].size):
            best[disc.landmark] = place
    ranked = sorted(best, key=lambda one: _PRIORITY.index(one) if one in _PRIORITY else len(_PRIORITY))
    if not ranked:
        if discs:
            warnings.warn("discs are seen, and none of them can be named: no level is given", stacklevel=3)
        return [0] * len(discs)
    numbers = _count(discs, best[ranked[0]], ranked[0])
    wrong = [one for one in ranked if numbers[best[one]] != one]
    if wrong:
        told = ", ".join(f"{disc_name(one)} is counted as {disc_name(max(numbers[best[one]], 1))}" for one in wrong)
        warnings.warn(
            f"the landmark discs do not agree: counted from {disc_name(ranked[0])}, {told}; do not trust the levels",
            stacklevel=3,
        )
    return numbers


def _count(discs: list[_Disc], start: int, number: int) -> list[int]:
    """Numbers upwards and downwards from disc `start`; a gap of about two discs counts as two."""
    gaps = np.array([a.height - b.height for a, b in zip(discs, discs[1:], strict=False)])
    usual = np.array([_usual(number + place - start) for place in range(len(gaps))])
    scale = float(np.median(gaps / usual)) if len(gaps) else 1.0
    numbers = [0] * len(discs)
    numbers[start] = number
    for place in range(start + 1, len(discs)):
        numbers[place] = numbers[place - 1] + _steps(gaps[place - 1], scale, numbers[place - 1], 1)
    for place in range(start - 1, -1, -1):
        numbers[place] = numbers[place + 1] - _steps(gaps[place], scale, numbers[place + 1], -1)
    return numbers


def _steps(gap: float, scale: float, number: int, direction: int) -> int:
    expected, steps = 0.0, 0
    while steps == 0 or gap > expected + 0.6 * scale * _usual(number + direction * steps - (direction < 0)):
        expected += scale * _usual(number + direction * steps - (direction < 0))
        steps += 1
    return steps


def _usual(disc: int) -> float:
    """Distance from disc `disc` to the one below in PAM50; mm. Below L1/L2, where PAM50 ends, that of L1."""
    return SPACING[min(max(disc, 2), 20)]
