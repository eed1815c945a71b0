"""Sophisticated harmonic artefact reduction with spheres of many radii."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.operators import sphere_spectrum
from neuraxis.qsm.background.spherical_mean import LEAST_REACH, MISSING, without_mean
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def vsharp(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    *,
    largest_radius: float = 18.0,
    smallest_radius: float = 0.0,
    growth: float = 1.3,
    threshold: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """Background removal by spherical means of many radii (V-SHARP).

    The background is harmonic inside the mask, so its mean over a sphere is its value at the centre. Each voxel takes

        high = field - S_r * field

    from the largest sphere S_r around it that fits into the mask; one deconvolution with the largest sphere of all then
    gives back what the subtraction took from the local field:

        local(k) = high(k) / (1 - S(k)),   |1 - S| < threshold  ->  0

    Spheres are measured in mm on any voxels, with shares of voxels at their surface. The direction of the main field
    is not needed.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one sphere must fit into it.
    grid
        Place of the arrays; gives the voxel size.
    largest_radius
        Radius of the largest sphere; mm, at least smallest_radius. Larger removes less of the local field, and is slower.
    smallest_radius
        Radius of the smallest sphere, and so about the depth of the rim that is lost; mm, at least 0, and raised to 0.9
        of the longest voxel edge where it is below. Larger is more accurate at the rim, on a smaller mask.
    growth
        Ratio of one radius to the one before; at least 1.01. Smaller gives each voxel a better fitting sphere, and is slower.
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
    Wu 2012, doi:10.1002/mrm.23000
    """
    if not 0 <= smallest_radius < math.inf:
        raise ValueError(f"smallest_radius must be at least 0 mm, not {smallest_radius}")
    if not max(smallest_radius, 1e-6) <= largest_radius < math.inf:
        raise ValueError(
            f"largest_radius must be at least smallest_radius ({smallest_radius} mm), not {largest_radius}"
        )
    if not 1.01 <= growth < math.inf:
        raise ValueError(f"growth must be at least 1.01, not {growth}")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
    box = mask_box(field_mask)
    mask, size = field_mask[box], box_shape(box)
    radii = _radii(smallest_radius, largest_radius, growth, grid.voxel_size, size)
    x, y, z = (radii[-1] / h + 1 for h in grid.voxel_size)  # room for a sphere, so that none wraps around
    padded = padded_shape(size, (x, y, z))
    field = without_mean(total_field, mask, box)
    field_spectrum, mask_spectrum = rfftn(field, padded), rfftn(mask.float(), padded)
    high, kept = torch.zeros_like(field), torch.zeros_like(mask)
    for radius in radii:
        sphere = sphere_spectrum(padded, grid.voxel_size, radius, field.device)
        fits = mask & (irfftn(mask_spectrum * sphere, padded, size) > 1 - MISSING)
        if not bool(fits.any()):
            break
        high = torch.where(fits, field - irfftn(field_spectrum * sphere, padded, size), high)
        kept |= fits
        deconvolution = sphere.neg_().add_(1.0)
    if not bool(kept.any()):
        raise ValueError(f"no sphere of {radii[0]} mm fits into the mask")
    deconvolution = torch.where(deconvolution.abs() < threshold, 0.0, deconvolution.reciprocal())
    deconvolution[0, 0, 0] = 0.0  # the mean of a local field is not known
    local = irfftn(rfftn(high, padded).mul_(deconvolution), padded, size) * kept
    return paste(local, box, grid.shape), paste(kept, box, grid.shape)


def _radii(
    smallest: float, largest: float, growth: float, voxel_size: tuple[float, float, float], size: tuple[int, int, int]
) -> list[float]:
    """Radii that grow in proportion; none below what the voxels resolve, none that the box of the mask cannot hold."""
    radius = max(smallest, LEAST_REACH * max(voxel_size))
    room = min(n * h / 2 for n, h in zip(size, voxel_size, strict=True))
    most = max(min(largest, room), radius)
    radii = []
    while radius < most * (1 - 1e-6):
        radii.append(radius)
        radius *= growth
    return [*radii, most]
