"""The cord by the contrast-agnostic model of the Spinal Cord Toolbox, when it is fetched."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis import resources
from neuraxis.cord.tissues.column import box_around
from neuraxis.numerics import nets
from neuraxis.numerics.morphology import dilate, largest_component
from neuraxis.table import Table
from neuraxis.volume import Volume

torch = lazy.load("torch")

_RIM = 2
"""Layers of voxels around the cord in which its soft edge is kept."""


def contrast_agnostic(
    image: Volume, cord_path: Table, *, tiles: float = 0.5, mirroring: bool = False, margin: float = 35.0
) -> Volume:
    """Contrast-agnostic nnU-Net of the Spinal Cord Toolbox; fetched with `neuraxis fetch spinalcord`.

    Sees the image within a margin of the path of the cord, as a volume. The largest part over 0.5 is the cord; its soft
    edge is kept.

    Parameters
    ----------
    image
        Image of the cord, any contrast and orientation; (X, Y, Z), finite.
    cord_path
        Rough path of the cord: slice, x, y in voxels of the upright frame.
    tiles
        Step of the sliding window, in windows; over 0, to 1. Smaller is smoother and slower.
    mirroring
        Average with the mirrored images; up to 8 times slower.
    margin
        Distance from the path that is looked at; 15 to 200 mm. Larger is slower.

    Returns
    -------
    Cord; 0 to 1, (X, Y, Z).

    Raises
    ------
    ValueError: the model is not installed, the path is empty, a knob is out of range, or no cord is found.

    References
    ----------
    Bedard 2025, doi:10.1016/j.media.2025.103473
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    found = foreground("spinalcord", image, cord_path, ("sc", "cord", "spinal_cord"), tiles, mirroring, margin)
    mask = largest_component(torch.from_numpy(found.data > 0.5))
    if not bool(mask.any()):
        raise ValueError("the contrast-agnostic model finds no cord within the margin of the path")
    near = dilate(mask, _RIM).numpy() & ((found.data <= 0.5) | mask.numpy())
    return Volume(np.where(near, found.data, np.float32(0)), found.grid)


def foreground(
    name: str,
    image: Volume,
    cord_path: Table,
    classes: tuple[str, ...],
    tiles: float,
    mirroring: bool,
    margin: float,
) -> Volume:
    """Probability of one class of a fetched model within `margin` mm of the path, on the image's grid."""
    if not 0 < tiles <= 1:
        raise ValueError(f"tiles must be over 0 and at most 1, not {tiles}")
    if not 15 <= margin <= 200:
        raise ValueError(f"margin must be 15 to 200 mm, not {margin}")
    if image.data.ndim != 3:
        raise ValueError(f"the image must have three axes, not {image.data.ndim}")
    model, about = resources.find(name), resources.known()[name]
    meaning = nets.classes(model)
    front = [one for one in meaning.names if one != "background"]
    channel = meaning.channel(*(front if len(front) == 1 else classes))
    upright = image.oriented("LAS")
    box = box_around(cord_path, upright.grid, margin)
    found = nets.predict(
        upright,
        model,
        mirroring=mirroring,
        step=tiles,
        orientation=nets.trained_orientation(model, about.orientation),
        box=box,
    )
    return Volume(found.data[..., channel], upright.grid).onto(image.grid)
