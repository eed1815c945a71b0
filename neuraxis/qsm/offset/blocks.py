"""Smooth angles, by way of blocks of voxels: their mean direction is as good as the voxels, and quicker."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.filters import gaussian_sum, wrap
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_BLOCK = 2.0
"""Largest edge of the blocks of voxels in which angles are averaged before they are smoothed; mm."""


def blocks_for(smoothing: float, grid: Grid) -> tuple[int, int, int]:
    """Voxels along each edge of a block that is small against a Gaussian of `smoothing` mm."""
    x, y, z = (max(1, int(min(_BLOCK, 0.4 * smoothing) / edge)) for edge in grid.voxel_size)
    return x, y, z


def block_mean(angle: Tensor, weight: Tensor, blocks: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean direction of the angles in each block of voxels, and the length of the mean vector."""
    pad = [n for size, block in zip(reversed(angle.shape), reversed(blocks), strict=True) for n in (0, -size % block)]
    parts = []
    for part in (torch.cos(angle), torch.sin(angle)):
        padded = torch.nn.functional.pad(part.mul_(weight), pad)
        parts.append(torch.nn.functional.avg_pool3d(padded[None, None], blocks)[0, 0])
    return torch.atan2(parts[1], parts[0]), torch.hypot(*parts)


def repeat(coarse: Tensor, blocks: tuple[int, ...], shape: tuple[int, int, int]) -> Tensor:
    """The value of its block for each voxel."""
    for axis, block in enumerate(blocks):
        coarse = coarse.repeat_interleave(block, axis) if block > 1 else coarse
    return coarse[: shape[0], : shape[1], : shape[2]]


def interpolated(angle: Tensor, blocks: tuple[int, ...], shape: tuple[int, int, int]) -> Tensor:
    """Angle of each voxel from that of the blocks."""
    if max(blocks) == 1:
        return wrap(angle)
    parts = torch.stack([torch.cos(angle), torch.sin(angle)])[None]
    whole = [n * block for n, block in zip(angle.shape, blocks, strict=True)]
    real, imaginary = torch.nn.functional.interpolate(parts, size=whole, mode="trilinear", align_corners=False)[0]
    return torch.atan2(imaginary, real)[: shape[0], : shape[1], : shape[2]].contiguous()


def unwrapped(phase: Tensor, mask: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Phase unwrapped in space with its largest island around zero, and the islands."""
    from neuraxis.numerics.region_growing import edge_weights, grow

    wrapped, where = phase.cpu().numpy(), mask.cpu().numpy()
    unwrapped, islands = grow(wrapped, edge_weights(wrapped, where, magnitude.cpu().numpy()), where)
    middle = np.median(unwrapped[islands == np.argmax(np.bincount(islands[where]))])
    turns = np.float32(2 * np.pi * np.round(middle / (2 * np.pi)))
    return torch.from_numpy(unwrapped - turns).to(phase.device), torch.from_numpy(islands).to(phase.device)


def smooth(angle: Tensor, weight: Tensor, sigma: float, voxel_size: tuple[float, float, float]) -> Tensor:
    """Direction of the Gaussian-weighted mean of exp(i angle); `sigma` in mm."""
    real = gaussian_sum(torch.cos(angle).mul_(weight), sigma, voxel_size)
    imaginary = gaussian_sum(torch.sin(angle).mul_(weight), sigma, voxel_size)
    return torch.atan2(imaginary, real)
