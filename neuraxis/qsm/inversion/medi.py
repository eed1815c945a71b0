"""Morphology-enabled dipole inversion."""

from __future__ import annotations

from dataclasses import replace

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, paste, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues, sphere_spectrum
from neuraxis.numerics.solvers import Operator
from neuraxis.qsm.inversion.nonlinear_data import FieldData, check_knobs, field_data, smooth_places
from neuraxis.qsm.ventricles import ventricular_fluid
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_SMALLEST_GRADIENT = 1e-3
"""Below this gradient, in ppm per mm, the absolute value is rounded off, so that its slope is known everywhere."""

_MISSING = 1e-4
"""Share of a sphere that may lie outside the mask: well above the rounding of a float32 transform."""


def medi(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    field_strength: float | None = None,
    echo_times: Array | None = None,
    combined_magnitude: Tensor | None = None,
    r2star: Tensor | None = None,
    *,
    alpha: float = 5e-5,
    edges: float = 0.3,
    iterations: int = 5,
    tolerance: float = 0.05,
    inner_iterations: int = 10,
    inner_tolerance: float = 0.02,
    smv_radius: float = 0.0,
    merit: float = 0.0,
    csf_weight: float = 0.0,
    csf_r2star: float = 5.0,
    padding: float = 10.0,
) -> Tensor:
    """Morphology-enabled dipole inversion (MEDI).

    Edges of the susceptibility are free where the magnitude has edges, and cost total variation elsewhere:

        min W |exp(i s D chi) - exp(i s field)|^2 / (2 s^2) + alpha ||M grad chi||_1 + csf_weight / 2 ||chi - mean chi||^2_CSF

    M is 0 for the largest differences of the magnitude and at the border of the mask, 1 elsewhere. Gauss-Newton steps from
    chi = 0 are solved by conjugate gradients, preconditioned in Fourier space. With csf_weight, the ventricles, found by
    their low R2* in the middle of the mask, are made uniform and called zero (MEDI+0).
    W = 1 / noise^2, with mean 1 over the mask. s is the phase in rad that a field of 1 ppm makes at the first echo; it
    is lowered where needed so that 99.9 % of the field makes less than pi / 2, where no wrap and no second minimum is
    near. Divided by s, the term is free of units: s says how soon a voxel that does not fit stops to count, and not how
    smooth the map is.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    field_noise
        Standard deviation of the field; ppm, (X, Y, Z), above 0 in the mask (a voxel where it is not weighs nothing).
        Without it all voxels weigh the same.
    field_strength
        B0; T, above 0. With the first echo time it gives the phase of a field.
    echo_times
        Rising; s, (E,). Without them, or without the field strength, s is its upper limit.
    combined_magnitude
        At least 0, (X, Y, Z); without it, all of the mask is taken as free of edges.
    r2star
        R2*; 1/s, (X, Y, Z). Needed when csf_weight is above 0.
    alpha
        Weight of the total variation; ppm mm, above 0. Larger is smoother.
    edges
        Share of the differences between neighbours in the mask that are edges; 0 <= edges < 1. More keep more detail and noise.
    iterations
        Most steps of Gauss-Newton; at least 1.
    tolerance
        Stop when a step is smaller than this share of the susceptibility; 0 or above.
    inner_iterations
        Most conjugate gradients of a step; at least 1.
    inner_tolerance
        End a step when its residual is this share of the one at its start; 0 or above.
    smv_radius
        Radius of a sphere whose mean is taken off the field, and off the field of chi, against background that is left over;
        mm, 0 (off) or above half the longest voxel edge. The mask loses that rim. The noise of the mean is neglected.
    merit
        Voxels that fit worse than this many standard deviations weigh less, by the fourth power (MERIT; 6 is common);
        0 (off) or above.
    csf_weight
        Weight of the uniformity of the ventricles; 0 (off) or above. Larger is more uniform.
    csf_r2star
        Largest R2* of the ventricles; 1/s, above 0.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask (and in the rim that smv_radius takes).

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, the noise is nowhere above 0, no sphere fits into the mask,
    or csf_weight is above 0 and there is no R2* or too little fluid in the ventricles.

    References
    ----------
    Liu 2012, doi:10.1016/j.neuroimage.2011.08.082
    Liu 2013, doi:10.1002/mrm.24272
    Liu 2018, doi:10.1002/mrm.26946
    """
    check_knobs(
        above_zero={"alpha": alpha, "csf_r2star": csf_r2star},
        at_least_zero={
            "tolerance": tolerance,
            "inner_tolerance": inner_tolerance,
            "smv_radius": smv_radius,
            "merit": merit,
            "csf_weight": csf_weight,
            "padding": padding,
        },
        counts={"iterations": iterations, "inner_iterations": inner_iterations},
    )
    if not 0 <= edges < 1:
        raise ValueError(f"edges must be at least 0 and below 1, not {edges}")
    data = field_data(
        local_field, local_mask, grid, field_noise, field_strength, echo_times, padding=max(padding, smv_radius)
    )
    if smv_radius > 0:
        data = _without_means(data, smv_radius)
    smooth = smooth_places(data, None if combined_magnitude is None else combined_magnitude[data.box], edges)
    csf = None
    if csf_weight > 0:
        if r2star is None:
            raise ValueError("csf_weight above 0 needs a map of R2*")
        brain = paste(data.mask, data.box, grid.shape)
        csf = ventricular_fluid(r2star, brain, grid, max_r2star=csf_r2star)[data.box]
    chi = _gauss_newton(
        data,
        smooth,
        csf,
        alpha=alpha,
        csf_weight=csf_weight,
        merit=merit,
        iterations=iterations,
        tolerance=tolerance,
        inner_iterations=inner_iterations,
        inner_tolerance=inner_tolerance,
    )
    if csf is not None:
        chi -= data.crop(chi)[csf].mean()
    return data.whole(chi)


