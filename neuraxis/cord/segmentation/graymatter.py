"""Grey matter by networks of its own: that of the package, and that of the Spinal Cord Toolbox when it is fetched."""

from __future__ import annotations

from neuraxis.cord.centerline.fit import centers
from neuraxis.cord.segmentation.contrast_agnostic import foreground
from neuraxis.cord.segmentation.parts import within_cord
from neuraxis.cord.tissues.slicewise import slicewise
from neuraxis.table import Table
from neuraxis.volume import Volume

_HALF_WIDTH = 12.0
"""Of the windows around the cord's centre that the network was trained on; mm."""


def graymatter_small(image: Volume, cord: Volume, *, mirroring: bool = False) -> Volume:
    """Small nnU-Net of the package that looks at the cord closely.

    A two-dimensional network at 0.25 x 0.25 mm, in windows of 24 mm around the centre of the cord. It was trained, like that
    of the tissues, on synthetic images made from label maps, most of them with grey and white matter as far apart as in
    T2*w and MT images. Each window is normalised by itself, as in the training; the grey matter is then cut at the cord,

        gray = min(p_gray, cord)

    and freed of islands: parts (over one half) of less than a tenth of the largest part's size.

    Parameters
    ----------
    image
        Image of the cord, any contrast and orientation, best axial and fine in plane; (X, Y, Z), finite.
    cord
        Cord, soft or binary; 0..1, (X, Y, Z), on the image's grid.
    mirroring
        Average with the mirrored image; twice as slow.

    Returns
    -------
    Grey matter; 0 to 1, (X, Y, Z).

    Raises
    ------
    ValueError: the cord is empty or lies on another grid, the image has no contrast, or the model is missing or changed.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    Billot 2023, doi:10.1016/j.media.2023.102789
    """
    if not cord.grid.same_as(image.grid):
        raise ValueError("cord and image do not lie on one grid")
    z, x, y = centers(cord)
    chance = slicewise("cord-graymatter", image, Table.of({"slice": z, "x": x, "y": y}), _HALF_WIDTH, 1.0, mirroring)
    return within_cord(Volume(chance.data[..., 2], chance.grid).oriented(), cord)


def graymatter_model(
    image: Volume, cord_path: Table, *, tiles: float = 0.5, mirroring: bool = False, margin: float = 35.0
) -> Volume:
    """Grey matter nnU-Net of the Spinal Cord Toolbox; fetched with `neuraxis fetch graymatter`.

    Sees the image slice by slice within a margin of the path of the cord.

    Parameters
    ----------
    image
        Image of the cord, any contrast, best axial and fine in plane; (X, Y, Z), finite.
    cord_path
        Rough path of the cord: slice, x, y in voxels of the upright frame.
    tiles
        Step of the sliding window, in windows; over 0, to 1. Smaller is smoother and slower.
    mirroring
        Average with the mirrored images; up to 4 times slower.
    margin
        Distance from the path that is looked at; 15 to 200 mm. Larger is slower.

    Returns
    -------
    Grey matter; 0 to 1, (X, Y, Z).

    Raises
    ------
    ValueError: the model is not installed, the path is empty, or a knob is out of range.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    return foreground("graymatter", image, cord_path, ("gm", "gray_matter", "graymatter"), tiles, mirroring, margin)
