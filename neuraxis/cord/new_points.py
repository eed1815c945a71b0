"""Single-voxel labels made from numbers: at a voxel, or at the centre of the cord in a slice."""

from __future__ import annotations

import numpy as np

from neuraxis.volume import Array, Volume


def create(image: Volume, points: Volume | None = None, *, labels: str) -> Volume:
    """Labels at given voxels.

    Parameters
    ----------
    image
        Image on whose grid the labels are to lie; (X, Y, Z).
    points
        Labels to add to, on the same grid; the new ones win.
    labels
        "x,y,z,value" in voxels of the upright frame, several parted by colons, e.g. "35,40,120,3:35,40,102,4".

    Returns
    -------
    Labels; whole numbers, (X, Y, Z).

    Raises
    ------
    ValueError: the text cannot be read, or a place lies outside the image.
    """
    data = _start(image, points)
    for x, y, z, value in _numbers(labels, 4):
        _put(data, (x, y, z), value)
    return Volume(data, image.oriented().grid).onto(image.grid)


def from_seg(cord: Volume, *, labels: str) -> Volume:
    """Labels at the centre of the cord.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.
    labels
        "z,value" with the upright slice, several parted by colons; "mid,value" is the middle slice of the cord.

    Returns
    -------
    Labels; whole numbers, (X, Y, Z), each at the centre of mass of its slice.

    Raises
    ------
    ValueError: the text cannot be read, or there is no cord in that slice.
    """
    upright = cord.oriented()
    data = np.zeros(upright.data.shape[:3], np.int16)
    inside = np.flatnonzero(upright.data.sum(axis=(0, 1)) > 0)
    if not len(inside):
        raise ValueError("the cord mask is empty")
    for z, value in _numbers(labels.replace("mid", str((inside[0] + inside[-1]) // 2)), 2):
        if z not in inside:
            raise ValueError(f"there is no cord in slice {z}")
        weight = upright.data[:, :, z]
        x, y = (float((np.indices(weight.shape)[n] * weight).sum() / weight.sum()) for n in (0, 1))
        _put(data, (round(x), round(y), z), value)
    return Volume(data, upright.grid).onto(cord.grid)


def _start(image: Volume, points: Volume | None) -> Array:
    if points is None:
        return np.zeros(image.oriented().data.shape[:3], np.int16)
    if not points.grid.same_as(image.grid):
        raise ValueError("the labels to add to lie on another grid than the image")
    return points.oriented().data.astype(np.int16)


def _put(data: Array, voxel: tuple[int, int, int], value: int) -> None:
    if not all(0 <= v < size for v, size in zip(voxel, data.shape, strict=True)):
        raise ValueError(f"the voxel {voxel} lies outside an image of {data.shape}")
    data[voxel] = value


def _numbers(text: str, each: int) -> list[tuple[int, ...]]:
    try:
        found = [tuple(int(number) for number in one.split(",")) for one in text.split(":")]
    except ValueError:
        found = []
    if not found or any(len(one) != each for one in found):
        raise ValueError(f"labels must be groups of {each} whole numbers parted by colons, not {text!r}")
    return found
