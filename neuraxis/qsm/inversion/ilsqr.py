"""Iterative least squares with removal of the streaks."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, sphere_spectrum
from neuraxis.numerics.solvers import lsmr
from neuraxis.qsm.inversion.nonlinear_data import FieldData, check_knobs, field_data
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_FIELD_QUANTILES = (0.6, 0.999)
"""Of |Laplacian of the field|: below the first the weight is 1, above the second 0. Li 2015."""

_GRADIENT_QUANTILES = (0.5, 0.7)
"""Of the |gradient| of the fast estimate: below the first a voxel must be free of streaks, above the second not. Li 2015."""

_KERNEL_RANGE = (0.0058, 0.167)
"""1 % and 30 % of all directions have a smaller |D|: from the first to the second the fast estimate goes over from its
spherical mean to itself. Li 2015."""

_KERNEL_POWER = 0.001
"""Power of |D| in that transition. Li 2015."""

_MEAN_RADIUS = 3.0
"""Radius of the spherical mean in the fast estimate; mm. Li 2015."""

_REGRESSION_THRESHOLD = 0.125
"""Threshold of the truncated division that the fast estimate is scaled to. Li 2015."""


def ilsqr(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    *,
    iterations: int = 40,
    cone: float = 0.05,
    streak_iterations: int = 30,
    tolerance: float = 1e-3,
    padding: float = 20.0,
) -> Tensor:
    """Least squares with estimation and removal of the streaks (iLSQR).

    1. A first map: min ||W M (D M chi_1 - field)||, stopped early; W falls from 1 to 0 where the field is rough.
    2. A fast map that shows where edges are: sign(D) field in Fourier space, its ill-known frequencies twice replaced by
       those of its spherical mean, scaled by regression to the truncated division.
    3. The streaks, which lie in the cone |D| < `cone` alone: the y there whose gradient equals that of chi_1 wherever the
       fast map has no edge, min ||G grad (y - chi_1)||.
    4. chi = chi_1 - y.

    Departures from the paper: LSMR stands in for LSQR, works on the masked field in image space and not on its product
    with D, and the weights W and G go by the size of Laplacian and gradient, so that a field of the other sign gives the
    same map with the other sign.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    iterations
        Most iterations of the first map; at least 1. More are sharper, with more streaks to remove.
    cone
        Largest |D| of the frequencies in which streaks are looked for; 0 < cone < 1/3. Larger removes more, of the map too.
    streak_iterations
        Most iterations of the streaks; at least 1.
    tolerance
        Stop both when residual or gradient is so small against operator and data; 0 or above.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0, and raised to the width of a sphere of 3 mm.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob is outside its range, or the mask is empty.

    References
    ----------
    Li 2015, doi:10.1016/j.neuroimage.2014.12.043
    Li 2011, doi:10.1016/j.neuroimage.2010.11.088
    """
    if not 0 < cone < 1 / 3:
        raise ValueError(f"cone must be above 0 and below 1/3, not {cone}")
    check_knobs(
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations, "streak_iterations": streak_iterations},
    )
    radius = max(_MEAN_RADIUS, max(grid.voxel_size))
    room = max(padding, 2 * (radius + max(grid.voxel_size)))
    data = field_data(local_field, local_mask, grid, None, None, None, padding=room)
    chi = _first_map(data, iterations, tolerance)
    flat = _flat(data, _fast_map(data, radius))
    inside = data.kernel.abs() < cone

    def streaks(y: Tensor) -> Tensor:
        return irfftn(rfftn(y, data.padded).mul_(inside), data.padded, data.size)

    def gradient(image: Tensor) -> Tensor:
        out = image.new_empty((3, *image.shape))
        for axis, spacing in enumerate(grid.voxel_size):
            difference(image, axis, spacing, out[axis]).mul_(flat[axis])
        return out

    def adjoint(rest: Tensor) -> Tensor:
        total = torch.zeros_like(chi)
        for axis, spacing in enumerate(grid.voxel_size):
            add_adjoint_difference(total, rest[axis] * flat[axis], axis, spacing)
        return streaks(total)

    y, _ = lsmr(
        lambda y: gradient(streaks(y)), adjoint, gradient(chi), iterations=streak_iterations, tolerance=tolerance
    )
    whole = chi.new_zeros(grid.shape)
    whole[data.box] = chi.sub_(streaks(y)).mul_(data.mask)
    return whole


def _first_map(data: FieldData, iterations: int, tolerance: float) -> Tensor:
    """Weighted least squares inside the mask."""
    rough = torch.zeros_like(data.field)
    for axis, spacing in enumerate(data.grid.voxel_size):
        step = difference(data.field, axis, spacing).mul_(_both(data.mask, axis))  # only between voxels of the mask
        add_adjoint_difference(rough, step, axis, spacing)
    weight = _falling(rough.abs_(), data.mask, _FIELD_QUANTILES)

    def dipoles(chi: Tensor) -> Tensor:
        return irfftn(rfftn(chi, data.padded).mul_(data.kernel), data.padded, data.size)

    chi, _ = lsmr(
        lambda chi: dipoles(chi).mul_(weight),
        lambda rest: dipoles(rest * weight).mul_(data.mask),
        data.field * weight,
        iterations=iterations,
        tolerance=tolerance,
    )
    return chi


def _fast_map(data: FieldData, radius: float) -> Tensor:
    """An estimate without iterations, good for its edges."""
    kernel = data.kernel
    spectrum = rfftn(data.field, data.padded)
    trusted = kernel.abs().pow_(_KERNEL_POWER)
    low, high = (one**_KERNEL_POWER for one in _KERNEL_RANGE)
    trusted.sub_(low).div_(high - low).clamp_(0.0, 1.0)
    mean = sphere_spectrum(data.padded, data.grid.voxel_size, radius, kernel.device)
    blend = mean.mul_(1.0 - trusted).add_(trusted)  # w + (1 - w) S
    fast = irfftn(spectrum * torch.sign(kernel), data.padded, data.size) * data.mask
    for _ in range(2):
        fast = irfftn(rfftn(fast, data.padded).mul_(blend), data.padded, data.size) * data.mask
    floor = torch.where(kernel < 0, -_REGRESSION_THRESHOLD, _REGRESSION_THRESHOLD)
    limited = torch.where(kernel.abs() < _REGRESSION_THRESHOLD, floor, kernel)
    limited[0, 0, 0] = float("inf")
    divided = irfftn(spectrum.div_(limited), data.padded, data.size)[data.mask]
    known = fast[data.mask]
    known, divided = known - known.mean(), divided - divided.mean()
    size = float(torch.dot(known, known))
    return fast.mul_(float(torch.dot(known, divided)) / size) if size > 0 else fast


def _flat(data: FieldData, chi: Tensor) -> Tensor:
    """Per axis, 1 where the map has no edge and 0 where it has, or where the mask ends; (3, X, Y, Z)."""
    out = chi.new_empty((3, *chi.shape))
    for axis, spacing in enumerate(data.grid.voxel_size):
        both = _both(data.mask, axis)
        out[axis] = _falling(difference(chi, axis, spacing).abs_(), both, _GRADIENT_QUANTILES)
    return out


def _both(mask: Tensor, axis: int) -> Tensor:
    """Where a voxel and the next along the axis lie in the mask; nothing wraps around."""
    both = mask & torch.roll(mask, -1, axis)
    both.narrow(axis, mask.shape[axis] - 1, 1).fill_(False)
    return both


def _falling(size: Tensor, mask: Tensor, quantiles: tuple[float, float]) -> Tensor:
    """1 below the lower quantile of `size` over the mask, 0 above the upper one and outside the mask, linear between."""
    low, high = (sample_quantile(size[mask], one) for one in quantiles)
    if not high > low:
        return mask.float()
    return size.sub(high).div_(low - high).clamp_(0.0, 1.0).mul_(mask)
