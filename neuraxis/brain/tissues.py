"""Grey matter, white matter and fluid of the brain, from brightness and the atlas together."""

from __future__ import annotations

from collections.abc import Sequence

import lazy_loader as lazy
import numpy as np

from neuraxis.brain import atlas
from neuraxis.brain.labels import matrix_of
from neuraxis.brain.regions import FLUIDS, STRUCTURES
from neuraxis.numerics.deformation import displacement_at, moved, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_WHITE = ("cerebral white matter", "cerebellar white matter", "brain stem", "ventral diencephalon")
_CORTEX = ("cerebral cortex", "cerebellar cortex", "hippocampus", "amygdala")
"""All other structures are deep grey matter, whose brightness lies between that of cortex and white matter."""

_LEAST = 0.02
"""Prior probability that every class has everywhere: the atlas does not know this head."""


def t1w_tissues(
    t1w_brain: Volume,
    t1w_mask: Volume,
    warp_from_template: Volume,
    *,
    neighbours: float = 0.5,
    rounds: int = 15,
) -> tuple[Volume, Volume, Volume]:
    """Probabilities of grey matter, white matter and fluid in the T1w.

    A mixture of four Gaussians (fluid, cortex, deep grey matter, white matter), whose weights in each voxel are the probabilities of the
    atlas laid on the head, fitted by expectation and maximisation; a voxel tends to be what its six neighbours are (mean field):

        p_k(x) ~ atlas_k(x) N(I(x); m_k, s_k) exp(neighbours sum_y p_k(y))

    Cortex and deep grey matter are added.

    Parameters
    ----------
    t1w_brain
        T1w image without the receive field, zero outside the brain; arbitrary, (X, Y, Z).
    t1w_mask
        The brain; bool, (X, Y, Z).
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    neighbours
        How much a voxel heeds each neighbour; at least 0.
    rounds
        Of expectation and maximisation; at least 1.

    Returns
    -------
    Probabilities of grey matter, white matter and fluid; 0 to 1, (X, Y, Z), their sum is 1 in the brain and 0 outside.

    Raises
    ------
    ValueError: a knob is outside its range, or the mask is empty.

    References
    ----------
    Van Leemput 1999, doi:10.1109/42.811270
    Ashburner 2005, doi:10.1016/j.neuroimage.2005.02.018
    """
    return _told_apart([t1w_brain.data], t1w_mask, warp_from_template, neighbours, rounds)


def tissues_from_gre(
    homogeneous_magnitude: Volume,
    mask: Volume,
    warp_from_template: Volume,
    chi_unreferenced: Volume | None = None,
    *,
    neighbours: float = 0.2,
    rounds: int = 15,
) -> tuple[Volume, Volume, Volume]:
    """Probabilities of grey matter, white matter and fluid in the gradient echo itself, for sessions without a T1w.

    As `t1w_tissues`, from magnitude and susceptibility together: in each tissue both are normal and know nothing of each other. Where
    susceptibility is not known magnitude tells alone. The contrast of the cortex to white matter is smaller than in a T1w, so more of
    the result is the atlas.

    Parameters
    ----------
    homogeneous_magnitude
        Magnitude of the echoes without the receive field, whose mean is taken; arbitrary, (X, Y, Z, E).
    mask
        The brain; bool, (X, Y, Z), at least one voxel.
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    chi_unreferenced
        Susceptibility; ppm, (X, Y, Z), zero where it is not known. Without it the magnitude stands alone.
    neighbours
        How much a voxel heeds each neighbour; at least 0.
    rounds
        Of expectation and maximisation; at least 1.

    Returns
    -------
    Probabilities of grey matter, white matter and fluid; 0 to 1, (X, Y, Z), their sum is 1 in the brain and 0 outside.

    Raises
    ------
    ValueError: a knob is outside its range, or the mask is empty.

    References
    ----------
    Van Leemput 1999, doi:10.1109/42.811270
    Ashburner 2005, doi:10.1016/j.neuroimage.2005.02.018
    """
    images = [np.mean(homogeneous_magnitude.data, axis=3)]
    if chi_unreferenced is not None:
        images.append(np.where(chi_unreferenced.data, chi_unreferenced.data, np.nan))
    return _told_apart(images, mask, warp_from_template, neighbours, rounds)


