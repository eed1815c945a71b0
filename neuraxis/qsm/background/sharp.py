"""Sophisticated harmonic artefact reduction with one sphere."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.qsm.background.spherical_mean import SphericalMean, without_mean
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def sharp(
    total_field: Tensor, field_mask: Tensor, grid: Grid, *, radius: float = 6.0, threshold: float = 0.03
) -> tuple[Tensor, Tensor]:
    """Background removal by one spherical mean and its deconvolution (SHARP).

    The background is harmonic inside the mask, so its mean over a sphere is its value at the centre; a deconvolution gives
    back what the subtraction of the mean took from the local field:

        high = field - S * field   where a sphere fits into the mask
        local(k) = high(k) / (1 - S(k)),   |1 - S| < threshold  ->  0

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
        voxel edge where it is below. Larger is more accurate, on a smaller mask.
    threshold
        Smallest |1 - S| that is divided by; 0 <= threshold < 1. Larger suppresses more of what varies slowly.

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
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
    means = SphericalMean(field_mask, grid, radius)
    high = means.high(without_mean(total_field, means.mask, means.box))
    spectrum = means.spectrum
    inverse = torch.where(spectrum.abs() < threshold, 0.0, spectrum.reciprocal())
    inverse[0, 0, 0] = 0.0  # the mean of a local field is not known
    return means.result(means.filtered(high, inverse))
