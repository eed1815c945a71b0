"""Improved harmonic phase removal with the Laplacian."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.morphology import without_rim
from neuraxis.numerics.operators import laplacian_eigenvalues
from neuraxis.numerics.solvers import lsmr
from neuraxis.qsm.background.lbv import inner
from neuraxis.qsm.background.wrapped_laplacian import wrapped_laplacian
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")


def iharperella(
    phase: Tensor,
    echo_times: Array,
    field_strength: float,
    field_mask: Tensor,
    grid: Grid,
    magnitude: Tensor | None = None,
    phase_offset: Tensor | None = None,
    *,
    iterations: int = 30,
    tolerance: float = 1e-4,
    padding: float = 20.0,
    rim: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Unwrapping and background removal in one (iHARPERELLA), from the wrapped phase.

    The Laplacian of the wrapped phase knows no wraps, and of the field inside the mask M only the local part, as the
    background is harmonic there. What it is outside is chosen so that the field inside is as small as can be:

        min over x ||M inverse Laplacian(laplacian + (1 - I) x)||,   local = M inverse Laplacian(laplacian + (1 - I) x)

    I: the voxels whose six neighbours lie in M. The least squares are solved by LSMR from x = 0. The echoes are joined to
    one Laplacian with the weights (S TE)^2. Departures from the paper: differences of later echoes are unwrapped along
    time too, and a rim is taken off the result. The direction of the main field is not needed.

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
    iterations
        Most iterations of LSMR; at least 1. More remove more, at last of the local field at the rim too.
    tolerance
        Stop when the gradient is so small against operator and residual; 0 or above.
    padding
        Room behind the box of the mask; mm, at least 0.
    rim
        Depth of the rim that is taken off after the fit; mm, at least 0. Gaps in the mask that no sphere of this radius
        fits into have none.

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
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    for name, value in (("tolerance", tolerance), ("padding", padding), ("rim", rim)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value}")
    box = mask_box(field_mask)
    mask, size = field_mask[box], box_shape(box)
    inside = inner(mask)
    if not bool(inside.any()):
        raise ValueError("no voxel of the mask has all its six neighbours in it")
    source = wrapped_laplacian(phase, echo_times, field_strength, mask, box, grid.voxel_size, magnitude, phase_offset)
    x, y, z = (padding / h for h in grid.voxel_size)
    padded = padded_shape(size, (x, y, z))
    inverse = laplacian_eigenvalues(padded, grid.voxel_size, phase.device)
    inverse[0, 0, 0] = math.inf  # the mean is free
    inverse = inverse.reciprocal_().neg_()
    outside = torch.ones(padded, device=phase.device)
    outside[: size[0], : size[1], : size[2]] -= inside.float()

    def forward(charge: Tensor) -> Tensor:
        return irfftn(rfftn(charge, padded).mul_(inverse), padded, size) * mask

    def adjoint(residual: Tensor) -> Tensor:
        return irfftn(rfftn(residual, padded).mul_(inverse), padded).mul_(outside)

    local = forward(source * inside)
    local -= local.sum() / mask.sum() * mask
    charge, _ = lsmr(forward, adjoint, -local, iterations=iterations, tolerance=tolerance)
    kept = without_rim(field_mask, rim, grid.voxel_size)[box] & inside
    if not bool(kept.any()):
        raise ValueError(f"nothing of the mask is deeper than the rim of {rim} mm and one voxel")
    local.add_(forward(charge)).mul_(kept)
    return paste(local, box, grid.shape), paste(kept, box, grid.shape)
