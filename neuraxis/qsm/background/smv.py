"""Spherical mean value filter."""

from __future__ import annotations

from neuraxis.qsm.background.spherical_mean import SphericalMean, without_mean
from neuraxis.volume import Grid, Tensor


def smv(total_field: Tensor, field_mask: Tensor, grid: Grid, *, radius: float = 10.0) -> tuple[Tensor, Tensor]:
    """Background removal by one spherical mean (SMV).

    The background is harmonic inside the mask, so its mean over a sphere is its value at the centre:

        local = field - S * field

    What varies slowly in the local field is lost too, as nothing gives back what the mean took: SHARP and its kin go on
    from here. The direction of the main field is not needed.

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
        voxel edge where it is below. Larger takes less of the local field away.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the voxels around which a sphere fits into the mask.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or no sphere fits into it.

    References
    ----------
    Schweser 2011, doi:10.1016/j.neuroimage.2010.10.070
    """
    means = SphericalMean(field_mask, grid, radius)
    return means.result(means.high(without_mean(total_field, means.mask, means.box)))
