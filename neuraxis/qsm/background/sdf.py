"""Spatially dependent filtering."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_sum
from neuraxis.numerics.fourier import mask_box, paste
from neuraxis.qsm.background.spherical_mean import without_mean
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_HALF = 0.5
"""Share of its surroundings that a voxel at a flat edge of the mask sees inside."""


def sdf(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    *,
    proximity_width: float = 10.0,
    width: float = 8.0,
    edge_width: float = 1.0,
    widths: int = 12,
) -> tuple[Tensor, Tensor]:
    """Background removal by spatially dependent filtering (SDF).

    The background is the field smoothed by a Gaussian that is wide in the depth of the mask and narrow at its edge, where
    the background is steep; the means are over the mask alone:

        seen = 2 (G * M) - 1,   from 0 at a flat edge of the mask M to 1 in its depth (G of proximity_width)
        sigma = edge_width (width / edge_width)^seen
        local = field - (G_sigma * field) / (G_sigma * M)

    A high pass: quick, with no rim lost and no wrong boundary values spread, but what varies slowly in the local field is
    lost too. This is the filter of QSMART on the mask alone. Departures from the paper: the proximity is round, in mm,
    and not weighted by the curvature of the surface nor by vessels; between `widths` Gaussians the background is
    interpolated. The direction of the main field is not needed.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives the voxel size.
    proximity_width
        Standard deviation of the Gaussian that measures how near the edge is; mm, above 0. Larger is narrower farther in.
    width
        Standard deviation of the Gaussian in the depth; mm, at least edge_width. Larger takes less of the local field.
    edge_width
        The same at the edge; mm, above 0. Larger takes less of the local field, and leaves more of the background there.
    widths
        Number of Gaussians; at least 2. More follow the width more closely, and are slower.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside the mask.
    Mask of the local field; bool, (X, Y, Z): the mask that was given.

    Raises
    ------
    ValueError: a knob is outside its range, or the mask is empty.

    References
    ----------
    Yaghmaie 2021, doi:10.1016/j.neuroimage.2020.117701
    """
    if not 0 < proximity_width < math.inf:
        raise ValueError(f"proximity_width must be above 0 mm, not {proximity_width}")
    if not 0 < edge_width < math.inf:
        raise ValueError(f"edge_width must be above 0 mm, not {edge_width}")
    if not edge_width <= width < math.inf:
        raise ValueError(f"width must be at least edge_width ({edge_width} mm), not {width}")
    if not 2 <= widths < math.inf:
        raise ValueError(f"widths must be at least 2, not {widths}")
    x, y, z = (math.ceil(3 * proximity_width / h) for h in grid.voxel_size)
    box = mask_box(field_mask)
    mask = field_mask[box]
    field, inside = without_mean(total_field, mask, box), mask.float()
    # room around: what a voxel sees beyond the array is outside
    seen = gaussian_sum(torch.nn.functional.pad(inside, (z, z, y, y, x, x)), proximity_width, grid.voxel_size)
    seen = seen[x : x + mask.shape[0], y : y + mask.shape[1], z : z + mask.shape[2]]
    whole = (2 * math.pi) ** 1.5 * proximity_width**3 / math.prod(grid.voxel_size)  # the sum of the Gaussian
    place = seen.div(whole).sub_(_HALF).div_(1 - _HALF).clamp_(0.0, 1.0).mul_(widths - 1)
    background = torch.zeros_like(field)
    for number in range(widths):
        sigma = edge_width * (width / edge_width) ** (number / (widths - 1))
        share = (place - number).abs_().neg_().add_(1.0).clamp_min_(0.0)
        smooth = gaussian_sum(field, sigma, grid.voxel_size)
        smooth /= gaussian_sum(inside, sigma, grid.voxel_size).clamp_min_(1e-20)
        background += share.mul_(smooth)
    return paste(field.sub_(background).mul_(mask), box, grid.shape), field_mask.clone()
