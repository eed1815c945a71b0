"""Flattening the cord from left to right, so that one sagittal picture shows all of it."""

from __future__ import annotations

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Volume


def flatten_sagittal(image: Volume, centerline: Table) -> Volume:
    """Slice-wise shift from left to right that brings the cord into the middle sagittal plane.

    flat(i, j, k) = image(i + x_k - m, j, k), linear between voxels, with x_k the centerline's place in slice k of the upright
    frame and m its middle column. For pictures only: nothing is turned or stretched, so lengths are not those of the body.

    Parameters
    ----------
    image
        Cord image; any unit, (X, Y, Z), any orientation.
    centerline
        Centerline of the cord; columns slice and x (voxels of the upright frame). Slices past its ends are shifted as its
        last one.

    Returns
    -------
    Flattened image; unit and grid of the image, 0 where nothing was seen.

    Raises
    ------
    ValueError: the centerline is empty or not finite.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    slices, places = np.asarray(centerline["slice"], float), np.asarray(centerline["x"], float)
    if not len(slices) or not (np.isfinite(slices).all() and np.isfinite(places).all()):
        raise ValueError("the centerline is empty or has places that are not finite")
    upright = image.oriented("LAS")
    data = upright.data.astype(np.float32)
    count = data.shape[0]
    order = np.argsort(slices)
    shift = np.interp(np.arange(data.shape[2]), slices[order], places[order]) - count // 2
    whole = np.floor(shift).astype(int)
    part = (shift - whole).astype(np.float32)
    source = np.arange(count)[:, None] + whole  # (X, Z)

    def moved(index: np.ndarray) -> np.ndarray:
        seen = (index >= 0) & (index < count)
        found = np.take_along_axis(data, np.clip(index, 0, count - 1)[:, None, :], axis=0)
        return found * seen[:, None, :]

    flat = moved(source) * (1 - part)
    flat += moved(source + 1) * part
    return Volume(flat, upright.grid).onto(image.grid)
