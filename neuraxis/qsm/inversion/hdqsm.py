"""Hybrid data term: first absolute differences, then squared ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.inversion.linear_data import HOLD, BoundedVariation, quadratic_step
from neuraxis.qsm.inversion.nonlinear_data import FieldData, absolute_step, check_knobs, field_data, split_minimum
from neuraxis.qsm.inversion.weight_choice import check_weight, variation_weight
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_FIRST_ALPHA = 1e-4
"""Weight of stage 1 when that of stage 2 is to be found; ppm mm. Lambert 2022."""


def hdqsm(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    alpha: float | Literal["auto"] = 5e-5,
    mu: float = 1.0,
    rho: float = 5e-3,
    first_iterations: int = 20,
    iterations: int = 50,
    tolerance: float = 0.003,
    padding: float = 10.0,
) -> Tensor:
    """Hybrid data term with total variation (HD-QSM).

    Stage 1 compares absolute differences, which voxels with a wrong field hardly move:

        min ||W (D chi_1 - field)||_1 + sqrt(alpha) ||grad chi_1||_1

    and what it leaves over, d = |D chi_1 - field| / largest, lowers the weight of those voxels in stage 2:

        min 1/2 ||(1 - d)^2 W (D chi - field)||^2 + alpha ||grad chi||_1

    Both are solved by ADMM. W = 1 / noise inside the mask (mean square 1 over it; without the noise, 1) and 0 outside, and
    chi = 0 from the second voxel outside on. Departures from the paper: that support, and stage 2 begins from chi = 0.

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
    alpha
        Weight of the total variation; ppm mm, above 0. Larger is smoother. "auto" takes for stage 2 the weight at which
        what is left over equals the noise, or without noise the inflection of the L-curve; it takes the time of about ten
        inversions.
    mu
        Penalty of the ADMM for the field; above 0. It changes the way, hardly the result.
    rho
        Penalty of the ADMM for the gradient; mm^2, above 0. It changes the way, hardly the result.
    first_iterations
        Most iterations of stage 1; at least 1.
    iterations
        Most iterations of stage 2; at least 1.
    tolerance
        Stop when the susceptibility changes by less than this share of itself; 0 or above.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or the noise is nowhere above 0.

    References
    ----------
    Lambert 2022, doi:10.1002/mrm.29218
    Milovic 2021, doi:10.1002/mrm.28435
    """
    check_weight("alpha", alpha)
    check_knobs(
        above_zero={"mu": mu, "rho": rho},
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"first_iterations": first_iterations, "iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, None, None, padding=padding)
    first = _FIRST_ALPHA if isinstance(alpha, str) else alpha
    trusted = _trusted(data, first, rho, mu, first_iterations, tolerance)

    def solved(weight: float) -> Tensor:
        smooth = BoundedVariation(trusted, weight, rho, HOLD * mu)
        return split_minimum(trusted, smooth, quadratic_step, mu=mu, iterations=iterations, tolerance=tolerance)

    chosen = variation_weight(trusted, solved, field_noise) if isinstance(alpha, str) else alpha
    return trusted.whole(solved(chosen))


def _trusted(data: FieldData, alpha: float, rho: float, mu: float, iterations: int, tolerance: float) -> FieldData:
    """The data with the weights that stage 1 leaves them.

    The L1 term is smaller by 1 / |rest| than the L2 term, so its penalties are larger by 1 / sqrt(alpha): then both stages
    smooth alike where the rest is sqrt(alpha) ppm.
    """
    scale = alpha**0.5
    absolute = replace(data, weight=data.weight.sqrt(), scale=0.0)
    smooth = BoundedVariation(absolute, scale, rho / scale, HOLD * mu / scale)
    chi = split_minimum(absolute, smooth, absolute_step, mu=mu / scale, iterations=iterations, tolerance=tolerance)
    rest = irfftn(rfftn(chi).mul_(data.kernel), data.padded, data.size).sub_(data.field).abs_().mul_(absolute.weight)
    largest = float(rest.max())
    if largest <= 0:
        return data
    return replace(data, weight=rest.div_(-largest).add_(1.0).clamp_min_(0.0).pow_(4).mul_(data.weight))
