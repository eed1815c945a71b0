"""The linear data term, and total variation of a susceptibility that lies in a support: what the TV methods share."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.fourier import rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.qsm.inversion.nonlinear_data import FieldData, Proximal
from neuraxis.volume import Tensor

torch = lazy.load("torch")

HOLD = 0.006
"""Penalty of the ADMM for the support, in units of that for the field. It changes the way, hardly the result."""


def quadratic_step(weight: Tensor, scale: float, mu: float) -> Proximal:
    """Minimum of W z^2 / 2 + mu / 2 (z - x)^2, in closed form; `scale` and the value before do not matter."""
    share = mu / (weight + mu)

    def step(x: Tensor, start: Tensor) -> Tensor:
        return x * share

    return step


def _beyond(data: FieldData) -> Tensor:
    """1 where no source may lie: farther from the mask than its face neighbours, which take up errors of the rim."""
    inside = torch.zeros(data.padded, dtype=torch.bool, device=data.mask.device)
    data.crop(inside).copy_(data.mask)
    grown = inside.clone()
    for axis in range(3):
        grown |= torch.roll(inside, 1, axis) | torch.roll(inside, -1, axis)
    return grown.logical_not_().float()


class BoundedVariation:
    """alpha ||w grad chi||_1 with chi = 0 outside a support S, split with the penalties rho and `hold`.

    With v = grad chi + u, the shrinkage g = v - clamp(v) makes the new dual u = clamp(v). The copy of chi that is held
    to the support is S (chi + s), and its dual s = (1 - S) (chi + s): no copy needs a memory of its own. With `edge`, in
    ppm/mm, the weights w = edge / (edge + |d chi|) of each difference are found anew from chi after `every` solutions; else w = 1.
    """

    def __init__(
        self,
        data: FieldData,
        alpha: float,
        rho: float,
        hold: float,
        edge: float | None = None,
        every: int = 0,
    ) -> None:
        self.data, self.rho, self.hold, self.edge, self.every = data, rho, hold, edge, every
        self.voxel_size = data.grid.voxel_size
        self.strength = alpha / rho
        self.limit: Tensor | None = None
        self.denominator = laplacian_eigenvalues(data.padded, self.voxel_size, data.field.device).mul_(rho).add_(hold)
        self.dual = data.field.new_zeros((3, *data.padded))
        self.outside = _beyond(data)
        self.beyond = data.field.new_zeros(data.padded)
        self.calls = 0

    def solve(self, chi: Tensor, data: Tensor, fidelity: Tensor) -> Tensor:
        if self.edge is not None and self.calls and self.calls % self.every == 0:
            self._reweight(chi, self.edge)
        self.calls += 1
        self.beyond.add_(chi)  # chi + s
        image, work = self.beyond.clone(), torch.empty_like(chi)
        self.beyond.mul_(self.outside)
        image.sub_(self.beyond, alpha=2.0).mul_(self.hold / self.rho)  # M (chi + s) - s
        for axis, spacing in enumerate(self.voxel_size):
            dual = self.dual[axis]
            difference(chi, axis, spacing, work).add_(dual)
            if self.limit is None:
                torch.clamp(work, -self.strength, self.strength, out=dual)
            else:
                torch.clamp(work, -self.limit[axis], self.limit[axis], out=dual)
            work.sub_(dual, alpha=2)  # g - u
            add_adjoint_difference(image, work, axis, spacing)
        return rfftn(image).mul_(self.rho).add_(data).div_(fidelity.add(self.denominator))

    def _reweight(self, chi: Tensor, edge: float) -> None:
        """w = edge / (edge + |d chi|), for each difference its own: so it does not matter which way an axis runs."""
        if self.limit is None:
            self.limit = torch.empty_like(self.dual)
        for axis, spacing in enumerate(self.voxel_size):
            difference(chi, axis, spacing, self.limit[axis]).abs_().add_(edge).reciprocal_().mul_(edge * self.strength)
