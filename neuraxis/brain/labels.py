"""Regions of the brain: labels on the grid of an image, and how probable each is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neuraxis.brain import atlas
from neuraxis.numerics.deformation import displacement_at, moved, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume


def from_template(
    warp_from_template: Volume, mask: Volume, template_overlap: Table, atlas_labels: Volume | None = None, *, least_probability: float = 0.3
) -> tuple[Volume, Volume, Table]:
    """Regions of the atlas, carried over by the registration to the template.

    Every voxel takes its place in the template, and there the probabilities of the atlas, interpolated once; it gets the most probable
    label. The atlas was made of twelve label maps of heads, of the deep nuclei of CIT168 and of the dentate nucleus of an atlas of the cerebellum.

    Parameters
    ----------
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    mask
        The brain; bool, (X, Y, Z). Its grid is that of the result.
    template_overlap
        How well the brain lies on the template.
    atlas_labels
        Labels of another atlas in the space of the template; whole numbers, (X, Y, Z). Without it, the atlas of the package.
    least_probability
        Of a label; 0 to 1. Where none is as probable there is no label.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registrations can be trusted, and why not.

    Raises
    ------
    ValueError: the knob is outside its range, or the brain does not lie on the template.

    References
    ----------
    Fonov 2011, doi:10.1016/j.neuroimage.2010.07.033
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    Billot 2023, doi:10.1016/j.media.2023.102789
    """
    check_probability(least_probability)
    inside = np.asarray(mask.data, bool)
    here = places_of(mask.grid)[inside]
    there = here + displacement_at(warp_from_template, here)
    parts = ((number, atlas.probability(number)) for number in atlas.numbers()) if atlas_labels is None else atlas.shares_of(atlas_labels)
    labels, chance = labelled(parts, there, inside, mask.grid, least_probability)
    return labels, chance, trust_in_template(template_overlap)


def t1w_from_template(
    warp_from_template: Volume, t1w_mask: Volume, template_overlap: Table, atlas_labels: Volume | None = None, *, least_probability: float = 0.3
) -> tuple[Volume, Volume, Table]:
    """Regions of the atlas on the T1w, carried over by its registration to the template.

    As `from_template`, for the T1w of the session.

    Parameters
    ----------
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    t1w_mask
        The brain; bool, (X, Y, Z). Its grid is that of the result.
    template_overlap
        How well the brain lies on the template.
    atlas_labels
        Labels of another atlas in the space of the template; whole numbers, (X, Y, Z). Without it, the atlas of the package.
    least_probability
        Of a label; 0 to 1. Where none is as probable there is no label.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registrations can be trusted, and why not.

    Raises
    ------
    ValueError: the knob is outside its range, or the brain does not lie on the template.

    References
    ----------
    Fonov 2011, doi:10.1016/j.neuroimage.2010.07.033
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    Billot 2023, doi:10.1016/j.media.2023.102789
    """
    return from_template(warp_from_template, t1w_mask, template_overlap, atlas_labels, least_probability=least_probability)


def from_t1w(
    t1w_position: Table,
    t1w_regions: Volume,
    mask: Volume,
    t1w_region_probability: Volume | None = None,
    t1w_region_trust: Table | None = None,
    *,
    least_probability: float = 0.3,
) -> tuple[Volume, Volume, Table]:
    """Regions of the session's T1w, carried over by the rigid motion between both images.

    Label by label the share of a voxel that it fills is interpolated linearly, once; the voxel gets the label of the largest share.

    Parameters
    ----------
    t1w_position
        Rigid motion from places of this image to places of the T1w.
    t1w_regions
        Labels on the grid of the T1w; whole numbers, (X, Y, Z).
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.
    t1w_region_probability
        Probability of each label; 0 to 1, on the grid of the T1w. Without it 1.
    t1w_region_trust
        Whether they can be trusted there.
    least_probability
        Share of a label; 0 to 1. Where none is as large there is no label.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registrations can be trusted, and why not.

    Raises
    ------
    ValueError: the knob is outside its range, or no label lies in the mask.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    check_probability(least_probability)
    inside = np.asarray(mask.data, bool)
    there = moved(matrix_of(t1w_position), places_of(mask.grid)[inside])
    doubts = [] if t1w_region_trust is None else [str(one) for one in t1w_region_trust["why"] if str(one)]
    doubts += [] if t1w_position["trusted"].all() else ["registration to the T1w doubtful"]
    parts = atlas.shares_of(t1w_regions, t1w_region_probability)
    labels, chance = labelled(parts, there, inside, mask.grid, least_probability)
    return labels, chance, _trust(doubts)


def trust_in_template(template_overlap: Table) -> Table:
    """One row: whether the registration to the template can be trusted, and why not."""
    return _trust([] if template_overlap["trusted"].all() else ["registration to the template doubtful"])


def _trust(doubts: list[str]) -> Table:
    return Table.of({"trusted": [int(not doubts)], "why": ["; ".join(doubts)]})


def check_probability(least: float) -> None:
    """ValueError for a knob outside its range."""
    if not 0 <= least <= 1:
        raise ValueError(f"least_probability must be 0 to 1, not {least}")


def matrix_of(position: Table) -> Array:
    """4 x 4 of a table with the columns x, y, z and shift (its first three rows)."""
    matrix = np.eye(4)
    matrix[:3] = np.stack([position[name][:3] for name in ("x", "y", "z", "shift")], axis=1)
    return matrix


def labelled(
    parts: Iterable[tuple[int, Volume]], places: Array, inside: Array, grid: Grid, least: float
) -> tuple[Volume, Volume]:
    """The most probable of the labels at `places`, which belong to the voxels `inside`; and its probability."""
    best, name = np.zeros(len(places), np.float32), np.zeros(len(places), np.int16)
    for number, share in parts:
        index = moved(np.linalg.inv(share.grid.matrix), places)
        near = ((index > -1) & (index < np.array(share.grid.shape))).all(axis=1)
        found = sampled(share, places[near])
        better = found > best[near]
        chosen = np.flatnonzero(near)[better]
        best[chosen], name[chosen] = found[better], number
    name[best < least], best[best < least] = 0, 0
    if not name.any():
        raise ValueError("no region lies in the mask of the brain: the registration failed")
    labels, chance = np.zeros(grid.shape, np.int16), np.zeros(grid.shape, np.float32)
    labels[inside], chance[inside] = name, best.clip(0, 1)
    return Volume(labels, grid), Volume(chance, grid)
