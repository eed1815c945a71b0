"""What varies slowly is found on coarse voxels: there, back again, and where the tissue is."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import box_mean, sample_quantile
from neuraxis.numerics.morphology import fill_holes
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

Factors = tuple[int, int, int]


def coarse(image: Tensor, grid: Grid, spacing: float) -> tuple[Tensor, Factors]:
    """Mean of blocks of voxels of about `spacing` mm, (X', Y', Z'), and how many voxels a block has along each axis.

    What is not finite counts as 0; at the end of an axis the last voxel is repeated.
    """
    x, y, z = (min(n, max(1, round(spacing / h))) for n, h in zip(grid.shape, grid.voxel_size, strict=True))
    factors = (x, y, z)
    short = [-n % f for n, f in zip(grid.shape, factors, strict=True)]
    field = torch.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)[None, None]
    field = torch.nn.functional.pad(field, (0, short[2], 0, short[1], 0, short[0]), mode="replicate")
    return torch.nn.functional.avg_pool3d(field, factors)[0, 0], factors


def fine(field: Tensor, factors: Factors, shape: tuple[int, int, int]) -> Tensor:
    """`field` between the middles of its blocks, on the voxels of `shape` that the blocks are made of."""
    whole = [n * f for n, f in zip(field.shape, factors, strict=True)]
    found = torch.nn.functional.interpolate(field[None, None], size=whole, mode="trilinear", align_corners=False)
    return found[0, 0, : shape[0], : shape[1], : shape[2]]


def tissue(image: Tensor) -> Tensor:
    """Where there is signal, without specks and holes; bool, (X, Y, Z).

    Above five times the noise (mean of the lowest 15 % of the voxels) and a fifth of the bright signal (mean between the
    80th and the 99th percentile).

    Raises
    ------
    ValueError: there is no signal.
    """
    low, high, top = (sample_quantile(image, share) for share in (0.15, 0.8, 0.99))
    bright = image[(image >= high) & (image <= top)].mean() if top > 0 else torch.zeros(())
    noise = image[image <= low].mean()
    mask = image > max(5 * float(noise), float(bright) / 5)
    if not float(bright) > 0 or not bool(mask.any()):  # no dark background: noise cannot be told from signal
        mask = image > float(bright) / 5
    if not bool(mask.any()):
        raise ValueError("the magnitude holds no signal")
    everywhere = torch.ones_like(mask)
    smooth = fill_holes(box_mean(mask.float(), everywhere) > 0.4)
    smooth = box_mean(box_mean(smooth.float(), everywhere), everywhere) > 0.6
    return smooth if bool(smooth.any()) else mask


def divided(magnitude: Tensor, field: Tensor, where: Tensor, factors: Factors) -> Tensor:
    """`magnitude` (X, Y, Z, E) over the receive field on coarse voxels, scaled to a mean of 1 over `where`."""
    level = float(field[where].mean())
    if not (level > 0 and math.isfinite(level)):
        raise ValueError("no receive field could be found")
    low = 0.05 * level  # far outside the tissue the field is a guess: noise is not blown up by more than 20
    x, y, z = magnitude.shape[:3]
    even = fine((field.clamp_min(low) / level), factors, (x, y, z))
    return torch.nan_to_num(magnitude, nan=0.0, posinf=0.0, neginf=0.0).div_(even[..., None])
