"""The fields of all orientations in the box of their masks, with their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import lazy_loader as lazy

from neuraxis.numerics.fourier import Box, Shape, box_shape, mask_box, padded_shape, paste
from neuraxis.qsm.inversion.nonlinear_data import data_weight
from neuraxis.qsm.orientations.harmonics import Harmonics
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_HIGHEST = 8
"""Degree beyond which fits of polynomials are no longer sure in single precision."""


@dataclass(frozen=True)
class Stack:
    """Fields (O, x, y, z) in the box of the masks, zero where unknown; weights and harmonic fits; where any and most are known."""

    fields: Tensor
    weights: Tensor
    harmonics: Harmonics
    anywhere: Tensor
    mostly: Tensor
    box: Box
    padded: Shape
    grid: Grid

    @property
    def size(self) -> Shape:
        return box_shape(self.box)

    @property
    def mask(self) -> Tensor:
        """Where most orientations are known, on the grid of the scan."""
        return paste(self.mostly, self.box, self.grid.shape)

    def weighted(self, field: Tensor, orientation: int) -> Tensor:
        """Weight times field, harmonic polynomials taken away; its own adjoint."""
        return self.harmonics.without(field, orientation).mul_(self.weights[orientation])

    def whole(self, values: Tensor) -> Tensor:
        """(x, y, z) in the box -> the grid of the scan, zero where fewer than most orientations are known."""
        return paste(torch.where(self.mostly, values, 0.0), self.box, self.grid.shape)


def stacked(fields: Tensor, masks: Tensor, noise: Tensor | None, grid: Grid, degree: int, padding: float) -> Stack:
    """What both reconstructions work on; from (X, Y, Z, O) on one grid.

    The weights are 1 / noise^2, at most ten times their median, with mean 1 over all that is known: a noisier orientation
    weighs less. A voxel whose noise is not above 0 weighs nothing. Most orientations: more than half of them.
    Of each field, the harmonic polynomial up to `degree` that fits it best is taken away.

    Raises
    ------
    ValueError: shapes differ, a mask is empty, no voxel lies in most of the masks, or the noise is nowhere above 0.
    """
    if fields.ndim != 4 or fields.shape != masks.shape or (noise is not None and noise.shape != masks.shape):
        raise ValueError("fields, masks and noise must be of one shape (X, Y, Z, O)")
    number = fields.shape[-1]
    for one in range(number):
        if not bool(masks[..., one].any()):
            raise ValueError(f"the mask of orientation {one + 1} is empty")
    box = mask_box(masks.any(dim=-1))
    known = masks[box].movedim(-1, 0).contiguous()
    mostly = known.sum(dim=0) * 2 > number
    if not bool(mostly.any()):
        raise ValueError("no voxel lies in the masks of most orientations")
    inside = torch.where(known, fields[box].movedim(-1, 0), 0.0)
    weights = data_weight(known, None if noise is None else noise[box].movedim(-1, 0), 2)
    x, y, z = (padding / h for h in grid.voxel_size)
    harmonics = Harmonics(weights, grid.voxel_size, degree)
    for one in range(number):
        inside[one] = harmonics.without(inside[one], one).mul_(known[one])
    return Stack(inside, weights, harmonics, known.any(dim=0), mostly, box, padded_shape(box_shape(box), (x, y, z)), grid)


def check_knobs(conditioning: float, alpha: float, harmonics: int, iterations: int, tolerance: float, padding: float) -> None:
    """ValueError with name and value of the knob that is outside its range."""
    if not 0 <= harmonics <= _HIGHEST:
        raise ValueError(f"harmonics must lie in 0..{_HIGHEST}, not {harmonics}")
    if not iterations >= 0:
        raise ValueError(f"iterations must be at least 0, not {iterations}")
    for name, value in (("conditioning", conditioning), ("alpha", alpha), ("tolerance", tolerance), ("padding", padding)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value}")
    if conditioning == 0 and alpha == 0:
        raise ValueError("alpha must be above 0 where conditioning is 0: nothing else keeps noise from growing")
