"""What spatially dependent filtering is made of: how deep a voxel lies, and means of a width that differs from place to place."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_sum
from neuraxis.volume import Tensor

torch = lazy.load("torch")

_WIDTHS = 12
"""Gaussians between the narrowest and the widest; what lies between two of them is interpolated."""


def proximity(mask: Tensor, width: float, voxel_size: tuple[float, float, float]) -> Tensor:
    """Share of the surroundings that is in the mask, seen through a Gaussian of `width` mm: 1/2 at a flat edge, 1 in the depth."""
    x, y, z = (math.ceil(3 * width / h) for h in voxel_size)
    # room around: what a voxel sees beyond the array is outside
    seen = gaussian_sum(torch.nn.functional.pad(mask.float(), (z, z, y, y, x, x)), width, voxel_size)
    seen = seen[x : x + mask.shape[0], y : y + mask.shape[1], z : z + mask.shape[2]]
    return seen.div((2 * math.pi) ** 1.5 * width**3 / math.prod(voxel_size))  # by the sum of the Gaussian


def local_part(
    field: Tensor,
    mask: Tensor,
    near: Tensor,
    voxel_size: tuple[float, float, float],
    *,
    edge_width: float,
    width: float,
) -> Tensor:
    """`field` (zero outside the mask) less its Gaussian mean over the mask, zero outside it.

    The width of the Gaussian, in mm, rises with the proximity `near`, from edge_width at 1/2 and below to width at 1.
    """
    place = near.mul(2).sub_(1).clamp_(0.0, 1.0).mul_(_WIDTHS - 1)
    inside, background = mask.float(), torch.zeros_like(field)
    for number in range(_WIDTHS):
        sigma = edge_width * (width / edge_width) ** (number / (_WIDTHS - 1))
        share = (place - number).abs_().neg_().add_(1.0).clamp_min_(0.0)
        smooth = gaussian_sum(field, sigma, voxel_size)
        smooth /= gaussian_sum(inside, sigma, voxel_size).clamp_min_(1e-20)
        background += share.mul_(smooth)
    return background.neg_().add_(field).mul_(mask)
