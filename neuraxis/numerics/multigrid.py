"""Laplace's equation inside a mask of any shape, with values given around it, by multigrid."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.volume import Tensor

torch = lazy.load("torch")

_LEAST_LENGTH = 5
"""Axes with fewer voxels are not made coarser."""

_ALIKE = 1.5
"""Only axes whose voxel edge is below so many times the shortest one are made coarser: the short ones catch up first."""

_SMOOTHINGS = 2
"""Steps of the smoother before, and after, each coarser grid."""

_SMOOTHED = 0.4
"""Least eigenvalue of D^-1 A, of 0..2, that the smoother dampens: what the coarser grid cannot show."""

_LAST_SMOOTHINGS = 16
"""Steps on the coarsest grid."""

_LAST_SMOOTHED = 0.02
"""The same on the coarsest grid, where all has to be dampened."""


def negative_laplacian(field: Tensor, voxel_size: tuple[float, float, float], out: Tensor | None = None) -> Tensor:
    """Minus the sum of the second differences (7 points), with zeros beyond the array; per mm²."""
    scale = [1 / h**2 for h in voxel_size]
    out = torch.mul(field, 2 * sum(scale), out=out)
    for axis, (n, s) in enumerate(zip(field.shape, scale, strict=True)):
        out.narrow(axis, 1, n - 1).sub_(field.narrow(axis, 0, n - 1), alpha=s)
        out.narrow(axis, 0, n - 1).sub_(field.narrow(axis, 1, n - 1), alpha=s)
    return out


def solve_poisson(
    source: Tensor,
    mask: Tensor,
    voxel_size: tuple[float, float, float],
    *,
    iterations: int = 50,
    tolerance: float = 1e-4,
) -> tuple[Tensor, int]:
    """x with -Laplacian(x) = source in the mask and x = 0 around it, and the number of iterations done.

    Conjugate gradients, with one V-cycle of a geometric multigrid as preconditioner: every other voxel of a grid makes
    the next, the mask with them; values go down by linear interpolation and up by its transpose; Chebyshev polynomials
    smooth. The number of iterations hardly depends on size and shape of the mask. (McAdams, Sifakis and Teran, 2010,
    showed this combination to be robust in voxel domains.)

    Parameters
    ----------
    source
        (X, Y, Z); what lies outside the mask does not matter.
    mask
        Where the equation holds; bool, (X, Y, Z).
    voxel_size
        mm.
    iterations, tolerance
        At most so many; until the residual is at most this share of the source.
    """
    levels = _levels(mask, voxel_size)
    inside, image = levels[0].mask, torch.empty_like(levels[0].mask)
    return conjugate_gradients(
        lambda x: negative_laplacian(x, voxel_size, image).mul_(inside),
        source * inside,
        precondition=lambda residual: _cycle(levels, residual),
        iterations=iterations,
        tolerance=tolerance,
    )


class _Level:
    """One grid: its mask as numbers, its voxels, and the axes along which the next has half as many."""

    def __init__(self, mask: Tensor, voxel_size: tuple[float, float, float]) -> None:
        self.mask, self.voxel_size = mask.float(), voxel_size
        self.diagonal = 2 * sum(1 / h**2 for h in voxel_size)
        self.work = torch.empty_like(self.mask)
        long = [n >= _LEAST_LENGTH for n in mask.shape]
        least = min((h for h, is_long in zip(voxel_size, long, strict=True) if is_long), default=0.0)
        self.axes = [axis for axis in range(3) if long[axis] and voxel_size[axis] < _ALIKE * least]

    def residual(self, x: Tensor, right: Tensor) -> Tensor:
        """right - A x; overwritten by the next call."""
        return negative_laplacian(x, self.voxel_size, self.work).mul_(self.mask).neg_().add_(right)

    def smooth(self, x: Tensor | None, right: Tensor, steps: int, least: float) -> Tensor:
        """Chebyshev iteration for the eigenvalues least..2 of D^-1 A, from x (changed) or from zero."""
        theta, delta = (2 + least) / 2, (2 - least) / 2
        sigma = theta / delta
        rho = 1 / sigma
        if x is None:
            change = right / (self.diagonal * theta)
            x = change.clone()
        else:
            change = self.residual(x, right) / (self.diagonal * theta)
            x.add_(change)
        for _ in range(steps - 1):
            before, rho = rho, 1 / (2 * sigma - rho)
            change.mul_(rho * before).add_(self.residual(x, right), alpha=2 * rho / (delta * self.diagonal))
            x.add_(change)
        return x


def _levels(mask: Tensor, voxel_size: tuple[float, float, float]) -> list[_Level]:
    levels = [_Level(mask, voxel_size)]
    while levels[-1].axes:
        axes = levels[-1].axes
        mask = mask[tuple(slice(None, None, 2 if axis in axes else 1) for axis in range(3))].contiguous()
        if not bool(mask.any()):
            break
        x, y, z = (h * (2 if axis in axes else 1) for axis, h in enumerate(levels[-1].voxel_size))
        levels.append(_Level(mask, (x, y, z)))
    return levels


def _cycle(levels: list[_Level], right: Tensor) -> Tensor:
    """One V-cycle from zero: symmetric, as conjugate gradients ask for."""
    level, coarser = levels[0], levels[1:]
    if not coarser:
        return level.smooth(None, right, _LAST_SMOOTHINGS, _LAST_SMOOTHED)
    x = level.smooth(None, right, _SMOOTHINGS, _SMOOTHED)
    rest = _restrict(level.residual(x, right), level.axes).mul_(coarser[0].mask)
    x.add_(_prolong(_cycle(coarser, rest), level.axes, x.shape).mul_(level.mask))
    return level.smooth(x, right, _SMOOTHINGS, _SMOOTHED)


def _halves(field: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The even and the odd voxels along one axis."""
    even, odd = ((slice(None),) * axis + (slice(start, None, 2),) for start in (0, 1))
    return field[even], field[odd]


def _restrict(field: Tensor, axes: list[int]) -> Tensor:
    """Half the transpose of `_prolong` along each axis."""
    for axis in axes:
        even, odd = _halves(field, axis)
        field = even * 0.5
        m = field.shape[axis] - 1
        field.narrow(axis, 0, odd.shape[axis]).add_(odd, alpha=0.25)
        field.narrow(axis, 1, m).add_(odd.narrow(axis, 0, m), alpha=0.25)
    return field


def _prolong(field: Tensor, axes: list[int], shape: tuple[int, ...]) -> Tensor:
    """Linear interpolation onto the grid of `shape`, with zeros beyond."""
    for axis in reversed(axes):
        size = [shape[axis] if one == axis else n for one, n in enumerate(field.shape)]
        whole = field.new_empty(size)
        even, odd = _halves(whole, axis)
        even.copy_(field)
        m = field.shape[axis] - 1
        odd.copy_(field.narrow(axis, 0, odd.shape[axis])).mul_(0.5)
        odd.narrow(axis, 0, m).add_(field.narrow(axis, 1, m), alpha=0.5)
        field = whole
    return field
