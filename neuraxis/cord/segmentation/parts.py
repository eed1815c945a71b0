"""The parts of the cord image that follow from its probabilities: mask, canal, grey and white matter."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.volume import Array, Volume

_GAP = 2
"""Slices that a mask may lack and still be one cord."""


def cord_mask(cord: Volume) -> Volume:
    """Mask of the cord.

    Voxels of which more than half is cord, and of these the largest part that hangs together; parts one above the other with
    at most two empty slices between them hang together.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.

    Returns
    -------
    Mask of the cord; bool, (X, Y, Z).

    Raises
    ------
    ValueError: no voxel is more than half cord.
    """
    upright = cord.oriented()
    found = largest(upright.data > 0.5)
    if not found.any():
        raise ValueError("no voxel is more than half cord")
    lost = int((upright.data > 0.5).sum() - found.sum())
    if lost:
        warnings.warn(f"{lost} voxels that do not hang together with the cord are left out of its mask", stacklevel=2)
    return Volume(found, upright.grid).onto(cord.grid)


def largest(mask: Array) -> Array:
    """The largest part of an upright mask, gaps of two slices along its last axis bridged."""
    from scipy.ndimage import binary_closing, label

    if not mask.any():
        return mask
    padded = np.pad(mask, ((0, 0), (0, 0), (_GAP + 1, _GAP + 1)))
    bridged = padded | binary_closing(padded, np.ones((3, 3, 2 * _GAP + 1)))
    parts, count = label(bridged, np.ones((3, 3, 3)))
    if count == 1:
        return mask
    parts = parts[:, :, _GAP + 1 : -_GAP - 1] * mask
    return parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1


def canal(tissues: Volume, cord: Volume) -> Volume:
    """Spinal canal: the cord and the fluid around it.

    The learned probability of the canal in the slices of the cord, never less than that of the cord itself; in each slice the
    part that holds the cord.

    Parameters
    ----------
    tissues
        Probabilities of cord, canal and grey matter; 0 to 1, (X, Y, Z, 3).
    cord
        Cord; 0 to 1, (X, Y, Z).

    Returns
    -------
    Canal with the cord; 0 to 1, (X, Y, Z).

    Raises
    ------
    ValueError: the cord is empty.
    """
    from scipy.ndimage import label

    inner = cord.oriented()
    data = np.maximum(Volume(tissues.data[..., 1], tissues.grid).oriented().data, inner.data)
    if not (inner.data > 0.5).any():
        raise ValueError("the cord is empty")
    found = np.zeros_like(data)
    for z in np.flatnonzero((inner.data > 0.5).any(axis=(0, 1))):
        parts, _ = label(data[:, :, z] > 0.05)
        held = np.unique(parts[inner.data[:, :, z] > 0.5])
        found[:, :, z] = np.where(np.isin(parts, held[held > 0]), data[:, :, z], 0)
    return Volume(found, inner.grid).onto(cord.grid)


def gray_matter(tissues: Volume, cord: Volume) -> Volume:
    """Grey matter of the cord.

    The learned probability of grey matter, nowhere more than that of the cord, in slices where it is seen.

    Parameters
    ----------
    tissues
        Probabilities of cord, canal and grey matter; 0 to 1, (X, Y, Z, 3).
    cord
        Cord; 0 to 1, (X, Y, Z).

    Returns
    -------
    Grey matter; 0 to 1, (X, Y, Z); all zero, with a warning, where the image does not show it.

    Raises
    ------
    ValueError: the cord is empty.
    """
    if not (cord.data > 0.5).any():
        raise ValueError("the cord is empty")
    found = np.minimum(tissues.data[..., 2], cord.data) * (cord.data > 0)
    found[found < 0.02] = 0
    if not (found > 0.5).any():
        warnings.warn("grey matter is not told from white matter in this image", stacklevel=2)
        found = np.zeros_like(found)
    return Volume(np.asarray(found, np.float32), cord.grid)


def white_matter(cord: Volume, gray_matter: Volume) -> Volume:
    """White matter of the cord: what is not grey.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z).
    gray_matter
        Grey matter; 0 to 1, (X, Y, Z).

    Returns
    -------
    White matter; 0 to 1, (X, Y, Z); all zero where no grey matter was found.

    Raises
    ------
    ValueError: the two lie on different grids.
    """
    if not cord.grid.same_as(gray_matter.grid):
        raise ValueError("cord and grey matter lie on different grids")
    seen = (gray_matter.oriented().data > 0).any(axis=(0, 1))
    upright = cord.oriented()
    found = np.clip(upright.data - gray_matter.oriented().data, 0, 1) * seen
    return Volume(np.asarray(found, np.float32), upright.grid).onto(cord.grid)
