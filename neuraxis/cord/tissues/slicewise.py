"""The networks of the package, run over windows around the cord's path, slice by slice."""

from __future__ import annotations

import numpy as np

from neuraxis import resources
from neuraxis.cord.tissues.column import column
from neuraxis.numerics import nets
from neuraxis.table import Table
from neuraxis.volume import Volume

_OFFSET = 100.0
"""Put on the windows: nnU-Net cuts off what is exactly zero, and takes the offset away again."""


def slicewise(model: str, image: Volume, cord_path: Table, half_width: float, tiles: float, mirroring: bool) -> Volume:
    """Probabilities of cord, canal and grey matter by a network of the package, nested; 0 to 1, (X, Y, Z, 3).

    `half_width` of the windows in mm. Zero in slices and places that the path does not reach; on the grid of the image.

    Raises
    ------
    ValueError: the image or the path cannot be used, or the model is missing or changed.
    """
    if not 0 < tiles <= 1:
        raise ValueError(f"tiles must be over 0 and at most 1, not {tiles}")
    if image.data.ndim != 3:
        raise ValueError(f"the image must have three axes, not {image.data.ndim}")
    if not np.isfinite(image.data).all():
        raise ValueError("the image holds values that are not finite")
    if image.data.size and image.data.min() == image.data.max():
        raise ValueError(f"the image has one value everywhere, {image.data.flat[0]}")
    folder = resources.find(model)
    upright = image.oriented("LAS")
    windows = column(cord_path, upright.grid, half_width)
    stack = _normalised(windows.cut(upright))
    found = nets.predict(stack, folder, mirroring=mirroring, step=tiles, orientation="RPI").data
    meaning = nets.classes(folder)
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
