"""Total field inversion."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.fourier import irfftn, paste, rfftn
from neuraxis.numerics.morphology import without_rim
from neuraxis.numerics.operators import add_adjoint_difference, difference
from neuraxis.qsm.inversion.total_field import TotalField
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_SMALLEST_GRADIENT = 1e-3
"""Below this gradient, in ppm per mm, the absolute value is rounded off, so that its slope is known everywhere."""


def tfi(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    combined_magnitude: Tensor | None = None,
    *,
    alpha: float = 1e-4,
    edges: float = 0.3,
    outside: float = 3.0,
    start_iterations: int = 30,
    iterations: int = 4,
    inner_iterations: int = 15,
    tolerance: float = 0.02,
    padding: float = 20.0,
    rim: float = 3.0,
) -> Tensor:
    """Total field inversion (TFI): sources inside and outside the mask at once.

        min 1/2 ||W (D P y - field)||^2 + alpha ||S grad P y||_1,   chi = P y inside the mask

    with the weights W = 1 / noise, at most that of the median voxel, and S: inside the mask, but not where the magnitude
    changes most. The preconditioner P, 1 inside and larger outside, lets the strong sources of the background come
    first. Solved by Gauss-Newton steps with conjugate gradients. Departures from the paper: the field is fitted, not
    its complex exponential, as it comes unwrapped; the start is the projection onto dipole fields and a few
    iterations of LSMR inside the mask, not zero, so that a smaller P and tens of iterations are enough.

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
    combined_magnitude
        Magnitude, whose edges may be edges of the susceptibility; any unit, (X, Y, Z). Without it there are none.
    alpha
        Weight of the gradient; ppm mm, above 0. Larger is smoother.
    edges
        Share of the places inside the mask whose gradient costs nothing; 0 <= edges < 1.
    outside
        P outside the mask; above 0. Larger gives more of the field to the background.
    start_iterations
        Iterations of LSMR that find the background at the start; at least 1.
    iterations
        Most Gauss-Newton steps; at least 1.
    inner_iterations
        Iterations of conjugate gradients in each; at least 1.
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
    Liu 2017, doi:10.1002/mrm.26331
    Liu 2011, doi:10.1002/nbm.1670
    """
    counts = dict(start_iterations=start_iterations, iterations=iterations, inner_iterations=inner_iterations)
    for name, value in counts.items():
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    for name, number in (("alpha", alpha), ("outside", outside)):
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be above 0, not {number}")
    for name, number in (("tolerance", tolerance), ("padding", padding), ("rim", rim)):
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be at least 0, not {number}")
    if not 0 <= edges < 1:
        raise ValueError(f"edges must be at least 0 and below 1, not {edges}")
    problem = TotalField.of(total_field, field_mask, grid, field_noise, padding)
    kept = without_rim(field_mask, rim, grid.voxel_size)
    sources = problem.background_sources(start_iterations)
    problem.inside(sources)[problem.mask] = problem.inner_sources(sources, max(1, start_iterations // 3))[problem.mask]
    smooth = _smooth(problem, None if combined_magnitude is None else combined_magnitude[problem.box], edges)
    for _ in range(iterations):
        before = problem.inside(sources) * problem.mask
        _gauss_newton(problem, sources, smooth, alpha, outside, inner_iterations)
        after = problem.inside(sources) * problem.mask
        if float(torch.linalg.vector_norm(after - before)) <= tolerance * float(torch.linalg.vector_norm(after)):
            break
    return paste(problem.inside(sources) * kept[problem.box], problem.box, grid.shape)


def _gauss_newton(
    problem: TotalField, sources: Tensor, smooth: Tensor, alpha: float, outside: float, iterations: int
) -> None:
    """One step towards the minimum, in place: |g| is replaced by g^2 / |g| at the gradient g of `sources`."""
    h, padded = problem.voxel_size, problem.padded
    ease = sources.new_full(padded, outside)
    problem.inside(ease)[problem.mask] = 1.0
    weights = problem.weights.square()
    inner = problem.inside(sources).contiguous()
    work = torch.empty_like(inner)
    stiffness = inner.new_empty((3, *problem.size))
    for axis in range(3):
        difference(inner, axis, h[axis], stiffness[axis])
    stiffness.square_().add_(_SMALLEST_GRADIENT**2).rsqrt_().mul_(alpha).mul_(smooth)

    def normal(step: Tensor, field: Tensor | None = None) -> Tensor:
        made = problem.field_of(step)
        if field is not None:
            made = made - field
        found = irfftn(rfftn(made * weights, padded).mul_(problem.kernel), padded)
        inside, pull = problem.inside(step).contiguous(), torch.zeros_like(work)
        for axis in range(3):
            difference(inside, axis, h[axis], work).mul_(stiffness[axis])
            add_adjoint_difference(pull, work, axis, h[axis])
        problem.inside(found).add_(pull)
        return found

    residual = normal(sources, problem.field).mul_(ease).neg_()
    direction = residual.clone()
    size = _inner(residual, residual)
    for _ in range(iterations):
        made = normal(direction * ease).mul_(ease)
        curvature = _inner(direction, made)
        if not curvature > 0:
            break
        sources.addcmul_(direction, ease, value=size / curvature)
        residual.sub_(made, alpha=size / curvature)
        before, size = size, _inner(residual, residual)
        direction.mul_(size / before).add_(residual)


def _inner(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _smooth(problem: TotalField, magnitude: Tensor | None, edges: float) -> Tensor:
    """Where the gradient is weighed: between voxels of the mask, but for the share with the steepest magnitude."""
    both = problem.edges()
    if magnitude is None or edges == 0 or not bool(both.any()):
        return both
    image = torch.where(problem.mask, magnitude, 0.0)
    steps = torch.stack([difference(image, axis, spacing).abs_() for axis, spacing in enumerate(problem.voxel_size)])
    return both & (steps <= sample_quantile(steps[both], 1 - edges))
