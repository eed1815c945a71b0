"""Harmonic phase removal with the Laplacian."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.morphology import without_rim
from neuraxis.numerics.operators import laplacian_eigenvalues, sphere_spectrum
from neuraxis.numerics.solvers import lsmr
from neuraxis.qsm.background.lbv import inner
from neuraxis.qsm.background.spherical_mean import LEAST_REACH
from neuraxis.qsm.background.wrapped_laplacian import wrapped_laplacian
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")


def harperella(
    phase: Tensor,
    echo_times: Array,
    field_strength: float,
    field_mask: Tensor,
    grid: Grid,
    magnitude: Tensor | None = None,
    phase_offset: Tensor | None = None,
    *,
    radius: float = 10.0,
    iterations: int = 40,
    tolerance: float = 1e-6,
    rim: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Unwrapping and background removal in one (HARPERELLA), from the wrapped phase.

    The Laplacian of the wrapped phase knows no wraps, and of the field inside the mask only the local part, as the
    background is harmonic there. What it is outside is chosen so that its spherical mean S is the same everywhere:

        min over x ||S * (laplacian + (1 - I) x) - mean||,   local = inverse Laplacian(laplacian + (1 - I) x)

    I: the voxels whose six neighbours lie in the mask; mean: that of S * laplacian over the voxels whose sphere lies in I.
    The least squares are solved by LSMR from x = 0. The echoes are joined to one Laplacian with the weights (S TE)^2.
    Departures from the paper: differences of later echoes are unwrapped along time too, and a rim is taken off the result.
    The direction of the main field is not needed.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E), positive where the field is stronger.
    echo_times
        Rising; s, (E,).
    field_strength
        B0; T, above 0.
    field_mask
        Where the phase can be trusted; bool, (X, Y, Z), at least one voxel with its six neighbours.
    grid
        Place of the arrays; gives the voxel size.
    magnitude
        At least 0, (X, Y, Z, E); 1 if absent.
    phase_offset
        Phase at echo time zero, taken off first; rad, (X, Y, Z).
    radius
        Radius of the sphere; mm, above 0, and raised to 0.9 of the longest voxel edge where it is below.
    iterations
        Most iterations of LSMR; at least 1.
    tolerance
        Stop when the gradient is so small against operator and residual; 0 or above.
    rim
        Depth of the rim that is taken off at the end; mm, at least 0. Gaps in the mask that no sphere of this radius fits
        into have none.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the mask without its rim and without one voxel more.

    Raises
    ------
    ValueError: a knob or the field strength is outside its range, the mask is empty, or nothing of it is deeper than the
    rim and one voxel.

    References
    ----------
    Li 2014, doi:10.1002/nbm.3056
    Fong 2011, doi:10.1137/10079687X
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be above 0 mm, not {radius}")
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    for name, value in (("tolerance", tolerance), ("rim", rim)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value}")
    box = mask_box(field_mask)
    mask, size = field_mask[box], box_shape(box)
    inside = inner(mask)
    if not bool(inside.any()):
        raise ValueError("no voxel of the mask has all its six neighbours in it")
    source = wrapped_laplacian(phase, echo_times, field_strength, mask, box, grid.voxel_size, magnitude, phase_offset)
    radius = max(radius, LEAST_REACH * max(grid.voxel_size))
    x, y, z = (2 * radius / h + 1 for h in grid.voxel_size)
    padded = padded_shape(size, (x, y, z))
    sphere = sphere_spectrum(padded, grid.voxel_size, radius, phase.device)
    outside = torch.ones(padded, device=phase.device)
    outside[: size[0], : size[1], : size[2]] -= inside.float()

    def smooth(laplacian: Tensor) -> Tensor:
        return irfftn(rfftn(laplacian, padded).mul_(sphere), padded)

    right = smooth(source * inside)
    deep = smooth(1 - outside) > 1 - 1e-4
    right.neg_().add_(-right[deep].mean() if bool(deep.any()) else 0.0)
    charge, _ = lsmr(
        lambda x: smooth(x),
        lambda residual: smooth(residual).mul_(outside),
        right,
        iterations=iterations,
        tolerance=tolerance,
    )
    charge *= outside
    charge[: size[0], : size[1], : size[2]] += source * inside
    inverse = laplacian_eigenvalues(padded, grid.voxel_size, phase.device)
    inverse[0, 0, 0] = math.inf  # the mean is free
    kept = without_rim(field_mask, rim, grid.voxel_size)[box] & inside
    if not bool(kept.any()):
        raise ValueError(f"nothing of the mask is deeper than the rim of {rim} mm and one voxel")
    local = irfftn(rfftn(charge).mul_(inverse.reciprocal_().neg_()), padded, size)
    local = (local - local[kept].mean()) * kept
    return paste(local, box, grid.shape), paste(kept, box, grid.shape)
