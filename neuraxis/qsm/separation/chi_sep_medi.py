"""Separation of susceptibility from local field and R2', both signs at once, with edges taken from the magnitude."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import Shape, box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.qsm.separation.edges import steepest
from neuraxis.qsm.separation.voxelwise import RELAXIVITY_3T, at_field, check_relaxivity
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def chi_sep_medi(
    local_field: Tensor,
    r2prime: Tensor,
    combined_magnitude: Tensor,
    local_mask: Tensor,
    field_strength: float,
    grid: Grid,
    *,
    relaxivity_para: float = RELAXIVITY_3T,
    relaxivity_dia: float = RELAXIVITY_3T,
    regularisation: float = 5e-4,
    r2prime_weight: float = 0.05,
    edges: float = 0.1,
    rho: float = 0.1,
    iterations: int = 60,
    tolerance: float = 5e-3,
    padding: float = 20.0,
) -> tuple[Tensor, Tensor]:
    """Chi-separation with the edges of the magnitude (after chi-separation with MEDI).

    Both parts are found at once; each is smooth where the magnitude is:

        min 1/2 ||field - D (chi+ + chi-)||^2 + w/2 ||R2'/D_r - (a chi+ - b chi-)||^2 + regularisation (||M grad chi+||_1 + ||M grad chi-||_1)
        chi+ >= 0,  chi- <= 0,   a, b = D+/D_r, D-/D_r,   D_r = (D+ + D-)/2

    M is 0 at the voxels with the steepest magnitude and 1 elsewhere. Departures from the paper: the field enters linearly and
    unweighted, and the split Bregman method (ADMM) with steps that are closed in Fourier space stands for Gauss-Newton.
    The sum of the parts is referenced by R2' (zero where there is none), not by a tissue.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z).
    r2prime
        Reversible relaxation rate; 1/s, (X, Y, Z), at least 0.
    combined_magnitude
        Root sum of squares of the echoes, for its edges; (X, Y, Z), at least 0.
    local_mask
        Where the local field is known; (X, Y, Z).
    field_strength
        Main field; T.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    relaxivity_para
        R2' of 1 ppm of paramagnetic sources at 3 T; 1/s/ppm, above 0.
    relaxivity_dia
        The same for diamagnetic sources.
    regularisation
        Weight of the gradients; ppm mm, above 0. Larger is smoother.
    r2prime_weight
        w, weight of R2' beside the field; above 0. Larger trusts R2' more, also for the noise of the sum.
    edges
        Share of the voxels, along each axis, whose magnitude is steepest: no smoothness is asked there; 0 to below 1.
    rho
        Penalty of the splitting; above 0. It changes the way, hardly the result.
    iterations
        Most steps; at least 1.
    tolerance
        Stop when both parts together change by less than this share of themselves; at least 0.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Paramagnetic susceptibility (at least 0) and diamagnetic susceptibility (at most 0); ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range, or the mask is empty.

    References
    ----------
    Shin 2021, doi:10.1016/j.neuroimage.2021.118371
    Liu 2012, doi:10.1016/j.neuroimage.2011.08.082
    """
    check_relaxivity(relaxivity_para=relaxivity_para, relaxivity_dia=relaxivity_dia)
    for name, value in (("regularisation", regularisation), ("r2prime_weight", r2prime_weight), ("rho", rho)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value}")
    if not 0 <= edges < 1:
        raise ValueError(f"edges must be 0 to below 1, not {edges}")
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    for name, value in (("tolerance", tolerance), ("padding", padding)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value}")
    box = mask_box(local_mask)
    mask, size = local_mask[box], box_shape(box)
    x, y, z = (padding / h for h in grid.voxel_size)
    shape = padded_shape(size, (x, y, z))
    mean = at_field((relaxivity_para + relaxivity_dia) / 2, field_strength)
    shares = (relaxivity_para * 2 / (relaxivity_para + relaxivity_dia), relaxivity_dia * 2 / (relaxivity_para + relaxivity_dia))
    magnitude = torch.where(mask, combined_magnitude[box], 0.0)
    smooth = _smooth_where(magnitude, mask, edges, shape)
    parts = _solve(
        rfftn(torch.where(mask, local_field[box], 0.0), shape),
        rfftn(torch.where(mask, r2prime[box] / mean, 0.0), shape),
        dipole_kernel(shape, grid.voxel_size, grid.b0_direction, local_field.device),
        smooth, shares, shape, grid.voxel_size, regularisation, r2prime_weight, rho, iterations, tolerance,
    )  # fmt: skip
    plus, minus = (torch.where(mask, part[: size[0], : size[1], : size[2]], 0.0) for part in parts)
    return paste(plus, box, grid.shape), paste(-minus, box, grid.shape)


def _smooth_where(magnitude: Tensor, mask: Tensor, edges: float, shape: Shape) -> list[Tensor]:
    """Per axis, 0 where the magnitude is steepest inside the mask (the share `edges` of it) and 1 elsewhere."""
    found = []
    for steep in steepest(magnitude, mask, edges):
        weight = torch.ones(shape, device=magnitude.device)
        weight[: mask.shape[0], : mask.shape[1], : mask.shape[2]].masked_fill_(steep, 0.0)
        found.append(weight)
    return found


def _solve(
    field: Tensor, rate: Tensor, kernel: Tensor, smooth: list[Tensor], shares: tuple[float, float], shape: Shape,
    voxel_size: tuple[float, float, float], weight: float, trust: float, rho: float, iterations: int, tolerance: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Absolute values of both parts: the signs are split off like the gradients, and each step is a 2 x 2 system per frequency."""
    a, b = shares
    square = kernel**2
    penalty = laplacian_eigenvalues(shape, voxel_size, field.device).mul_(rho).add_(rho)
    pp = square + trust * a * a + penalty
    nn = square + trust * b * b + penalty
    pn = trust * a * b - square
    bottom = pp * nn - pn**2
    data = (kernel * field + trust * a * rate, trust * b * rate - kernel * field)
    zeros = [torch.zeros(shape, device=kernel.device) for _ in range(2)]
    parts, signed, owed = zeros, [one.clone() for one in zeros], [one.clone() for one in zeros]
    steep = [[torch.zeros_like(zeros[0]) for _ in range(3)] for _ in range(2)]
    due = [[torch.zeros_like(zeros[0]) for _ in range(3)] for _ in range(2)]
    for _ in range(iterations):
        right = []
        for one in range(2):
            total = signed[one] - owed[one]
            for axis, h in enumerate(voxel_size):
                add_adjoint_difference(total, steep[one][axis] - due[one][axis], axis, h)
            right.append(rfftn(total).mul_(rho).add_(data[one]))
        new = [
            irfftn((nn * right[0] - pn * right[1]).div_(bottom), shape),
            irfftn((pp * right[1] - pn * right[0]).div_(bottom), shape),
        ]
        change = math.hypot(*(float(torch.linalg.vector_norm(x - y)) for x, y in zip(new, parts, strict=True)))
        size = math.hypot(*(float(torch.linalg.vector_norm(x)) for x in new))
        parts = new
        for one in range(2):
            signed[one] = (parts[one] + owed[one]).clamp_min_(0)
            owed[one] += parts[one] - signed[one]
            for axis, h in enumerate(voxel_size):
                due[one][axis] += difference(parts[one], axis, h)
                here = due[one][axis]
                steep[one][axis] = torch.sign(here) * (here.abs() - smooth[axis] * (weight / rho)).clamp_min_(0)
                due[one][axis] = here - steep[one][axis]
        if change <= tolerance * size:
            break
    return signed[0], signed[1]
