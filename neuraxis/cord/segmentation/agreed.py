"""The cord where two outlines that know nothing of each other agree."""

from __future__ import annotations

import warnings

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.segmentation.learned import learned
from neuraxis.cord.segmentation.polar import polar
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_DOUBTFUL = 0.8
"""Agreement of the two outlines below which somebody must look; where fluid and cord are as bright, it is 0.7."""

_DISPUTED = 0.75
"""Overlap of the two over all slices below which the network has to be sure of its own."""

_GOOD = 0.75
"""Overlap of the two in a slice from which on a bridge may begin."""


def agreed(
    image: Volume,
    tissues: Volume,
    cord_path: Table,
    *,
    weight: float = 0.5,
    least_overlap: float = 0.5,
    least_agreement: float = 0.6,
    least_confidence: float = 0.8,
    longest_bridge: float = 20.0,
) -> Volume:
    """Outline between the one in polar coordinates and the learned one, where both agree.

    Both follow the same rough path and know nothing of each other: one sees edges, the other was taught shapes. In every
    slice the outline lies between theirs,

        d = (1 - weight) d_polar + weight d_learned,      share of the voxel = 1/2 + d / voxel edge, 0 to 1,

    d being the distance to the outline, positive inside. Where the two overlap too little, one of them is wrong: at the ends
    such slices are left out. Between others, over at most `longest_bridge` along the cord, the outline is led from the last good
    slice above to the first good one below (good: overlap of 0.75), which moves it and blends the distances d; over a longer
    stretch the outline in polar coordinates stays. Both with a warning that names the slices. If most of what the two found does
    not overlap, there is no cord to be trusted; nor if they agree in part only (Dice under 0.75) and the network is not sure of
    what it outlined itself.

    Parameters
    ----------
    image
        Image of the cord; any contrast, (X, Y, Z).
    tissues
        Probabilities of cord, canal and grey matter; 0..1, (X, Y, Z, 3).
    cord_path
        Rough path of the cord: slice, x, y (voxel indices of the upright image).
    weight
        Of the learned outline; 0 to 1. At 0 the learned one only has to agree, at 1 that in polar coordinates.
    least_overlap
        Smallest Dice overlap of the two in a slice; 0 to 1. Larger leaves out more slices.
    least_agreement
        Smallest Dice overlap of the two over all slices; 0 to 1. Larger refuses more images.
    least_confidence
        Smallest mean probability of cord inside the learned outline where the two agree in part only; 0 to 1. Cords in
        anatomical images have 0.87 and more, in a mean diffusion-weighted one 0.76. Larger refuses more images.
    longest_bridge
        Longest stretch without agreement that is bridged; mm, at least 0. At 0 none is.

    Returns
    -------
    Cord; 0..1, (X, Y, Z), zero in slices without it.

    Raises
    ------
    ValueError: a knob is outside its range, one of the two finds no cord, or the two do not agree.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be 0 to 1, not {weight}")
    for name, value in (
        ("least_overlap", least_overlap),
        ("least_agreement", least_agreement),
        ("least_confidence", least_confidence),
    ):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be 0 to 1, not {value}")
    if not 0 <= longest_bridge < np.inf:
        raise ValueError(f"longest_bridge must be at least 0 mm, not {longest_bridge}")
    traced = polar(image, cord_path).oriented()
    outlined = learned(image, tissues, cord_path)
    sure = float(tissues.data[..., 0][outlined.data > 0.5].mean())
    taught = outlined.oriented()
    one, two = traced.data > 0.5, taught.data > 0.5
    both, sizes = (one & two).sum(axis=(0, 1)), one.sum(axis=(0, 1)) + two.sum(axis=(0, 1))
    whole = 2 * both.sum() / max(int(sizes.sum()), 1)
    overlap = 2 * both / np.maximum(sizes, 1)
    good = np.flatnonzero(overlap >= max(least_overlap, 1e-6))
    if whole < least_agreement or not good.size:
        raise ValueError(
            f"the outline along edges and the learned one do not agree (Dice {whole:.2f}, and {least_agreement:g} is needed): "
            "what was found is not trusted to be a cord"
        )
    if whole < _DISPUTED and sure < least_confidence:
        raise ValueError(
            f"the outline along edges and the learned one agree in part only (Dice {whole:.2f}), and the network is not sure of its own "
            f"(mean probability {sure:.2f}, and {least_confidence:g} is needed): what was found is not trusted to be a cord"
        )
    if whole < _DOUBTFUL:
        warnings.warn(
            f"the outline along edges and the learned one agree in part only (Dice {whole:.2f}): look at the pictures before "
            "the numbers are used",
            stacklevel=2,
        )
    found = np.zeros(traced.data.shape, np.float32)
    first, last = int(good[0]), int(good[-1])
    kept: list[int] = []
    bridged: list[int] = []
    for z in range(first, last + 1):
        if overlap[z] < least_overlap:
            found[:, :, z] = traced.data[:, :, z]
            kept.append(z)
            continue
        d = (1 - weight) * _depth(traced.data[:, :, z]) + weight * _depth(taught.data[:, :, z])
        found[:, :, z] = np.clip(0.5 + d, 0, 1)
    for low, high in _gaps(overlap[first : last + 1], least_overlap):
        low, high = first + low, first + high
        if (high - low) * traced.grid.voxel_size[2] <= longest_bridge:
            _bridge(found, low, high)
            bridged += range(low + 1, high)
    _tell([z for z in kept if z not in bridged], bridged, np.flatnonzero(one.any(axis=(0, 1))), (first, last))
    return Volume(found, traced.grid).onto(image.grid)


def _depth(share: Array) -> Array:
    """Distance to the outline of a slice in voxel edges, positive inside; below the voxel from the partial volume."""
    inside = share > 0.5
    depth = scipy.ndimage.distance_transform_edt(inside) - scipy.ndimage.distance_transform_edt(~inside)
    near = np.abs(depth) <= 1
    return np.where(near, share - 0.5, depth - 0.5 * np.sign(depth))


def _gaps(overlap: Array, least: float) -> list[tuple[int, int]]:
    """The last good slice below and the first good one above each stretch that holds a slice under `least`."""
    label, number = scipy.ndimage.label(overlap < max(_GOOD, least))
    stretches = [np.flatnonzero(label == one) for one in range(1, number + 1)]
    return [
        (int(s[0]) - 1, int(s[-1]) + 1)
        for s in stretches
        if (overlap[s] < least).any() and s[0] > 0 and s[-1] < len(overlap) - 1
    ]


def _bridge(found: Array, low: int, high: int) -> None:
    """Fills the slices between two with the outline led from one to the other: centre and distances change evenly."""
    depths = [_depth(found[:, :, z]) for z in (low, high)]
    centres = [np.array(scipy.ndimage.center_of_mass(found[:, :, z])) for z in (low, high)]
    for z in range(low + 1, high):
        share = (z - low) / (high - low)
        centre = (1 - share) * centres[0] + share * centres[1]
        moved = [
            scipy.ndimage.shift(d, centre - at, order=1, mode="nearest") for d, at in zip(depths, centres, strict=True)
        ]
        found[:, :, z] = np.clip(0.5 + (1 - share) * moved[0] + share * moved[1], 0, 1)


def _named(slices: list[int]) -> str:
    text = ", ".join(map(str, slices[:8])) + (" ..." if len(slices) > 8 else "")
    return f"in {len(slices)} slice{'s' if len(slices) > 1 else ''} ({text})"


def _tell(kept: list[int], bridged: list[int], slices: Array, ends: tuple[int, int]) -> None:
    """Warns of the slices where the two outlines did not agree."""
    for lost, end in ((slices[slices > ends[1]], "upper"), (slices[slices < ends[0]], "lower")):
        if len(lost):
            text = f"slices {lost[0]} to {lost[-1]}" if len(lost) > 1 else f"slice {lost[0]}"
            warnings.warn(
                f"the {end} end ({text}) is left out: the learned outline sees no cord there, or another one",
                stacklevel=3,
            )
    if kept:
        warnings.warn(f"{_named(kept)} only the outline along edges was used: the learned one differs", stacklevel=3)
    if bridged:
        warnings.warn(
            f"{_named(bridged)} the outline was led from the slices above and below: what was found there does not agree",
            stacklevel=3,
        )
