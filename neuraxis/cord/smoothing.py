"""Smoothing an image along the cord and not across it."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.straight_frame import Sampler, Straightening
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_REACH = 3.0
"""Where the Gaussian is cut, in standard deviations."""


def smooth_along_cord(
    image: Volume,
    centerline: Table,
    *,
    sigma_rl: float = 0.0,
    sigma_ap: float = 0.0,
    sigma_is: float = 3.0,
    width: float = 35.0,
) -> Volume:
    """Gaussian smoothing along the curved axes of the cord.

    A voxel at (a, b, s), to the left and front of the centerline and along it, takes the mean of the image on the curve
    through it that keeps a and b:

        out(a, b, s) = sum_k g_k image(a, b, s + k h),   g_k ~ exp(-(k h)^2 / (2 sigma_is^2))

    h is the voxel size; likewise for a and b, one axis after the other. Other than by straightening, filtering and bending
    back, each value is interpolated once per axis, and an axis with sigma 0 is not blurred at all.

    Parameters
    ----------
    image
        Cord image; any unit, (X, Y, Z), any orientation.
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    sigma_rl
        Standard deviation across the cord from right to left; mm, at least 0, 0 is none.
    sigma_ap
        Standard deviation across the cord from front to back; mm, at least 0, 0 is none.
    sigma_is
        Standard deviation along the cord; mm, at least 0, 0 is none. Larger takes more noise, and more of short lesions.
    width
        Diameter of the region around the centerline that is smoothed; mm, above 0.

    Returns
    -------
    Smoothed image; unit and grid of the image, unchanged outside the region.

    Raises
    ------
    ValueError: a knob is outside its range, or the centerline has fewer than two slices or does not run upwards.

    References
    ----------
    De Leener 2017, doi:10.1002/jmri.25622
    """
    for name, sigma in (("sigma_rl", sigma_rl), ("sigma_ap", sigma_ap), ("sigma_is", sigma_is)):
        if not 0 <= sigma < np.inf:
            raise ValueError(f"{name} must be at least 0 mm, not {sigma}")
    if not 0 < width < np.inf:
        raise ValueError(f"width must be above 0 mm, not {width}")
    frame = Straightening.of(centerline, image.grid)
    voxels, a, b, arc = frame.region(image.grid, width)
    # nothing is smoothed past the two ends of the cord: nobody knows how it goes on
    kept = (np.hypot(a, b) <= width / 2) & (arc >= frame.ends[0]) & (arc <= frame.ends[1])
    voxels, a, b, arc = voxels[kept], a[kept], b[kept], arc[kept]
    size = image.oriented("LAS").grid.voxel_size
    data = image.data.astype(np.float32)
    for axis, sigma in enumerate((sigma_rl, sigma_ap, sigma_is)):
        if sigma > 0:
            data = data.copy()
            data[tuple(voxels.T)] = _mean(frame, Volume(data, image.grid), (a, b, arc), axis, sigma, size[axis])
    return Volume(data, image.grid)


def _mean(
    frame: Straightening, image: Volume, at: tuple[Array, Array, Array], axis: int, sigma: float, step: float
) -> Array:
    """Gaussian mean of an image along one axis of the cord, over the samples that lie in the field of view; (N,)."""
    sample = Sampler(image, 3)
    reach = int(np.ceil(_REACH * sigma / step))
    total, weight = np.zeros(len(at[0]), np.float32), np.zeros(len(at[0]), np.float32)
    for k in range(-reach, reach + 1):
        moved = tuple(one + k * step if n == axis else one for n, one in enumerate(at))
        factor = np.float32(np.exp(-0.5 * (k * step / sigma) ** 2))
        values, inside = sample(frame.section(*moved))
        total += factor * values
        weight += factor * inside
    return total / weight
