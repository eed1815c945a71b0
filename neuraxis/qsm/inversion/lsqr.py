"""Iterative least squares with early stopping."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.solvers import lsmr
from neuraxis.qsm.inversion.nonlinear_data import check_knobs, field_data
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def lsqr(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    iterations: int = 15,
    tolerance: float = 1e-3,
    padding: float = 20.0,
) -> Tensor:
    """Weighted least squares inside the mask, stopped early (LSQR).

        min ||W M (D M chi - field)||

    with the mask M and the weights W = 1 / noise (at most ten times the median's; without the noise, 1), by LSMR from
    chi = 0. What the data know well comes first, and what they hardly know - noise and streaks - comes late: the number of
    iterations is the regularisation. LSMR stands in for LSQR: the same iterates in exact arithmetic for a consistent
    system, and a gradient that falls at every step.

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
    iterations
        Most iterations; at least 1. More are sharper and noisier.
    tolerance
        Stop when residual or gradient is so small against operator and data; 0 or above.
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
    Li 2011, doi:10.1016/j.neuroimage.2010.11.088
    Fong 2011, doi:10.1137/10079687X
    """
    check_knobs(at_least_zero={"tolerance": tolerance, "padding": padding}, counts={"iterations": iterations})
    data = field_data(local_field, local_mask, grid, field_noise, None, None, padding=padding, power=1)

    def dipoles(chi: Tensor) -> Tensor:
        return irfftn(rfftn(chi, data.padded).mul_(data.kernel), data.padded, data.size)

    chi, _ = lsmr(
        lambda chi: dipoles(chi).mul_(data.weight),
        lambda rest: dipoles(rest * data.weight).mul_(data.mask),
        data.field * data.weight,
        iterations=iterations,
        tolerance=tolerance,
    )
    whole = chi.new_zeros(grid.shape)
    whole[data.box] = chi
    return whole
