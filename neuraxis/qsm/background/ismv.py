"""Iterative spherical mean value filter."""

from __future__ import annotations

import math

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.qsm.background.spherical_mean import SphericalMean, without_mean
from neuraxis.volume import Grid, Tensor


def ismv(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    *,
    radius: float = 5.0,
    iterations: int = 50,
    tolerance: float = 3e-3,
) -> tuple[Tensor, Tensor]:
    """Background removal by iterated spherical means (iSMV).

    The background is the field that is its own spherical mean S wherever a sphere fits into the mask (M), and that is the
    total field in the rim where none fits:

        background = M S * background + (1 - M) field,   local = M (field - background)

    Departure from the paper: the mean is not taken over and over; as M (1 - S) M is symmetric and positive, conjugate
    gradients find what the iteration converges to, M (1 - S) * local = M (field - S * field), in a fraction of the steps.
    The direction of the main field is not needed.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one sphere must fit into it.
    grid
        Place of the arrays; gives the voxel size.
    radius
        Radius of the sphere, and so about the depth of the rim that is lost; mm, above 0, and raised to 0.9 of the longest
        voxel edge where it is below. Larger is more accurate, on a smaller mask, and quicker.
    iterations
        Most iterations; at least 1.
    tolerance
        Stop when the residual is at most this share of the right side; 0 or above. Larger suppresses more of what varies
        slowly.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the voxels around which a sphere fits into the mask.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or no sphere fits into it.

    References
    ----------
    Wen 2014, doi:10.1002/mrm.24998
    Hestenes 1952, doi:10.6028/jres.049.044
    """
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    means = SphericalMean(field_mask, grid, radius)
    high = means.high(without_mean(total_field, means.mask, means.box))
    local, _ = conjugate_gradients(means.high, high, iterations=iterations, tolerance=tolerance)
    return means.result(local)
