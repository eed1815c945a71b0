"""Grey matter by the contrast- and region-agnostic model of the Spinal Cord Toolbox, when it is fetched."""

from __future__ import annotations

from neuraxis.cord.segmentation.contrast_agnostic import foreground
from neuraxis.table import Table
from neuraxis.volume import Volume


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
