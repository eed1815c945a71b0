"""Single-step inversion of the total field by total generalised variation."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, paste, rfftn
from neuraxis.numerics.morphology import without_rim
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.qsm.inversion.total_field import TotalField
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_PAIRS = ((0, 1), (0, 2), (1, 2))
"""Axes of the mixed entries of a symmetric matrix."""

_FLOOR = 1e-4
"""Least curvature of a step in the sources, where neither kernel nor gradient gives any."""

_RELAXATION = 1.7
"""Share of a step that is taken; it converges below 2."""


def tgv(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    alpha1: float = 3e-5,
    alpha0: float = 6e-5,
    rho: float = 0.01,
    start_iterations: int = 30,
    iterations: int = 40,
    tolerance: float = 0.0,
    padding: float = 20.0,
    rim: float = 3.0,
) -> Tensor:
    """Single step from the total field, by total generalised variation (TGV).

    Background and tissue are fitted at once, so that what a background removal would take from the tissue is not lost:

        min 1/2 ||W (D (chi + x) - field)||^2 + alpha1 ||grad chi - w||_1 + alpha0 ||sym grad w||_1

    with chi and w inside the mask, the sources x of the background outside it, and weights W = 1 / noise, at most that of
    the median voxel. It starts from the projection onto dipole fields and goes on by the primal-dual method of Chambolle
    and Pock with a step that is diagonal in Fourier space. Departures from the paper: the background is the field of
    sources outside the mask instead of any function without a Laplacian (inside, the two are the same), so that the
    kernel is exact for every direction of the main field and slow variations converge in tens of steps; norms are taken
    entry by entry, so that turned voxel axes change nothing.

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
    alpha1
        Weight of the gradient that is left; ppm mm, above 0. Larger is smoother.
    alpha0
        Weight of the change of the slope; ppm mm^2, above 0. Larger gives flatter regions with edges, smaller slopes.
    rho
        Penalty of the primal-dual method; above 0. It changes the way, hardly the result.
    start_iterations
        Iterations of LSMR that find the background at the start; at least 1.
    iterations
        Most primal-dual iterations; at least 1. More fit better, mainly near the rim.
    tolerance
        Stop when the susceptibility changes by less than this share of itself; 0 or above.
    padding
        Room behind the box of the mask, filled with sources; mm, at least 0.
    rim
        Depth of the rim that is taken off the result; mm, at least 0. There, sources just outside the mask explain the
        field as well as those inside.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask without its rim.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or nothing of it is deeper than the rim.

    References
    ----------
    Langkammer 2015, doi:10.1016/j.neuroimage.2015.02.041
    Bredies 2010, doi:10.1137/090769521
    Chambolle 2011, doi:10.1007/s10851-010-0251-1
    Liu 2011, doi:10.1002/nbm.1670
    """
    for name, value in (("start_iterations", start_iterations), ("iterations", iterations)):
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    for name, number in (("alpha1", alpha1), ("alpha0", alpha0), ("rho", rho)):
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be above 0, not {number}")
    for name, number in (("tolerance", tolerance), ("padding", padding), ("rim", rim)):
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be at least 0, not {number}")
    problem = TotalField.of(total_field, field_mask, grid, field_noise, padding)
    kept = without_rim(field_mask, rim, grid.voxel_size)
    start = problem.background_sources(start_iterations)
    problem.inside(start)[problem.mask] = problem.inner_sources(start, max(1, start_iterations // 3))[problem.mask]
    chi = _primal_dual(problem, start, alpha1, alpha0, rho, iterations, tolerance)
    return paste(chi * kept[problem.box], problem.box, grid.shape)


def _primal_dual(
    problem: TotalField, start: Tensor, alpha1: float, alpha0: float, rho: float, iterations: int, tolerance: float
) -> Tensor:
    """The minimum over sources and slopes w from `start`; gives the sources in the box of the mask.

    The step in the sources is taken in the metric D^2 + rho L: the data term is exceeded by one that also knows, from the
    sources of the step before, the field where it is not measured, and |grad chi|^2 by its form without a mask.
    """
    h, padded, size = problem.voxel_size, problem.padded, problem.size
    spectrum = rfftn(start)
    chi = problem.inside(start).clone()
    del start
    curvature = (
        laplacian_eigenvalues(padded, h, chi.device).mul_(rho).addcmul_(problem.kernel, problem.kernel).add_(_FLOOR)
    )
    weights = problem.weights.square()
    edges = problem.edges()
    faces = _faces(edges)
    slope, p = chi.new_zeros((3, *size)), chi.new_zeros((3, *size))
    q = chi.new_zeros((6, *size))
    work, step, force = torch.empty_like(chi), torch.empty_like(chi), torch.empty_like(slope)
    # norms of the parts of the operator: half of the step for p is the gradient's, half the slope's
    to_p = rho / 2
    to_slope = 1 / (4 * to_p)
    to_q = 0.5 / (to_slope * sum(4 / x**2 for x in h))
    for _ in range(iterations):
        residual = irfftn(spectrum * problem.kernel, padded, size).sub(problem.field).mul_(weights)
        change = rfftn(residual, padded).mul_(problem.kernel)
        work.zero_()
        for axis in range(3):
            add_adjoint_difference(work, p[axis], axis, h[axis])
        change += rfftn(work, padded)
        change /= curvature
        spectrum.sub_(change, alpha=_RELAXATION)
        torch.neg(problem.inside(irfftn(change, padded)), out=step)
        _slope_force(force, p, q, work, h)
        force.mul_(-to_slope).mul_(edges)
        # the duals see the primal step taken twice
        ahead, slope_ahead = torch.add(chi, step, alpha=2), torch.add(slope, force, alpha=2)
        chi.add_(step, alpha=_RELAXATION)
        slope.add_(force, alpha=_RELAXATION)
        for axis in range(3):
            difference(ahead, axis, h[axis], work).sub_(slope_ahead[axis]).mul_(edges[axis])
            _relaxed(p[axis], work, to_p, alpha1)
            n = size[axis]
            torch.mul(slope_ahead[axis], 1 / h[axis], out=work)
            work.narrow(axis, 1, n - 1).sub_(slope_ahead[axis].narrow(axis, 0, n - 1), alpha=1 / h[axis])
            work.narrow(axis, 1, n - 1).mul_(edges[axis].narrow(axis, 0, n - 1))
            work.narrow(axis, 0, 1).zero_()
            _relaxed(q[axis], work.mul_(edges[axis]), to_q, alpha0)
        for number, (i, j) in enumerate(_PAIRS):
            difference(slope_ahead[j], i, h[i], work).add_(difference(slope_ahead[i], j, h[j])).mul_(0.5)
            _relaxed(q[3 + number], work.mul_(faces[number]), to_q, 2 * alpha0)
        moved = _RELAXATION * float(torch.linalg.vector_norm(step.mul_(problem.mask)))
        if moved <= tolerance * float(torch.linalg.vector_norm(chi * problem.mask)):
            break
    return chi


def _relaxed(dual: Tensor, towards: Tensor, step: float, bound: float) -> None:
    """A relaxed dual step, in place: dual + relaxation (clamp(dual + step towards) - dual); spoils `towards`."""
    towards.mul_(step).add_(dual).clamp_(-bound, bound).sub_(dual)
    dual.add_(towards, alpha=_RELAXATION)


def _slope_force(force: Tensor, p: Tensor, q: Tensor, work: Tensor, h: tuple[float, float, float]) -> None:
    """Adjoint of (-w, symmetric gradient of w), written into `force`. The duals are zero where their entry has no place."""
    torch.neg(p, out=force)
    for axis in range(3):
        force[axis].sub_(difference(q[axis], axis, h[axis], work))
    for number, (i, j) in enumerate(_PAIRS):
        torch.mul(q[3 + number], 0.5, out=work)
        add_adjoint_difference(force[j], work, i, h[i])
        add_adjoint_difference(force[i], work, j, h[j])


def _faces(edges: Tensor) -> Tensor:
    """Where the four voxels of a face lie in the mask, for each pair of axes; (3, X, Y, Z)."""
    faces = torch.zeros_like(edges)
    for number, (i, j) in enumerate(_PAIRS):
        n = edges.shape[1 + j] - 1
        torch.logical_and(edges[i].narrow(j, 0, n), edges[i].narrow(j, 1, n), out=faces[number].narrow(j, 0, n))
    return faces
