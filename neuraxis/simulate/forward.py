"""From susceptibility to the field that the signal sees."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.dipole import dipole_field
from neuraxis.numerics.fourier import mask_box
from neuraxis.simulate.tissues import TISSUES
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")


def total_field(chi: Tensor, grid: Grid) -> Tensor:
    """Field of the whole head in air, without wrap-around; ppm of B0, (X, Y, Z), up to a constant."""
    return dipole_field(chi - TISSUES["air"].chi, grid.voxel_size, grid.b0_direction)


def tissue_field(chi: Tensor, brain: Tensor, grid: Grid) -> Tensor:
    """Field of what lies inside the brain, as if it lay in water; ppm of B0, (X, Y, Z), zero outside the brain."""
    box = mask_box(brain)
    field = torch.zeros_like(chi)
    field[box] = dipole_field(chi[box] * brain[box], grid.voxel_size, grid.b0_direction) * brain[box]
    return field


def polynomial(grid: Grid, coefficients: Array) -> Tensor:
    """Second-order polynomial of the scanner position, in units of 100 mm around the grid's centre; (X, Y, Z).

    Coefficients in the order 1, x, y, z, xx, yy, zz, xy, yz, zx.
    """
    x, y, z = _position(grid)
    terms = (None, x, y, z, x * x, y * y, z * z, x * y, y * z, z * x)
    found = torch.full(grid.shape, float(coefficients[0]))
    for term, factor in zip(terms[1:], coefficients[1:], strict=True):
        found.add_(term, alpha=float(factor))
    return found


def shim(field: Tensor, brain: Tensor, grid: Grid) -> Tensor:
    """The field without the second-order field of shim coils that fits it best inside the brain.

    The coils lie outside the head, so their fields are harmonic there: constant, linear, and the five second-order
    solid harmonics xy, yz, zx, xx - yy, 2 zz - xx - yy. A full second-order polynomial would act as a source in the brain.
    """
    inside = torch.nonzero(brain)
    inside = inside[:: max(len(inside) // 100_000, 1)]
    x, y, z = (axis[tuple(inside.T)].double() for axis in _position(grid))
    terms = torch.stack(
        [torch.ones_like(x), x, y, z, x * x - y * y, 2 * z * z - x * x - y * y, x * y, y * z, z * x], dim=1
    )
    values = field[tuple(inside.T)].double()
    one, x1, y1, z1, xxyy, zzxy, xy, yz, zx = torch.linalg.lstsq(terms, values[:, None]).solution[:, 0].tolist()
    return field - polynomial(grid, np.array([one, x1, y1, z1, xxyy - zzxy, -xxyy - zzxy, 2 * zzxy, xy, yz, zx]))


def _position(grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Scanner x, y, z of the voxels from the grid's centre; 100 mm, each (X, Y, Z)."""
    steps = [torch.arange(n).float() - (n - 1) / 2 for n in grid.shape]
    x, y, z = (
        (steps[0] * a)[:, None, None] + (steps[1] * b)[None, :, None] + steps[2] * c
        for a, b, c in (grid.matrix[:3, :3] / 100).tolist()
    )
    return x, y, z
