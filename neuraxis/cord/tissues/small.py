"""Cord, canal and grey matter by the small model of the package."""

from __future__ import annotations

from neuraxis.cord.tissues.slicewise import slicewise
from neuraxis.table import Table
from neuraxis.volume import Volume


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
    if not 12 <= margin <= 60:
        raise ValueError(f"margin must be 12 to 60 mm, not {margin}")
    return slicewise("cord-small", image, cord_path, margin, tiles, mirroring)
