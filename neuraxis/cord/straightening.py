"""Straightening the cord: images along a straight centerline, and displacement fields there and back."""

from __future__ import annotations

from typing import Literal

import numpy as np

from neuraxis.cord.straight_frame import Sampler, Straightening, centres
from neuraxis.cord.vertebrae import PAM50_DISCS, PAM50_SLICE_MM
from neuraxis.table import Table
from neuraxis.volume import Volume

__all__ = ["METHODS", "Straightening", "straighten", "straighten_to_template", "straightening_fields"]


def straighten(
    image: Volume,
    centerline: Table,
    *,
    width: float = 35.0,
    resolution: float = 0.0,
    interpolation: Literal["cubic", "linear", "nearest"] = "cubic",
) -> Volume:
    """Straightened image of the cord.

    Each voxel of the straight image shows the section across the cord at the same distance along its centerline C:

        straight(a, b, s) = image(C(s) + a e1(s) + b e2(s))

    with e1 and e2 the left and front axes of the image, turned by the smallest rotation that takes its upward axis into the
    direction of the cord. Lengths along the centerline and areas across it stay what they are. The centerline is continued as
    a straight line for 10 mm past both ends.

    Parameters
    ----------
    image
        Cord image; any unit, (X, Y, Z), any orientation.
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    width
        Width and depth of the straight image, the cord in its middle; mm, above 0. Larger shows more of what is around.
    resolution
        Voxel edge of the straight image; mm, at least 0; 0 takes that of the image.
    interpolation
        How values between voxels are found: nearest keeps labels what they are, linear keeps shares between 0 and 1.

    Returns
    -------
    Straightened image on a grid of its own (left, front, up); unit of the image, 0 outside the field of view and where
    sections cross, farther from the centerline than its radius of curvature.

    Raises
    ------
    ValueError: a knob is outside its range, or the centerline has fewer than two slices or does not run upwards.

    References
    ----------
    De Leener 2017, doi:10.1002/jmri.25622
    """
    found = Straightening.of(centerline, image.grid)
    return _straight_image(image, found, width, resolution, interpolation)


def straighten_to_template(
    image: Volume,
    centerline: Table,
    discs: Volume,
    *,
    width: float = 35.0,
    resolution: float = 0.0,
    interpolation: Literal["cubic", "linear", "nearest"] = "cubic",
) -> Volume:
    """Straightened image with the discs as far apart as in the PAM50 template.

    As `straighten`, but with the arc length stretched piece by piece, linearly between neighbouring discs n and m:

        t(s) = z_n + (s - s_n) (z_m - z_n) / (s_m - s_n)

    s is the arc length where the section through a disc's label meets the centerline, z the disc's height in the template.
    Past the outermost discs lengths stay what they are.

    Parameters
    ----------
    image
        Cord image; any unit, (X, Y, Z), any orientation.
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    discs
        Disc labels on the grid of the image, single voxels (3 is C2/C3); at least two.
    width
        Width and depth of the straight image, the cord in its middle; mm, above 0. Larger shows more of what is around.
    resolution
        Voxel edge of the straight image; mm, at least 0; 0 takes that of the image.
    interpolation
        How values between voxels are found: nearest keeps labels what they are, linear keeps shares between 0 and 1.

    Returns
    -------
    Straightened image on a grid of its own (left, front, up); unit of the image, 0 outside the field of view.

    Raises
    ------
    ValueError: a knob is outside its range, the centerline has fewer than two slices, or fewer than two discs are known.

    References
    ----------
    De Leener 2017, doi:10.1002/jmri.25622
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    found = Straightening.of(centerline, image.grid)
    labels = [int(value) for value in np.unique(discs.data) if int(value) in PAM50_DISCS]
    places = np.array([np.argwhere(discs.data == value).mean(axis=0) for value in labels]).reshape(-1, 3)
    matrix = discs.grid.matrix
    _, _, arcs, _ = found.foot(places @ matrix[:3, :3].T + matrix[:3, 3])
    found = found.matched(arcs, PAM50_SLICE_MM * np.array([PAM50_DISCS[value] for value in labels], dtype=float))
    return _straight_image(image, found, width, resolution, interpolation)


def straightening_fields(image: Volume, centerline: Table, *, width: float = 35.0) -> tuple[Volume, Volume]:
    """Displacement fields that straighten an image, and that bend it back.

    Each gives, where a value is wanted, the way to where it is found, so that out(p) = in(p + field(p)).

    Parameters
    ----------
    image
        Cord image, of which only the grid is used.
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    width
        Width and depth of the straight frame around the cord; mm, above 0.

    Returns
    -------
    Field on the straight grid, to the body; RAS+ mm, (X, Y, Z, 3), NaN where sections cross.
    Field on the image's grid, to the straight frame; RAS+ mm, (X, Y, Z, 3), NaN away from the cord.

    Raises
    ------
    ValueError: width is not above 0, or the centerline has fewer than two slices or does not run upwards.

    References
    ----------
    De Leener 2017, doi:10.1002/jmri.25622
    """
    _need(width, 0.0)
    found = Straightening.of(centerline, image.grid)
    straight = found.grid(width, image.oriented("LAS").grid.voxel_size)
    return found.curved_field(straight), found.straight_field(image.grid, width)


def _straight_image(image: Volume, found: Straightening, width: float, resolution: float, interpolation: str) -> Volume:
    _need(width, resolution)
    size = (resolution,) * 3 if resolution > 0 else image.oriented("LAS").grid.voxel_size
    grid = found.grid(width, size)
    order = {"nearest": 0, "linear": 1, "cubic": 3}.get(interpolation)
    if order is None:
        raise ValueError(f"interpolation must be cubic, linear or nearest, not {interpolation}")
    field = found.curved_field(grid).data.reshape(-1, 3)
    valid = np.isfinite(field[:, 0])
    values = np.zeros(len(field), np.float32 if order else image.data.dtype)
    values[valid] = Sampler(image, order)(centres(grid)[valid] + field[valid])[0]
    return Volume(values.reshape(grid.shape), grid)


def _need(width: float, resolution: float) -> None:
    if not 0 < width < np.inf:
        raise ValueError(f"width must be above 0 mm, not {width}")
    if not 0 <= resolution < np.inf:
        raise ValueError(f"resolution must be at least 0 mm, not {resolution}")


METHODS = (straighten, straighten_to_template)
