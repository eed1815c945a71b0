"""Rapid two-step dipole inversion."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import Shape, box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.numerics.solvers import lsmr
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_SLOW = 0.7
"""The penalty grows when the primal residual does not fall below this share of the one before."""

_GROWTH = 5.0
"""Factor by which the penalty then grows."""


def rts(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    *,
    start_iterations: int = 10,
    delta: float = 0.15,
    mu: float = 1000.0,
    rho: float = 10.0,
    iterations: int = 20,
    tolerance: float = 0.03,
    padding: float = 10.0,
) -> Tensor:
    """Rapid two-step dipole inversion (RTS).

    Step 1, a few iterations of LSMR, finds what the data know well: min ||M D chi_1 - field|| with chi_1 inside the mask
    M. Step 2 keeps that where the dipole kernel is large and fills the rest by total variation:

        min 1/2 mu ||P (chi - chi_1)||^2 + ||grad chi||_1,   P: the frequencies with |D| > delta

    solved by ADMM with penalty rho, which grows fivefold whenever the primal residual falls too slowly. Departure from
    the paper: step 1 works on the masked field in image space, not on each frequency of the unmasked one.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    start_iterations
        Iterations of LSMR in step 1; at least 1. More are sharper and noisier.
    delta
        Largest |D| of the frequencies that are filled; 0 < delta < 1/3.
    mu
        Weight of step 1 in step 2; 1/(ppm mm), above 0. Smaller is smoother.
    rho
        Penalty of the ADMM at its start; above 0. It changes the way, hardly the result.
    iterations
        Most iterations of step 2; at least 1.
    tolerance
        Stop when the susceptibility changes by less than this share of itself; 0 or above.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob is outside its range, or the mask is empty.

    References
    ----------
    Kames 2018, doi:10.1016/j.neuroimage.2017.11.018
    Fong 2011, doi:10.1137/10079687X
    """
    for name, value, least in (("start_iterations", start_iterations, 1), ("iterations", iterations, 1)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
    if not 0 < delta < 1 / 3:
        raise ValueError(f"delta must be above 0 and below 1/3, not {delta}")
    for name, number in (("mu", mu), ("rho", rho)):
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be above 0, not {number}")
    for name, number in (("tolerance", tolerance), ("padding", padding)):
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be at least 0, not {number}")
    box = mask_box(local_mask)
    mask, size = local_mask[box], box_shape(box)
    x, y, z = (padding / h for h in grid.voxel_size)
    padded = padded_shape(size, (x, y, z))
    kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, local_field.device)

    def masked_dipole(field: Tensor) -> Tensor:  # its own adjoint
        return irfftn(rfftn(field, padded).mul_(kernel), padded, size) * mask

    field = torch.where(mask, local_field[box], 0.0)
    start, _ = lsmr(masked_dipole, masked_dipole, field, iterations=start_iterations, tolerance=0.0)
    fidelity = kernel.abs_().gt(delta).mul(mu)
    chi = _fill(rfftn(start, padded), fidelity, padded, grid.voxel_size, rho, iterations, tolerance)
    return paste(chi[: size[0], : size[1], : size[2]] * mask, box, grid.shape)


def _fill(
    start: Tensor,
    fidelity: Tensor,
    shape: Shape,
    voxel_size: tuple[float, float, float],
    rho: float,
    iterations: int,
    tolerance: float,
) -> Tensor:
    """Minimises 1/2 ||sqrt(fidelity) (chi - start)||^2 + ||grad chi||_1 over spectra, by ADMM; returns chi.

    With v = grad chi + u, the shrinkage z = v - clamp(v) makes the new dual u = clamp(v): so z needs no memory of its own,
    and the change of u is the primal residual grad chi - z.
    """
    eigenvalues = laplacian_eigenvalues(shape, voxel_size, start.device)
    chi = irfftn(start, shape)
    start = start * fidelity
    dual = chi.new_zeros((3, *shape))
    image, work, clamped = torch.empty_like(chi), torch.empty_like(chi), torch.empty_like(chi)
    residual_before = math.inf
    for _ in range(iterations):
        image.zero_()
        residual = 0.0
        for axis, spacing in enumerate(voxel_size):
            difference(chi, axis, spacing, work).add_(dual[axis])
            torch.clamp(work, -1 / rho, 1 / rho, out=clamped)
            work.sub_(clamped, alpha=2)  # z - u
            add_adjoint_difference(image, work, axis, spacing)
            torch.sub(clamped, dual[axis], out=work)
            residual += float(torch.linalg.vector_norm(work, 1))
            dual[axis] = clamped
        spectrum = rfftn(image).mul_(rho).add_(start)
        weight = eigenvalues * rho
        weight += fidelity
        weight[0, 0, 0] = 1.0  # neither the data nor a gradient knows the mean
        spectrum /= weight
        before, chi = chi, irfftn(spectrum, shape)
        change = float(torch.linalg.vector_norm(before.sub_(chi)))
        if change <= tolerance * float(torch.linalg.vector_norm(chi)):
            break
        if residual > _SLOW * residual_before:
            rho *= _GROWTH
            dual /= _GROWTH
        residual_before = residual
    return chi
