"""Regions whose deep nuclei follow the susceptibility map where they are seen in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import lazy_loader as lazy
import numpy as np

from neuraxis.brain import atlas
from neuraxis.brain.labels import from_t1w, from_template, matrix_of
from neuraxis.brain.regions import NUCLEI, Structure, structures
from neuraxis.numerics.deformation import displacement_at, moved, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_BLUR = 1.0
"""Of labels that have no probabilities; mm, standard deviation."""

_NUCLEI = {*(one.name for one in NUCLEI), "globus pallidus", "pallidum", "accumbens", "accumbens area", "substantia nigra"}
"""The deep nuclei, as we and FreeSurfer call them."""

_ROUNDS = 8
_LEAST = 0.01
"""Prior probability of a label at the edge of its reach."""

_NARROWEST = 0.005
"""Least standard deviation of the susceptibility within a structure; ppm."""

_FEWEST = 20
"""Voxels below which a structure has no susceptibility of its own."""


def from_template_on_chi(
    warp_from_template: Volume,
    mask: Volume,
    template_overlap: Table,
    chi_unreferenced: Volume,
    atlas_labels: Volume | None = None,
    region_names: Table | None = None,
    *,
    least_probability: float = 0.3,
    reach: float = 2.0,
) -> tuple[Volume, Volume, Table]:
    """Regions of the atlas, carried over by the registration to the template, their deep nuclei refined on the susceptibility.

    As `from_template`; then, within `reach` of the nuclei, each voxel takes the label of the largest posterior

        p_k(x) ~ atlas_k(x) N(chi(x); m_k, s_k)

    with mean and standard deviation of every structure (left and right together) from the posteriors themselves, in eight rounds. A
    structure that susceptibility does not set off from its neighbours stays where the atlas has it.

    Parameters
    ----------
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    mask
        The brain; bool, (X, Y, Z). Its grid is that of the result.
    template_overlap
        How well the brain lies on the template.
    chi_unreferenced
        Susceptibility; ppm, (X, Y, Z), zero where it is not known.
    atlas_labels
        Labels of another atlas in the space of the template; whole numbers, (X, Y, Z). Without it, the atlas of the package.
    region_names
        index, name: what labels are called that have not our numbers; the deep nuclei are known by their names.
    least_probability
        Of a label; 0 to 1. Where none is as probable there is no label.
    reach
        Distance from a nucleus within which labels may change; mm, at least 0.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registrations can be trusted, and why not.

    Raises
    ------
    ValueError: a knob is outside its range, or the brain does not lie on the template.

    References
    ----------
    Fonov 2011, doi:10.1016/j.neuroimage.2010.07.033
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    Billot 2023, doi:10.1016/j.media.2023.102789
    Van Leemput 1999, doi:10.1109/42.811270
    """
    labels, chance, trust = from_template(warp_from_template, mask, template_overlap, atlas_labels, least_probability=least_probability)
    here = places_of(mask.grid)[np.asarray(mask.data, bool)]
    own = ((number, atlas.probability(number)) for number in atlas.numbers())
    parts = own if atlas_labels is None else atlas.shares_of(atlas_labels, blurred=_BLUR)
    there = here + displacement_at(warp_from_template, here)
    return *_refined(labels, chance, parts, there, mask, chi_unreferenced, reach, structures(region_names)), trust


def from_t1w_on_chi(
    t1w_position: Table,
    t1w_regions: Volume,
    mask: Volume,
    chi_unreferenced: Volume,
    t1w_region_probability: Volume | None = None,
    t1w_region_trust: Table | None = None,
    region_names: Table | None = None,
    *,
    least_probability: float = 0.3,
    reach: float = 2.0,
) -> tuple[Volume, Volume, Table]:
    """Regions of the session's T1w, carried over by the rigid motion between both images, their deep nuclei refined on the susceptibility.

    As `from_t1w`, then as `from_template_on_chi`, with the shares of the labels, blurred by 1 mm, in place of the atlas.

    Parameters
    ----------
    t1w_position
        Rigid motion from places of this image to places of the T1w.
    t1w_regions
        Labels on the grid of the T1w; whole numbers, (X, Y, Z).
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.
    chi_unreferenced
        Susceptibility; ppm, (X, Y, Z), zero where it is not known.
    t1w_region_probability
        Probability of each label; 0 to 1, on the grid of the T1w. Without it 1.
    t1w_region_trust
        Whether they can be trusted there.
    region_names
        index, name: what labels are called that have not our numbers; the deep nuclei are known by their names.
    least_probability
        Share of a label; 0 to 1. Where none is as large there is no label.
    reach
        Distance from a nucleus within which labels may change; mm, at least 0.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registrations can be trusted, and why not.

    Raises
    ------
    ValueError: a knob is outside its range, or no label lies in the mask.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    Van Leemput 1999, doi:10.1109/42.811270
    """
    labels, chance, trust = from_t1w(
        t1w_position, t1w_regions, mask, t1w_region_probability, t1w_region_trust, least_probability=least_probability
    )
    there = moved(matrix_of(t1w_position), places_of(mask.grid)[np.asarray(mask.data, bool)])
    parts = atlas.shares_of(t1w_regions, blurred=_BLUR)
    return *_refined(labels, chance, parts, there, mask, chi_unreferenced, reach, structures(region_names)), trust


def _refined(
    labels: Volume, chance: Volume, parts: Iterable[tuple[int, Volume]], places: Array, mask: Volume, chi: Volume, reach: float,
    known: Sequence[Structure],
) -> tuple[Volume, Volume]:  # fmt: skip
    """Labels and their probability after the nuclei have followed the susceptibility."""
    if not reach >= 0:
        raise ValueError(f"reach must be at least 0 mm, not {reach}")
    inside, seen = np.asarray(mask.data, bool), np.asarray(chi.data) != 0
    nuclei = np.isin(labels.data, [number for one in known if one.name.lower() in _NUCLEI for number in (one.left, one.right)])
    if not nuclei.any():
        return labels, chance
    near = inside & seen & (scipy.ndimage.distance_transform_edt(~nuclei, sampling=mask.grid.voxel_size) <= reach)
    there = places[near[inside]]
    numbers, prior = [], []
    for number, share in parts:
        found = sampled(share, there)
        if (found > _LEAST).sum() >= _FEWEST:
            numbers.append(number)
            prior.append(np.where(found > _LEAST, found, 0))
    if not numbers:  # susceptibility is not known there
        return labels, chance
    weights = np.array(prior)
    weights = np.vstack([weights, np.clip(1 - weights.sum(axis=0), _LEAST, 1)])  # of no structure
    weights /= weights.sum(axis=0)
    left_of = {one.right: one.left for one in known}
    kinds = np.unique([left_of.get(number, number) for number in numbers] + [0], return_inverse=True)[1]
    values = np.asarray(chi.data, float)[near]
    posterior = weights
    for _ in range(_ROUNDS):
        score = np.log(np.maximum(weights, 1e-12))
        for kind in range(kinds.max() + 1):
            mine = posterior[kinds == kind].sum(axis=0)
            middle = (mine * values).sum() / mine.sum()
            spread = max(float(np.sqrt((mine * (values - middle) ** 2).sum() / mine.sum())), _NARROWEST)
            score[kinds == kind] -= 0.5 * ((values - middle) / spread) ** 2 + np.log(spread)
        posterior = np.where(weights > 0, np.exp(score - score.max(axis=0)), 0)
        posterior /= posterior.sum(axis=0)
    best = posterior.argmax(axis=0)
    new, sure = np.array(labels.data), np.array(chance.data)
    new[near] = np.array([*numbers, 0])[best]
    sure[near] = np.where(best < len(numbers), posterior.max(axis=0), 0)
    return Volume(new, labels.grid), Volume(sure.astype(np.float32), chance.grid)
