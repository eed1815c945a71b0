"""Spatially dependent filtering."""

from __future__ import annotations

import math

from neuraxis.numerics.fourier import mask_box, paste
from neuraxis.numerics.morphology import without_rim
from neuraxis.qsm.background.spatially_dependent import local_part, proximity
from neuraxis.qsm.background.spherical_mean import without_mean
from neuraxis.volume import Grid, Tensor


def sdf(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    *,
    proximity_width: float = 10.0,
    width: float = 8.0,
    edge_width: float = 1.0,
    rim: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Background removal by spatially dependent filtering (SDF), a quick high pass; others keep more of the local field.

    The background is the field smoothed by a Gaussian that is wide in the depth of the mask and narrow at its edge, where
    the background is steep; the means are over the mask alone:

        seen = 2 (G * M) - 1,   from 0 at a flat edge of the mask M to 1 in its depth (G of proximity_width)
        sigma = edge_width (width / edge_width)^seen
        local = field - (G_sigma * field) / (G_sigma * M)

    No wrong boundary values spread, but what varies slowly in the local field is lost, and in the outermost millimetres the
    mean lies to one side and misses the slope of the background; they are taken off. This is the filter of QSMART on the
    mask alone. Departures from the paper: the proximity is round, in mm, and not weighted by the curvature of the surface
    nor by vessels; the width is an exponential of the proximity and not a power, with 1 mm and not 2 voxels at the edge,
    which leaves less of the background. The direction of the main field is not needed.

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
    rim
        Depth of the rim that is taken off; mm, at least 0. Smaller keeps more of the mask, and a background in it.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the mask that was given without its rim.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or nothing of it is deeper than the rim.

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
    if not 0 <= rim < math.inf:
        raise ValueError(f"rim must be at least 0 mm, not {rim}")
    box = mask_box(field_mask)
    mask = field_mask[box]
    field = without_mean(total_field, mask, box)
    near = proximity(mask, proximity_width, grid.voxel_size)
    local = local_part(field, mask, near, grid.voxel_size, edge_width=edge_width, width=width)
    kept = without_rim(field_mask, rim, grid.voxel_size)
    return paste(local.mul_(kept[box]), box, grid.shape), kept
