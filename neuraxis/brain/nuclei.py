"""Probability of each deep nucleus, one by one."""

from __future__ import annotations

import numpy as np

from neuraxis.brain import atlas
from neuraxis.brain.labels import matrix_of
from neuraxis.brain.regions import NUCLEI
from neuraxis.numerics.deformation import displacement_at, moved, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def t1w_nuclei(warp_from_template: Volume, t1w_mask: Volume) -> Volume:
    """Probability of each deep nucleus in the T1w, from the atlas by the registration to the template.

    Parameters
    ----------
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    t1w_mask
        The brain; bool, (X, Y, Z). Its grid is that of the result.

    Returns
    -------
    0 to 1, (X, Y, Z, R): the nuclei in the order of the table of regions, left before right; zero outside the mask.

    References
    ----------
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    Billot 2023, doi:10.1016/j.media.2023.102789
    """
    here = places_of(t1w_mask.grid)[np.asarray(t1w_mask.data, bool)]
    return _of(here + displacement_at(warp_from_template, here), t1w_mask)


def nuclei_from_t1w(t1w_position: Table, t1w_nucleus_probability: Volume, mask: Volume) -> Volume:
    """Probability of each deep nucleus, brought over from the session's T1w by the rigid motion between both images.

    Parameters
    ----------
    t1w_position
        Rigid motion from places of this image to places of the T1w.
    t1w_nucleus_probability
        In the T1w; 0 to 1, (X, Y, Z, R).
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.

    Returns
    -------
    0 to 1, (X, Y, Z, R): the nuclei in the order of the table of regions, left before right; zero outside the mask.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    inside = np.asarray(mask.data, bool)
    there = moved(matrix_of(t1w_position), places_of(mask.grid)[inside])
    data = np.zeros((*inside.shape, t1w_nucleus_probability.data.shape[3]), np.float32)
    for number in range(data.shape[3]):
        part = Volume(t1w_nucleus_probability.data[..., number], t1w_nucleus_probability.grid)
        data[inside, number] = sampled(part, there).clip(0, 1)
    return Volume(data, mask.grid)


def nuclei_from_template(warp_from_template: Volume, mask: Volume) -> Volume:
    """Probability of each deep nucleus, from the atlas by the registration of this image to the template.

    Parameters
    ----------
    warp_from_template
        Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3).
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.

    Returns
    -------
    0 to 1, (X, Y, Z, R): the nuclei in the order of the table of regions, left before right; zero outside the mask.

    References
    ----------
    Pauli 2018, doi:10.1038/sdata.2018.63
    Diedrichsen 2011, doi:10.1016/j.neuroimage.2010.10.035
    Billot 2023, doi:10.1016/j.media.2023.102789
    """
    return t1w_nuclei(warp_from_template, mask)


def _of(places: Array, mask: Volume) -> Volume:
    inside = np.asarray(mask.data, bool)
    data = np.zeros((*inside.shape, 2 * len(NUCLEI)), np.float32)
    for place, number in enumerate(number for one in NUCLEI for number in (one.left, one.right)):
        data[inside, place] = sampled(atlas.probability(number), places).clip(0, 1)
    return Volume(data, mask.grid)
