"""Differences and spherical means on periodic grids, with their Fourier forms."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import Shape, rfftn
from neuraxis.volume import Tensor

torch = lazy.load("torch")

_MOMENT_STEPS = 50
"""At most so many corrections of a ball's second moments; five are common."""


def difference(field: Tensor, axis: int, spacing: float, out: Tensor | None = None) -> Tensor:
    """Periodic forward difference along one axis, over `spacing` in mm."""
    out = torch.empty_like(field) if out is None else out
    n = field.shape[axis]
    torch.sub(field.narrow(axis, 1, n - 1), field.narrow(axis, 0, n - 1), out=out.narrow(axis, 0, n - 1))
    torch.sub(field.narrow(axis, 0, 1), field.narrow(axis, n - 1, 1), out=out.narrow(axis, n - 1, 1))
    return out if spacing == 1 else out.div_(spacing)


def add_adjoint_difference(total: Tensor, part: Tensor, axis: int, spacing: float) -> Tensor:
    """Adds the adjoint of `difference` of `part` to `total`, in place: (part[i-1] - part[i]) / spacing."""
    n, scale = part.shape[axis], 1.0 / spacing
    total.sub_(part, alpha=scale)
    total.narrow(axis, 1, n - 1).add_(part.narrow(axis, 0, n - 1), alpha=scale)
    total.narrow(axis, 0, 1).add_(part.narrow(axis, n - 1, 1), alpha=scale)
    return total


def gradient(field: Tensor, voxel_size: tuple[float, float, float]) -> Tensor:
    """Periodic forward differences along the three axes; (3, X, Y, Z), per mm."""
    out = field.new_empty((3, *field.shape))
    for axis in range(3):
        difference(field, axis, voxel_size[axis], out[axis])
    return out


def divergence(vector: Tensor, voxel_size: tuple[float, float, float]) -> Tensor:
    """Periodic backward differences of a (3, X, Y, Z) field, summed; minus the adjoint of `gradient`."""
    total = torch.zeros_like(vector[0])
    for axis in range(3):
        add_adjoint_difference(total, vector[axis], axis, voxel_size[axis])
    return total.neg_()


def laplacian_eigenvalues(shape: Shape, voxel_size: tuple[float, float, float], device: object = None) -> Tensor:
    """Eigenvalues of the negative periodic 7-point Laplacian on the half spectrum; 1/mm², at least 0.

    sum_i (2 - 2 cos(2 pi k_i / N_i)) / h_i^2, and so the transform of -divergence(gradient(.)).
    """
    axes = []
    for axis, (n, h) in enumerate(zip(shape, voxel_size, strict=True)):
        k = torch.arange(n // 2 + 1 if axis == 2 else n, device=device, dtype=torch.float64)
        axes.append((4.0 * torch.sin(math.pi * k / n) ** 2 / h**2).float())
    return axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :]


def sphere(radius: float, voxel_size: tuple[float, float, float], device: object = None) -> Tensor:
    """A ball with sum 1 on an odd grid that holds it; `radius` in mm, above half the longest voxel edge.

    A voxel weighs as much as the share of it inside, taken along its radius. On anisotropic voxels the long axes are
    then tapered, w exp(-a x^2), until the second moments agree along all axes: so every harmonic polynomial up to the
    third order has its centre value as its mean over the ball, as in the continuum, however coarse the grid is.

    Raises
    ------
    ValueError: the ball does not reach the next voxel along every axis.
    """
    if not max(voxel_size) / 2 < radius < math.inf:
        raise ValueError(f"a sphere of {radius} mm does not reach the next voxel of {voxel_size} mm")
    reach = [math.ceil(radius / h + 0.5) - 1 for h in voxel_size]
    squares = [
        torch.arange(-n, n + 1, dtype=torch.float64).mul_(h).square_().view([-1 if i == axis else 1 for i in range(3)])
        for axis, (n, h) in enumerate(zip(reach, voxel_size, strict=True))
    ]
    # a voxel's edge as seen from the centre: |h . n| with the unit vector n to the voxel
    seen = sum(s * h**2 for s, h in zip(squares, voxel_size, strict=True))
    distance = torch.sqrt(squares[0] + squares[1] + squares[2])
    edge = (torch.sqrt(seen) / distance.clamp_min(1e-9)).clamp_min_(min(voxel_size))
    ball = ((radius - distance) / edge + 0.5).clamp_(0.0, 1.0)
    ball /= ball.sum()
    for _ in range(_MOMENT_STEPS):
        moments = [float((ball * s).sum()) for s in squares]
        target = min(moments)
        if max(moments) <= target * (1 + 1e-6):
            break
        for square, moment in zip(squares, moments, strict=True):
            variance = float((ball * square**2).sum()) - moment**2
            ball *= torch.exp(-(moment - target) / variance * square)  # a step of Newton's method
        ball /= ball.sum()
    return ball.float().to(device)


def sphere_spectrum(
    shape: Shape, voxel_size: tuple[float, float, float], radius: float, device: object = None
) -> Tensor:
    """Half spectrum (real) of the spherical mean over `radius` mm on a periodic grid of `shape`.

    Raises
    ------
    ValueError: the ball does not fit into the grid.
    """
    ball = sphere(radius, voxel_size, device)
    if any(b > n for b, n in zip(ball.shape, shape, strict=True)):
        raise ValueError(f"a sphere of {radius} mm does not fit into a grid of {shape}")
    whole = torch.zeros(shape, device=device)
    whole[: ball.shape[0], : ball.shape[1], : ball.shape[2]] = ball
    whole = torch.roll(whole, [-(n // 2) for n in ball.shape], dims=(0, 1, 2))
    return rfftn(whole).real.contiguous()
