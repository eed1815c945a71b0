"""What the inversions of the total field share: sources inside and outside the mask, and the field that they make."""

from __future__ import annotations

from dataclasses import dataclass

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import Box, Shape, box_shape, irfftn, mask_box, padded_shape, rfftn
from neuraxis.numerics.solvers import lsmr
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


@dataclass(frozen=True)
class TotalField:
    """The total field in the box of its mask, and the padded box in which sources may lie.

    `field` is zero outside the mask and has no mean in it, which no field map knows. `weights` are at most 1 (the median
    voxel and all that are quieter) and zero outside the mask.
    """

    box: Box
    size: Shape
    padded: Shape
    voxel_size: tuple[float, float, float]
    mask: Tensor
    field: Tensor
    weights: Tensor
    kernel: Tensor

    @staticmethod
    def of(total_field: Tensor, field_mask: Tensor, grid: Grid, noise: Tensor | None, padding: float) -> TotalField:
        """The part of the total field that is used. ValueError: the mask is empty, or the noise is nowhere above 0."""
        box = mask_box(field_mask)
        mask, size = field_mask[box], box_shape(box)
        x, y, z = (padding / h for h in grid.voxel_size)
        padded = padded_shape(size, (x, y, z))
        field = torch.where(mask, total_field[box], 0.0)
        field -= field.sum(dtype=torch.float64).float() / mask.sum()
        field *= mask
        kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, total_field.device)
        weights = _weights(mask, None if noise is None else noise[box])
        return TotalField(box, size, padded, grid.voxel_size, mask, field, weights, kernel)

    def inside(self, sources: Tensor) -> Tensor:
        """The part of the padded box that is the box of the mask; a view."""
        return sources[: self.size[0], : self.size[1], : self.size[2]]

    def field_of(self, sources: Tensor) -> Tensor:
        """Field in the box of the mask; ppm."""
        return irfftn(rfftn(sources, self.padded).mul_(self.kernel), self.padded, self.size)

    def background_sources(self, iterations: int) -> Tensor:
        """Sources outside the mask whose field comes closest to the total one (LSMR from zero); ppm, in the padded box.

        In double precision: the fit is badly conditioned and stopped early, where single precision ends 0.3 % elsewhere.
        """
        outside = self.field.new_ones(self.padded)
        self.inside(outside)[self.mask] = 0.0

        def adjoint(residual: Tensor) -> Tensor:
            return irfftn(rfftn(residual * self.weights, self.padded).mul_(self.kernel), self.padded).mul_(outside)

        found, _ = lsmr(
            lambda sources: self.field_of(sources).mul_(self.weights),
            adjoint,
            (self.field * self.weights).double(),
            iterations=iterations,
            tolerance=0.0,
        )
        return found.to(self.field.dtype)

    def inner_sources(self, background: Tensor, iterations: int) -> Tensor:
        """Sources inside the mask that explain what `background` leaves of the field; ppm, in the box of the mask."""

        def masked(field: Tensor, first: Tensor, last: Tensor) -> Tensor:
            return self.field_of(field * first).mul_(last)

        rest = (self.field - self.field_of(background)).mul_(self.weights)
        found, _ = lsmr(
            lambda sources: masked(sources, self.mask, self.weights),
            lambda residual: masked(residual, self.weights, self.mask),
            rest,
            iterations=iterations,
            tolerance=0.0,
        )
        return found

    def edges(self) -> Tensor:
        """Where a voxel and the next one along each axis both lie in the mask; bool, (3, X, Y, Z)."""
        edges = torch.zeros((3, *self.size), dtype=torch.bool, device=self.mask.device)
        for axis in range(3):
            n = self.size[axis] - 1
            both = self.mask.narrow(axis, 0, n), self.mask.narrow(axis, 1, n)
            torch.logical_and(*both, out=edges[axis].narrow(axis, 0, n))
        return edges


def _weights(mask: Tensor, noise: Tensor | None) -> Tensor:
    """Median of the noise / noise, at most 1; zero outside the mask and where the noise is not known."""
    if noise is None:
        return mask.float()
    known = mask & (noise > 0) & torch.isfinite(noise)
    if not bool(known.any()):
        raise ValueError("the noise of the field is nowhere above 0 in the mask")
    return torch.where(known, torch.median(noise[known]) / noise.clamp_min(1e-30), 0.0).clamp_max_(1.0)
