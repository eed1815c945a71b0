"""Strong sources first, then the rest."""

from __future__ import annotations

from dataclasses import replace

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.inversion.linear_data import HOLD, BoundedVariation, quadratic_step
from neuraxis.qsm.inversion.nonlinear_data import FieldData, check_knobs, field_data, split_minimum
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def star(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    first_alpha: float = 1e-3,
    threshold: float = 0.3,
    alpha: float = 5e-5,
    mu: float = 1.0,
    rho: float = 5e-3,
    iterations: int = 40,
    tolerance: float = 0.003,
    padding: float = 10.0,
) -> Tensor:
    """Two-level streak reduction for sources of a large range (after STAR-QSM).

    Both levels minimise 1/2 ||W (D chi - field)||^2 + alpha ||grad chi||_1. The first, with a large alpha, finds the
    strong sources (bleedings, calcifications, veins), free of streaks; what of it is above a threshold stays:

        strong = chi_1 where |chi_1| > threshold, else 0

    The second, with a small alpha, explains what their field leaves over, and chi = strong + chi_2. Departures from the
    paper: the strong sources are told by a fixed susceptibility, while there the weight is tuned until both ranges are
    found; the data are weighted by the noise of the field; and both levels are solved by ADMM with a split data term,
    with chi = 0 from the second voxel outside the mask on. The original program is closed; this is no copy of it.

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
    first_alpha
        Weight of the total variation in the first level; ppm mm, above 0. Larger keeps fewer streaks and less detail of
        the strong sources.
    threshold
        Least |susceptibility| of a strong source; ppm, above 0. Smaller takes up more tissue as strong.
    alpha
        Weight of the total variation in the second level; ppm mm, above 0. Larger is smoother.
    mu
        Penalty of the ADMM for the field; above 0. It changes the way, hardly the result.
    rho
        Penalty of the ADMM for the gradient; mm^2, above 0. It changes the way, hardly the result.
    iterations
        Most iterations of each level; at least 1.
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
    Wei 2015, doi:10.1002/nbm.3383
    """
    check_knobs(
        above_zero={"first_alpha": first_alpha, "threshold": threshold, "alpha": alpha, "mu": mu, "rho": rho},
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, None, None, padding=padding)

    def level(data: FieldData, weight: float) -> Tensor:
        smooth = BoundedVariation(data, weight, rho, HOLD * mu)
        return split_minimum(data, smooth, quadratic_step, mu=mu, iterations=iterations, tolerance=tolerance)

    strong = level(data, first_alpha)
    strong[strong.abs() <= threshold] = 0.0
    if not bool(strong.any()):
        return data.whole(level(data, alpha))
    explained = irfftn(rfftn(strong).mul_(data.kernel), data.padded, data.size)
    rest = level(replace(data, field=(data.field - explained).mul_(data.mask)), alpha)
    return data.whole(rest.add_(strong))
