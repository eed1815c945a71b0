"""Total variation with a linear data term."""

from __future__ import annotations

from typing import Literal

from neuraxis.qsm.inversion.linear_data import HOLD, BoundedVariation, quadratic_step
from neuraxis.qsm.inversion.nonlinear_data import check_knobs, field_data, split_minimum
from neuraxis.qsm.inversion.weight_choice import check_weight, variation_weight
from neuraxis.volume import Grid, Tensor


def tv(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    alpha: float | Literal["auto"] = 5e-5,
    mu: float = 1.0,
    rho: float = 5e-3,
    iterations: int = 50,
    tolerance: float = 0.003,
    padding: float = 10.0,
) -> Tensor:
    """Least squares with total variation (TV).

        min 1/2 ||W (D chi - field)||^2 + alpha ||grad chi||_1

    with W = 1 / noise inside the mask (mean square 1 over it; without the noise, 1) and 0 outside, where the field is not
    known, and chi = 0 from the second voxel outside on. Solved by ADMM: the field is split from D chi and the gradient
    from grad chi, so that every step has a closed form, W z + mu (z - x) = W field per voxel, and a division in Fourier
    space. Departure from the paper: its data term is not weighted, and compares with a field of zero outside the mask.

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
        Weight of the total variation; ppm mm, above 0. Larger is smoother. "auto" takes the weight at which what is left
        over equals the noise, or without noise the inflection of the L-curve; it takes the time of about ten inversions.
    mu
        Penalty of the ADMM for the field; above 0. It changes the way, hardly the result.
    rho
        Penalty of the ADMM for the gradient; mm^2, above 0. It changes the way, hardly the result.
    iterations
        Most iterations; at least 1.
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
    Bilgic 2014, doi:10.1002/mrm.25029
    Milovic 2018, doi:10.1002/mrm.27073
    Milovic 2021, doi:10.1002/mrm.28435
    """
    check_weight("alpha", alpha)
    check_knobs(
        above_zero={"mu": mu, "rho": rho},
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, None, None, padding=padding)

    def solved(weight: float) -> Tensor:
        smooth = BoundedVariation(data, weight, rho, HOLD * mu)
        return split_minimum(data, smooth, quadratic_step, mu=mu, iterations=iterations, tolerance=tolerance)

    chosen = variation_weight(data, solved, field_noise) if isinstance(alpha, str) else alpha
    return data.whole(solved(chosen))
