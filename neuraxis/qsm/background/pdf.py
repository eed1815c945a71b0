"""Projection onto dipole fields."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.morphology import without_rim
from neuraxis.numerics.solvers import lsmr
from neuraxis.qsm.background.spherical_mean import without_mean
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_MOST_WEIGHT = 10.0
"""Weight of the quietest voxels, in weights of the median voxel: none may rule the fit alone."""


def pdf(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    iterations: int = 30,
    tolerance: float = 1e-4,
    padding: float = 20.0,
    rim: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Background removal by projection onto dipole fields (PDF).

    The background is the field of dipoles outside the mask that comes closest to the total field inside it:

        min over x ||W M (field - D ((1 - M) x))||,   local = M (field - D ((1 - M) x))

    with the mask M, the dipole kernel D for the true direction of the main field, and the weights W = 1 / noise. The
    least squares are solved by LSMR from x = 0, after the mean over the mask is taken off, which is a background too.
    Departures from the paper: no voxel weighs more than ten times the median voxel, the dipoles may also lie outside the
    field of view, as far as the padding goes, and a rim is taken off the result, where dipoles just outside the mask fit
    the local field too and the field map is least reliable.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    field_noise
        Standard deviation of the field; ppm, (X, Y, Z), above 0 in the mask (a voxel where it is not weighs nothing).
    iterations
        Most iterations of LSMR; at least 1. More remove more, at last of the local field's noise at the rim too.
    tolerance
        Stop when the gradient is so small against operator and residual; 0 or above.
    padding
        Room behind the box of the mask, filled with dipoles; mm, at least 0.
    rim
        Depth of the rim that is taken off after the fit; mm, at least 0. Gaps in the mask that no sphere of this radius
        fits into have none. 0 keeps all, at the price of streaks from the edge.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the mask that was given, without its rim.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or nothing of it is deeper than the rim.

    References
    ----------
    Liu 2011, doi:10.1002/nbm.1670
    Fong 2011, doi:10.1137/10079687X
    """
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    if not 0 <= padding < math.inf:
        raise ValueError(f"padding must be at least 0 mm, not {padding}")
    if not 0 <= rim < math.inf:
        raise ValueError(f"rim must be at least 0 mm, not {rim}")
    box = mask_box(field_mask)
    mask, size = field_mask[box], box_shape(box)
    x, y, z = (padding / h for h in grid.voxel_size)
    padded = padded_shape(size, (x, y, z))
    kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, total_field.device)
    field = without_mean(total_field, mask, box)
    weights = _weights(mask, None if field_noise is None else field_noise[box])
    outside = torch.ones(padded, device=field.device)
    outside[: size[0], : size[1], : size[2]] -= mask.float()

    def forward(dipoles: Tensor) -> Tensor:
        return irfftn(rfftn(dipoles).mul_(kernel), padded, size) * weights

    def adjoint(residual: Tensor) -> Tensor:
        return irfftn(rfftn(residual * weights, padded).mul_(kernel), padded).mul_(outside)

    # badly conditioned and stopped early: in single precision it would end 0.1 % elsewhere
    dipoles, _ = lsmr(forward, adjoint, (field * weights).double(), iterations=iterations, tolerance=tolerance)
    dipoles = dipoles.to(field.dtype)
    kept = without_rim(field_mask, rim, grid.voxel_size)
    local = field.sub_(irfftn(rfftn(dipoles).mul_(kernel), padded, size)).mul_(kept[box])
    return paste(local, box, grid.shape), kept


def _weights(mask: Tensor, noise: Tensor | None) -> Tensor:
    """1 / noise in units of its median over the mask, at most `_MOST_WEIGHT`; zero outside the mask."""
    if noise is None:
        return mask.float()
    known = mask & (noise > 0) & torch.isfinite(noise)
    if not bool(known.any()):
        raise ValueError("the noise of the field is nowhere above 0 in the mask")
    weights = torch.where(known, torch.median(noise[known]) / noise.clamp_min(1e-30), 0.0)
    return weights.clamp_max_(_MOST_WEIGHT)
