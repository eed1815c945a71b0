"""The spherical mean of a field inside a mask, and where it is known."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import Box, box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.operators import sphere_spectrum
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

LEAST_REACH = 0.9
"""Radius of the smallest sphere, in longest voxel edges: it reaches the six neighbours alone on isotropic voxels."""

MISSING = 1e-4
"""Share of a sphere that may lie outside the mask: well above the rounding of a float32 transform."""


def without_mean(total_field: Tensor, mask: Tensor, box: Box) -> Tensor:
    """The field in the box, zero outside the mask (already cut), less its mean: a constant is a background too."""
    field = torch.where(mask, total_field[box], 0.0)
    field -= field.sum(dtype=torch.float64).float() / mask.sum()
    return field.mul_(mask)


class SphericalMean:
    """1 - S with the mean S over spheres of one radius, on the box of a mask, and `fits`, where the mask holds a sphere."""

    def __init__(self, field_mask: Tensor, grid: Grid, radius: float) -> None:
        if not 0 < radius < math.inf:
            raise ValueError(f"radius must be above 0 mm, not {radius}")
        radius = max(radius, LEAST_REACH * max(grid.voxel_size))
        self.box, self.whole = mask_box(field_mask), grid.shape
        self.mask, self.size = field_mask[self.box], box_shape(self.box)
        x, y, z = (radius / h + 1 for h in grid.voxel_size)  # room for a sphere, so that none wraps around
        self.padded = padded_shape(self.size, (x, y, z))
        if any(2 * radius > (n + 1) * h for n, h in zip(self.size, grid.voxel_size, strict=True)):
            raise ValueError(f"no sphere of {radius} mm fits into the mask")
        mean = sphere_spectrum(self.padded, grid.voxel_size, radius, field_mask.device)
        share = irfftn(rfftn(self.mask.float(), self.padded).mul_(mean), self.padded, self.size)
        self.fits = self.mask & (share > 1 - MISSING)
        if not bool(self.fits.any()):
            raise ValueError(f"no sphere of {radius} mm fits into the mask")
        self.spectrum = mean.neg_().add_(1.0)

    def high(self, field: Tensor) -> Tensor:
        """field - S * field where a sphere fits, else zero."""
        return self.filtered(field, self.spectrum).mul_(self.fits)

    def filtered(self, field: Tensor, spectrum: Tensor) -> Tensor:
        """A field of the box or of the padded box through a filter; in the box."""
        return irfftn(rfftn(field, self.padded).mul_(spectrum), self.padded, self.size)

    def result(self, local: Tensor) -> tuple[Tensor, Tensor]:
        """Local field and its mask, on the whole grid."""
        return paste(local * self.fits, self.box, self.whole), paste(self.fits, self.box, self.whole)
