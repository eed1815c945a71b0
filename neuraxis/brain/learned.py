"""Regions of the brain by the small learned model of the package, together with the atlas."""

from __future__ import annotations

from collections.abc import Iterator

import lazy_loader as lazy
import numpy as np

from neuraxis import resources
from neuraxis.brain import atlas
from neuraxis.brain.head import mask_on, on, working_grid
from neuraxis.brain.labels import check_probability, labelled, trust_in_template
from neuraxis.brain.regions import STRUCTURES
from neuraxis.numerics import nets
from neuraxis.numerics.deformation import displacement_at, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_MODEL = "brain-small"
_EDGE = 1.5
"""Edge of the voxels that the model was trained on; mm."""

_BLUR = 0.7
"""Standard deviation of the Gaussian that blurs the atlas, since a registration may be off; mm. With 1.5 the nuclei of a simulated head overlapped
with the truth by .02 less."""

_LEAST = 0.02
"""What the atlas is at least, so that it never forbids a label."""


def learned(
    combined_magnitude: Volume,
    mask: Volume,
    warp_from_template: Volume,
    template_overlap: Table,
    atlas_labels: Volume | None = None,
    *,
    atlas_weight: float = 2.0,
    least_probability: float = 0.3,
    tiles: float = 0.5,
) -> tuple[Volume, Volume, Table]:
    """Regions by the small nnU-Net of the package, trained on synthetic images of any contrast, and the atlas.

    The network looks at 1.5 mm and knows no left and right; these come from the registration to the template, as does a second opinion:

        p_k(x) ~ network_k(x) atlas_k(x)^w

    with the atlas of the package, carried over and blurred by 0.7 mm. The dentate nucleus, which the network did not learn, comes from the atlas
    alone. The probabilities are brought to the voxels of the image, once.

    Parameters
    ----------
    combined_magnitude
        Magnitude; arbitrary, (X, Y, Z).
    mask
        The brain; bool, (X, Y, Z), at least one voxel. Its grid is that of the result.
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    template_overlap
        How well the brain lies on the template.
    atlas_labels
        Another atlas; this method knows the structures that it learned, and takes none.
    atlas_weight
        w; at least 0. 0 is the network alone, 1 trusts both alike. The default was the best for the network as it is, which alone
        is behind the atlas alone.
    least_probability
        Of a label; 0 to 1. Where none is as probable there is no label.
    tiles
        Step of the network's window, in windows; over 0, to 1. Smaller is smoother and slower.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registration, which tells left from right, can be trusted, and why not.

    Raises
    ------
    ValueError: the mask is empty, a knob is outside its range, the model is missing or changed, or another atlas is given.

    References
    ----------
    Billot 2023, doi:10.1016/j.media.2023.102789
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    """
    check_probability(least_probability)
    if atlas_labels is not None:
        raise ValueError("the learned regions cannot be those of another atlas: choose from_template")
    if not 0 <= atlas_weight < np.inf:
        raise ValueError(f"atlas_weight must be at least 0, not {atlas_weight}")
    inside = np.asarray(mask.data, bool)
    grid = working_grid(mask, _EDGE)
    seen = on(grid, Volume(np.where(inside, combined_magnitude.data, 0).astype(np.float32), mask.grid))
    image = Volume(np.where(mask_on(grid, mask), seen.data, np.float32(0)), grid)
    model = resources.find(_MODEL)
    chance = nets.predict(image, model, step=tiles).data
    there = places_of(grid)
    there = there + displacement_at(warp_from_template, there)
    parts = ((number, Volume(share, grid)) for number, share in _shares(chance, nets.classes(model), there, atlas_weight))
    labels, sure = labelled(parts, places_of(mask.grid)[inside], inside, mask.grid, least_probability)
    return labels, sure, trust_in_template(template_overlap)


def t1w_learned(
    t1w_brain: Volume,
    t1w_mask: Volume,
    warp_from_template: Volume,
    template_overlap: Table,
    atlas_labels: Volume | None = None,
    *,
    atlas_weight: float = 2.0,
    least_probability: float = 0.3,
    tiles: float = 0.5,
) -> tuple[Volume, Volume, Table]:
    """Regions in the T1w by the small nnU-Net of the package, and the atlas.

    As `learned`, for the T1w of the session.

    Parameters
    ----------
    t1w_brain
        T1w image, zero outside the brain; arbitrary, (X, Y, Z).
    t1w_mask
        The brain; bool, (X, Y, Z), at least one voxel. Its grid is that of the result.
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    template_overlap
        How well the brain lies on the template.
    atlas_labels
        Another atlas; this method knows the structures that it learned, and takes none.
    atlas_weight
        w; at least 0. 0 is the network alone, 1 trusts both alike. The default was the best for the network as it is, which alone
        is behind the atlas alone.
    least_probability
        Of a label; 0 to 1. Where none is as probable there is no label.
    tiles
        Step of the network's window, in windows; over 0, to 1. Smaller is smoother and slower.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), zero outside the mask. Probability of the label; 0 to 1, (X, Y, Z). A table of
    one row: whether the registration, which tells left from right, can be trusted, and why not.

    Raises
    ------
    ValueError: the mask is empty, a knob is outside its range, the model is missing or changed, or another atlas is given.

    References
    ----------
    Billot 2023, doi:10.1016/j.media.2023.102789
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    """
    return learned(
        t1w_brain, t1w_mask, warp_from_template, template_overlap, atlas_labels,
        atlas_weight=atlas_weight, least_probability=least_probability, tiles=tiles,
    )  # fmt: skip


def _shares(chance: Array, meaning: nets.Classes, there: Array, weight: float) -> Iterator[tuple[int, Array]]:
    """Probability of every label by network and atlas; of one that the network did not learn by the atlas, and the others share the rest."""
    left, rest = there[..., 0] < 0, np.ones(there.shape[:-1], np.float32)
    unlearned = [
        (number, _blurred(atlas.probability(number), there))
        for number in atlas.numbers()
        if not any(number in (one.left, one.right) for one in STRUCTURES if one.name in meaning.names)
    ]
    remainder = rest - np.sum([np.zeros_like(rest), *(share for _, share in unlearned)], axis=0)
    shares = []
    for one in (one for one in STRUCTURES if one.name in meaning.names):
        share = chance[..., meaning.channel(one.name)]
        if weight:
            prior = np.sum([_blurred(atlas.probability(number), there) for number in {one.left, one.right}], axis=0)
            share, rest = share * _opinion(prior, weight), rest - prior
        shares.append((one, share))
    none = chance[..., 0] * _opinion(rest, weight)
    total = np.sum([none, *(share for _, share in shares)], axis=0) + np.float32(1e-6)
    yield from unlearned
    for one, share in shares:
        share = share / total * remainder
        if not one.paired:
            yield one.left, share
            continue
        yield one.left, np.where(left, share, np.float32(0))
        yield one.right, np.where(left, np.float32(0), share)


def _opinion(prior: Array, weight: float) -> Array:
    return np.maximum(prior, np.float32(_LEAST)) ** np.float32(weight)


def _blurred(share: Volume, there: Array) -> Array:
    margin = int(np.ceil(3 * _BLUR / min(share.grid.voxel_size)))
    data = np.pad(share.data, margin)
    matrix = share.grid.matrix.copy()
    matrix[:3, 3] -= matrix[:3, :3] @ np.full(3, margin)
    wide = scipy.ndimage.gaussian_filter(data, [_BLUR / size for size in share.grid.voxel_size])
    return sampled(Volume(wide, Grid.of(wide.shape, matrix)), there)
