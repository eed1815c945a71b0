"""Iteratively reweighted total variation."""

from __future__ import annotations

from neuraxis.qsm.inversion.linear_data import HOLD, BoundedVariation, quadratic_step
from neuraxis.qsm.inversion.nonlinear_data import check_knobs, field_data, split_minimum
from neuraxis.volume import Grid, Tensor


def nltv(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    alpha: float = 1e-4,
    edge: float = 0.02,
    mu: float = 1.0,
    rho: float = 5e-3,
    first_iterations: int = 20,
    iterations: int = 60,
    padding: float = 10.0,
) -> Tensor:
    """Least squares with iteratively reweighted total variation (NLTV).

        min 1/2 ||W (D chi - field)||^2 + alpha ||V grad chi||_1,   V = edge / (edge + |d chi|)

    V, for each difference d chi between neighbours its own, is found anew from chi after every `first_iterations`
    steps of the ADMM that solves this, with V = 1 at first: what has shown itself as an edge is then hardly smoothed.
    In the end a penalty alpha edge log(edge + |d chi|) is minimised, which is not convex. W = 1 / noise inside the
    mask (mean square 1 over it; without the noise, 1) and 0 outside, and chi = 0 from the second voxel outside on.
    "Nonlinear" is the penalty, not the data term.

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
        Weight of the total variation where chi is flat; ppm mm, above 0. Larger is smoother.
    edge
        Gradient of chi that is smoothed half as much; ppm/mm, above 0. Larger is nearer to plain total variation.
    mu
        Penalty of the ADMM for the field; above 0. It changes the way, hardly the result.
    rho
        Penalty of the ADMM for the gradient; mm^2, above 0. It changes the way, hardly the result.
    first_iterations
        Iterations before the weights are first found, and between one time and the next; at least 1.
    iterations
        Iterations in all; at least 1.
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
    Candes 2008, doi:10.1007/s00041-008-9045-x
    """
    check_knobs(
        above_zero={"alpha": alpha, "edge": edge, "mu": mu, "rho": rho},
        at_least_zero={"padding": padding},
        counts={"first_iterations": first_iterations, "iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, None, None, padding=padding)
    smooth = BoundedVariation(data, alpha, rho, HOLD * mu, edge, first_iterations)
    return data.whole(split_minimum(data, smooth, quadratic_step, mu=mu, iterations=iterations, tolerance=0.0))
