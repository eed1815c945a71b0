"""What the cord's soft outline and the tissue probabilities give: mask, canal, grey and white matter."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_ISLAND = 0.1
"""Parts of grey matter smaller than this share of the largest are no grey matter."""


def cord_mask(cord: Volume) -> Volume:
    """Mask of the cord: over one half, in one piece.

    Of the connected parts the largest is kept; parts with at most two empty slices between them count as connected.

    Parameters
    ----------
    cord
        Cord, soft or binary; 0..1, (X, Y, Z), any orientation.

    Returns
    -------
    Mask of the cord; bool, (X, Y, Z).

    Raises
    ------
    ValueError: no voxel is over one half.
    """
    upright = cord.oriented()
    mask = main_component(upright.data > 0.5)
    if not mask.any():
        raise ValueError("the cord is empty: no voxel is over 0.5")
    return Volume(mask, upright.grid).onto(cord.grid)


def canal(tissues: Volume, cord: Volume) -> Volume:
    """Spinal canal (cord and CSF) by the learned probabilities, in the slices that hold cord.

    In each slice the probability of the canal, and never less than that of the cord; parts over one half that do not
    touch the cord are left out.

    Parameters
    ----------
    tissues
        Probabilities of cord, canal and grey matter; 0..1, (X, Y, Z, 3).
    cord
        Cord, soft or binary; 0..1, (X, Y, Z), on the grid of the tissues.

    Returns
    -------
    Canal; 0..1, (X, Y, Z), zero in slices without cord.

    Raises
    ------
    ValueError: the grids differ, or there is no class for the canal.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    upright, inside = _class_of(tissues, cord, 1), cord.oriented().data
    found = np.zeros(inside.shape, np.float32)
    for z in np.flatnonzero((inside > 0.5).any((0, 1))):
        chance = np.maximum(upright.data[:, :, z], inside[:, :, z])
        parts, _ = scipy.ndimage.label(chance > 0.5)
        ours = np.isin(parts, np.unique(parts[inside[:, :, z] > 0.5])) & (parts > 0)
        rim = scipy.ndimage.binary_dilation(ours, np.ones((3, 3)), iterations=2) & (parts == 0)
        found[:, :, z] = np.where(ours | rim, chance, 0)
    return Volume(found, upright.grid).onto(cord.grid)


def gray_matter(tissues: Volume, cord: Volume) -> Volume:
    """Grey matter by the learned probabilities, never outside the cord.

        gray = min(p_gray, cord)

    without islands: parts (over one half) of less than a tenth of the largest part's size.

    Parameters
    ----------
    tissues
        Probabilities of cord, canal and grey matter; 0..1, (X, Y, Z, 3).
    cord
        Cord, soft or binary; 0..1, (X, Y, Z), on the grid of the tissues.

    Returns
    -------
    Grey matter; 0..1, (X, Y, Z).

    Raises
    ------
    ValueError: the grids differ, or there is no class for grey matter.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    return within_cord(_class_of(tissues, cord, 2), cord)


def within_cord(gray: Volume, cord: Volume) -> Volume:
    """An upright probability of grey matter, cut at the cord and without islands, on the cord's grid."""
    chance = np.minimum(gray.data, cord.oriented().data).astype(np.float32)
    parts, number = scipy.ndimage.label(chance > 0.5, np.ones((3, 3, 3)))
    if number:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        small = sizes < _ISLAND * sizes.max()
        small[0] = False
        chance[small[parts]] = 0
    return Volume(chance, gray.grid).onto(cord.grid)


def white_matter(cord: Volume, gray_matter: Volume) -> Volume:
    """White matter: the cord without its grey matter.

        white = max(0, cord - gray)

    Parameters
    ----------
    cord
        Cord, soft or binary; 0..1, (X, Y, Z).
    gray_matter
        Grey matter, soft or binary; 0..1, (X, Y, Z), on the same grid.

    Returns
    -------
    White matter; 0..1, (X, Y, Z).

    Raises
    ------
    ValueError: the grids differ.
    """
    if not gray_matter.grid.same_as(cord.grid):
        raise ValueError("cord and grey matter do not lie on one grid")
    return Volume(np.clip(cord.data.astype(np.float32) - gray_matter.data, 0, 1), cord.grid)


def main_component(mask: Array) -> Array:
    """The largest part of an upright mask (X, Y, Z); up to two empty slices do not divide it."""
    bridged = scipy.ndimage.binary_dilation(mask, np.ones((1, 1, 3)))
    parts, number = scipy.ndimage.label(bridged, np.ones((3, 3, 3)))
    if number <= 1:
        return mask.copy()
    sizes = np.bincount(parts[mask], minlength=number + 1)
    return mask & (parts == int(np.argmax(sizes)))


def _class_of(tissues: Volume, cord: Volume, number: int) -> Volume:
    """One class of the tissues, upright and finite."""
    if not tissues.grid.same_as(cord.grid):
        raise ValueError("cord and tissue probabilities do not lie on one grid")
    if tissues.data.ndim != 4 or tissues.data.shape[3] <= number:
        raise ValueError(f"the tissue probabilities have shape {tissues.data.shape}, and class {number} is needed")
    data = np.where(np.isfinite(tissues.data[..., number]), tissues.data[..., number], 0)
    return Volume(data.astype(np.float32), tissues.grid).oriented()
