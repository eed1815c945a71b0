"""Nonlinear data term with total variation."""

from __future__ import annotations

from neuraxis.qsm.inversion.nonlinear_data import (
    TotalVariation,
    check_knobs,
    field_data,
    least_squares_step,
    split_minimum,
)
from neuraxis.volume import Array, Grid, Tensor


def fansi_tv(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    field_strength: float | None = None,
    echo_times: Array | None = None,
    *,
    alpha: float = 3e-5,
    mu: float = 0.3,
    rho: float = 9e-3,
    iterations: int = 40,
    tolerance: float = 0.01,
    padding: float = 10.0,
) -> Tensor:
    """Fast nonlinear susceptibility inversion with total variation (FANSI).

    Compares the signals that the fields make instead of the fields, and so counts voxels less that do not fit at all:

        min W |exp(i s D chi) - exp(i s field)|^2 / (2 s^2) + alpha ||grad chi||_1

    solved by ADMM: the field is split from D chi, the gradient from grad chi, and chi has a closed form in Fourier space.
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
    alpha
        Weight of the total variation; ppm mm, above 0. Larger is smoother.
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
    Milovic 2018, doi:10.1002/mrm.27073
    """
    check_knobs(
        above_zero={"alpha": alpha, "mu": mu, "rho": rho},
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, field_strength, echo_times, padding=padding)
    smooth = TotalVariation(data, alpha, rho)
    chi = split_minimum(data, smooth, least_squares_step, mu=mu, iterations=iterations, tolerance=tolerance)
    return data.whole(chi)
