"""Cord, canal and grey matter by the small model of the package."""

from __future__ import annotations

import numpy as np

from neuraxis import resources
from neuraxis.cord.tissues.column import column
from neuraxis.numerics import nets
from neuraxis.table import Table
from neuraxis.volume import Volume

_MODEL = "cord-small"

_OFFSET = 100.0
"""Put on the windows: nnU-Net cuts off what is exactly zero, and takes the offset away again."""


def small(
    image: Volume, cord_path: Table, *, tiles: float = 0.5, mirroring: bool = False, margin: float = 24.0
) -> Volume:
    """Small nnU-Net, trained on synthetic images of any contrast.

    A two-dimensional network that sees one axial slice at a time, at 0.5 x 0.5 mm, in a window around the path of the
    cord. Each window is normalised by itself, as in the training,

        z = (image - mean) / standard deviation

    and each channel is a probability of its own, p = 1 / (1 + exp(-logit)); they are then made nested:
    grey matter <= cord <= canal. The training images were made from label maps, so no contrast is favoured and no
    patient was seen.

    Parameters
    ----------
    image
        Image of the cord, any contrast and orientation; (X, Y, Z), finite.
    cord_path
        Rough path of the cord: slice, x, y in voxels of the upright frame.
    tiles
        Step of the sliding window, in windows; over 0, to 1. Smaller is slower; it matters where the margin is over 24 mm.
    mirroring
        Average with the mirrored image, as far as the model allows; slower.
    margin
        Distance from the path to the edge of the window; 12 to 60 mm. Larger lets the path be further off, and is slower.

    Returns
    -------
    Probabilities of cord (with its grey matter), canal (with the cord) and grey matter; 0 to 1, (X, Y, Z, 3), zero in
    slices and places that the path does not reach.

    Raises
    ------
    ValueError: the path is empty or lies outside the image, the image has no contrast, a knob is out of range, or the
    model is missing or changed.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    Billot 2023, doi:10.1016/j.media.2023.102789
    """
    if not 0 < tiles <= 1:
        raise ValueError(f"tiles must be over 0 and at most 1, not {tiles}")
    if not 12 <= margin <= 60:
        raise ValueError(f"margin must be 12 to 60 mm, not {margin}")
    if image.data.ndim != 3:
        raise ValueError(f"the image must have three axes, not {image.data.ndim}")
    if not np.isfinite(image.data).all():
        raise ValueError("the image holds values that are not finite")
    if image.data.size and image.data.min() == image.data.max():
        raise ValueError(f"the image has one value everywhere, {image.data.flat[0]}")
    model = resources.find(_MODEL)
    upright = image.oriented("LAS")
    windows = column(cord_path, upright.grid, margin)
    stack = _normalised(windows.cut(upright))
    found = nets.predict(stack, model, mirroring=mirroring, step=tiles, orientation="RPI").data
    meaning = nets.classes(model)
    channels = [meaning.channel(*names) for names in (("cord",), ("canal",), ("gray_matter", "gray matter"))]
    nested = found[..., channels]
    nested[..., 0] = np.maximum(nested[..., 0], nested[..., 2])
    nested[..., 1] = np.maximum(nested[..., 1], nested[..., 0])
    return Volume(windows.put_back(nested, upright.grid), upright.grid).onto(image.grid)


def _normalised(stack: Volume) -> Volume:
    """Each slice with mean 0 and standard deviation 1, save for a common offset."""
    data = stack.data - stack.data.mean(axis=(0, 1), keepdims=True)
    deviation = data.std(axis=(0, 1), keepdims=True)
    if not float(deviation.max()) > 0:
        raise ValueError("the image has one value everywhere around the cord's path")
    return Volume(data / np.where(deviation > 0, deviation, 1) + np.float32(_OFFSET), stack.grid)