def _told_apart(
    images: Sequence[Array], mask: Volume, warp_from_template: Volume, neighbours: float, rounds: int
) -> tuple[Volume, Volume, Volume]:
    """Grey matter, white matter and fluid by the mixture that `t1w_tissues` describes; NaN in an image is not known."""
    if not neighbours >= 0 or rounds < 1:
        raise ValueError(f"neighbours must be at least 0 and rounds at least 1, not {neighbours} and {rounds}")
    inside = np.asarray(mask.data, bool)
    if not inside.any():
        raise ValueError("the mask of the brain is empty")
    here = places_of(mask.grid)[inside]
    prior = _priors(here + displacement_at(warp_from_template, here))
    rows = [np.asarray(image, np.float32)[inside] for image in images]
    known = [np.isfinite(row) for row in rows]
    chance = prior.copy()
    for _ in range(rounds):
        score = np.log(prior)
        for row, told in zip(rows, known, strict=True):
            values = row[told]
            if values.size:
                middles, spreads = _gaussians(values, chance[:, told])
                score[:, told] -= 0.5 * ((values - middles[:, None]) / spreads[:, None]) ** 2 + np.log(spreads)[:, None]
        if neighbours:
            score += neighbours * _around(chance, inside)
        score -= score.max(axis=0)
        chance = np.exp(score)
        chance /= chance.sum(axis=0)
    fluid, cortex, deep, white = chance

    def whole(part: Array) -> Volume:
        data = np.zeros(inside.shape, np.float32)
        data[inside] = part.clip(0, 1)
        return Volume(data, mask.grid)

    return whole(cortex + deep), whole(white), whole(fluid)


def tissues_from_t1w(
    t1w_position: Table, t1w_gray_probability: Volume, t1w_white_probability: Volume, t1w_fluid_probability: Volume, mask: Volume
) -> tuple[Volume, Volume, Volume]:
    """Probabilities of the tissues, brought over from the session's T1w by the rigid motion between both images, interpolated once.

    Parameters
    ----------
    t1w_position
        Rigid motion from places of this image to places of the T1w.
    t1w_gray_probability
        Of grey matter in the T1w; 0 to 1, (X, Y, Z).
    t1w_white_probability
        Of white matter.
    t1w_fluid_probability
        Of fluid.
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.

    Returns
    -------
    Probabilities of grey matter, white matter and fluid; 0 to 1, (X, Y, Z), zero outside the mask and where the T1w shows no brain.

    Raises
    ------
    ValueError: the images lie on several grids.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    inside = np.asarray(mask.data, bool)
    there = moved(matrix_of(t1w_position), places_of(mask.grid)[inside])

    def over(part: Volume) -> Volume:
        data = np.zeros(inside.shape, np.float32)
        data[inside] = sampled(_averaged(part, mask.grid), there).clip(0, 1)
        return Volume(data, mask.grid)

    return over(t1w_gray_probability), over(t1w_white_probability), over(t1w_fluid_probability)


def _averaged(volume: Volume, grid: Grid) -> Volume:
    """Smoothed as far as the voxels of `grid` are larger."""
    wide = [np.sqrt(max((a / b) ** 2 - 1, 0)) / 2.355 for a, b in zip(np.sort(grid.voxel_size), np.sort(volume.grid.voxel_size), strict=True)]
    if max(wide) < 0.2:
        return volume
    return Volume(scipy.ndimage.gaussian_filter(np.asarray(volume.data, np.float32), float(np.mean(wide))), volume.grid)


def _priors(places: Array) -> Array:
    """(4, N) probabilities of the atlas at places of the template: fluid, cortex, deep grey matter, white matter."""
    classes = {number: 2 for number in atlas.numbers()}
    for which, names in ((0, FLUIDS), (1, _CORTEX), (3, _WHITE)):
        classes |= {number: which for one in STRUCTURES if one.name in names for number in (one.left, one.right)}
    found = np.zeros((4, len(places)), np.float32)
    for number in atlas.numbers():
        share = atlas.probability(number)
        index = moved(np.linalg.inv(share.grid.matrix), places)
        near = ((index > -1) & (index < np.array(share.grid.shape))).all(axis=1)
        found[classes[number], near] += sampled(share, places[near])
    found[0] += np.clip(1 - found.sum(axis=0), 0, 1)  # what is no structure of the brain, but in its mask
    found = found.clip(0, 1) + np.float32(_LEAST)
    return np.asarray(found / found.sum(axis=0))


def _gaussians(values: Array, chance: Array) -> tuple[Array, Array]:
    """Means and standard deviations of the classes; none is narrower than a hundredth of the image's range."""
    weight = chance.sum(axis=1, dtype=float)
    middles = (chance * values).sum(axis=1, dtype=float) / weight
    spread = np.sqrt((chance * (values - middles[:, None]) ** 2).sum(axis=1, dtype=float) / weight)
    least = 0.01 * float(np.percentile(values, 99) - np.percentile(values, 1)) or 1e-6
    return middles.astype(np.float32), np.maximum(spread, least).astype(np.float32)


def _around(chance: Array, inside: Array) -> Array:
    """Sum over the six neighbours of the probability of each class."""
    cross = scipy.ndimage.generate_binary_structure(3, 1).astype(np.float32)
    cross[1, 1, 1] = 0
    found = np.empty_like(chance)
    for one, total in zip(chance, found, strict=True):
        whole = np.zeros(inside.shape, np.float32)
        whole[inside] = one
        total[:] = scipy.ndimage.convolve(whole, cross, mode="constant")[inside]
    return found