def _gauss_newton(
    data: FieldData,
    smooth: Tensor | None,
    csf: Tensor | None,
    *,
    alpha: float,
    csf_weight: float,
    merit: float,
    iterations: int,
    tolerance: float,
    inner_iterations: int,
    inner_tolerance: float,
) -> Tensor:
    """Minimises the cost from chi = 0: each step solves its linearised normal equations."""
    voxel_size = data.grid.voxel_size
    chi = data.field.new_zeros(data.padded)
    work = torch.empty_like(chi)
    stiffness = chi.new_empty((3, *data.padded))
    eigenvalues = laplacian_eigenvalues(data.padded, voxel_size, chi.device)
    weight = data.weight

    def penalty(image: Tensor, total: Tensor) -> Tensor:
        for axis, spacing in enumerate(voxel_size):
            difference(image, axis, spacing, work).mul_(stiffness[axis])
            add_adjoint_difference(total, work, axis, spacing)
        if csf is not None:
            inside = data.crop(image)[csf]
            data.crop(total)[csf] += (inside - inside.mean()) * csf_weight
        return total

    def normal(image: Tensor) -> Tensor:
        made = irfftn(rfftn(image).mul_(data.kernel), data.padded, data.size)
        return penalty(image, irfftn(rfftn(made * weight, data.padded).mul_(data.kernel), data.padded))

    for _ in range(iterations):
        for axis, spacing in enumerate(voxel_size):
            part = difference(chi, axis, spacing, stiffness[axis])
            part.square_().add_(_SMALLEST_GRADIENT**2).rsqrt_().mul_(alpha)
        if smooth is not None:
            stiffness.mul_(smooth)
        made = irfftn(rfftn(chi).mul_(data.kernel), data.padded, data.size)
        angle = torch.sub(made, data.field).mul_(data.scale)
        if merit > 0:
            weight = _trusted(data, angle, merit)
        rest = angle.sin_().mul_(weight).div_(-data.scale)
        downhill = irfftn(rfftn(rest, data.padded).mul_(data.kernel), data.padded)
        downhill -= penalty(chi, torch.zeros_like(chi))
        inverse = (data.kernel**2).add_(eigenvalues, alpha=float(stiffness.mean())).add_(1e-4).reciprocal_()
        step = _conjugate_gradients(normal, downhill, inverse, inner_iterations, inner_tolerance)
        chi += step
        if float(torch.linalg.vector_norm(step)) <= tolerance * float(torch.linalg.vector_norm(chi)):
            break
    return chi


def _conjugate_gradients(normal: Operator, right: Tensor, inverse: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Solves normal(x) = right from x = 0, preconditioned by the spectrum `inverse`; right is used up.

    Ends when the residual, measured through the preconditioner, has fallen to `tolerance` of its start.
    """
    shape = (right.shape[0], right.shape[1], right.shape[2])
    solution, residual = torch.zeros_like(right), right
    direction, size, first = torch.zeros_like(right), 0.0, 0.0
    for number in range(iterations):
        nearly = irfftn(rfftn(residual).mul_(inverse), shape)
        size_before, size = size, _inner(residual, nearly)
        first = first or size
        if not size > tolerance**2 * first:
            break
        direction.mul_(size / size_before if number else 0.0).add_(nearly)
        made = normal(direction)
        curvature = _inner(direction, made)
        if not curvature > 0:
            break
        solution.add_(direction, alpha=size / curvature)
        residual.sub_(made, alpha=size / curvature)
    return solution


def _inner(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _without_means(data: FieldData, radius: float) -> FieldData:
    """Field, mask and kernel with spherical means taken off: (1 - S) D chi = (1 - S) field, both in Fourier space."""
    sphere = sphere_spectrum(data.padded, data.grid.voxel_size, radius, data.field.device)
    fits = irfftn(rfftn(data.mask.float(), data.padded).mul_(sphere), data.padded, data.size) > 1 - _MISSING
    mask = data.mask & fits
    if not bool(mask.any()):
        raise ValueError(f"no sphere of smv_radius {radius} mm fits into the mask")
    mean = irfftn(rfftn(data.field, data.padded).mul_(sphere), data.padded, data.size)
    field = torch.where(mask, data.field - mean, 0.0)
    weight = data.weight * mask
    weight.mul_(mask.sum() / weight.sum(dtype=torch.float64).float().clamp_min(1e-30))
    return replace(data, field=field, mask=mask, weight=weight, kernel=sphere.neg_().add_(1.0).mul_(data.kernel))


def _trusted(data: FieldData, angle: Tensor, limit: float) -> Tensor:
    """The weight, less where the difference of the signals is beyond `limit` standard deviations: as if noise were more."""
    rest = torch.sin(angle / 2).abs_().mul_(2).mul_(data.weight.sqrt())
    spread = float(rest[data.mask].square().mean().sqrt())
    if spread == 0:
        return data.weight
    return data.weight / rest.div_(limit * spread).clamp_min_(1.0).pow_(4)
