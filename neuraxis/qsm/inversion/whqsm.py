"""Nonlinear total variation beside a weakly harmonic field."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.operators import laplacian_eigenvalues
from neuraxis.qsm.inversion.nonlinear_data import (
    FieldData,
    TotalVariation,
    check_knobs,
    field_data,
    least_squares_step,
    smooth_places,
    split_minimum,
)
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")


def whqsm(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    field_strength: float | None = None,
    echo_times: Array | None = None,
    combined_magnitude: Tensor | None = None,
    *,
    alpha: float = 5e-5,
    model_error: float = 0.0012,
    edges: float = 0.2,
    harmonic_weight: float = 150.0,
    mu: float = 0.3,
    rho: float = 9e-3,
    harmonic_rho: float = 1.0,
    iterations: int = 50,
    tolerance: float = 0.0,
    padding: float = 10.0,
) -> Tensor:
    """Nonlinear total variation beside a weakly harmonic field (WH-QSM).

    What background removal has left over is harmonic inside the mask M; it is found together with the susceptibility:

        min W |exp(i s (D chi + h)) - exp(i s field)|^2 / (2 s^2) + a ||G grad chi||_1 + harmonic_weight / 2 ||M lap h||^2

    solved by ADMM as in `fansi_tv`, with lap h split off as well. h takes the mean of the field too. G leaves out the differences
    across the border of the mask and, as in `medi`, those where the magnitude changes most: there an edge costs nothing.
    a = alpha (1 + noise^2 / model_error^2) with the noise of a voxel of weight 1: the noisier the field, the smoother.
    G and a are departures from the paper. W = 1 / noise^2, with mean 1 over the mask. s is the phase in rad that a
    field of 1 ppm makes at the first echo; it is lowered where needed so that 99.9 % of the field makes less than pi
    / 2, where no wrap and no second minimum is near. Divided by s, the term is free of units: s says how soon a voxel
    that does not fit stops to count, and not how smooth the map is.

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
    alpha
        Weight of the total variation where noise is negligible; ppm mm, above 0. Larger is smoother.
    model_error
        What is wrong with the field besides noise; ppm, above 0. Noise as large as this doubles the weight; larger is less smooth.
    edges
        Share of the differences between neighbours in the mask that are edges; 0 <= edges < 1. More keep more detail and noise.
    harmonic_weight
        Weight of the Laplacian of h; mm^4, above 0. Larger lets h take less of the field of tissue, and needs more iterations.
    mu
        Penalty of the ADMM for the field; above 0. It changes the way, hardly the result.
    rho
        Penalty of the ADMM for the gradient; mm^2, above 0. It changes the way, hardly the result.
    harmonic_rho
        Penalty of the ADMM for the Laplacian of h; mm^4, above 0. It changes the way, hardly the result.
    iterations
        Most iterations; at least 1.
    tolerance
        Stop when the susceptibility changes by less than this share of itself; 0 or above. Rounding may end it a step earlier
        or later, at 0 never.
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
    Milovic 2019, doi:10.1002/mrm.27483
    Milovic 2018, doi:10.1002/mrm.27073
    Liu 2012, doi:10.1016/j.neuroimage.2011.08.082
    """
    check_knobs(
        above_zero={
            "alpha": alpha,
            "model_error": model_error,
            "harmonic_weight": harmonic_weight,
            "mu": mu,
            "rho": rho,
            "harmonic_rho": harmonic_rho,
        },
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations},
    )
    if not 0 <= edges < 1:
        raise ValueError(f"edges must be at least 0 and below 1, not {edges}")
    data = field_data(local_field, local_mask, grid, field_noise, field_strength, echo_times, padding=padding)
    smooth = smooth_places(data, None if combined_magnitude is None else combined_magnitude[data.box], edges)
    chi = split_minimum(
        data,
        TotalVariation(data, alpha * (1 + (data.noise / model_error) ** 2), rho, smooth),
        least_squares_step,
        mu=mu,
        iterations=iterations,
        tolerance=tolerance,
        background=_WeakHarmonic(data, harmonic_weight, mu, harmonic_rho),
    )
    return data.whole(chi)


class _WeakHarmonic:
    """weight / 2 ||M lap h||^2, split with the penalty rho; holds z - u of z = lap h.

    For each frequency, with L for the Laplacian, h = (mu (rest - D chi) + rho L (z - u)) / (mu + rho L^2).
    """

    def __init__(self, data: FieldData, weight: float, mu: float, rho: float) -> None:
        self.shape = data.padded
        self.eigenvalues = laplacian_eigenvalues(data.padded, data.grid.voxel_size, data.field.device)
        below = (self.eigenvalues**2).mul_(rho).add_(mu)
        self.pull = self.eigenvalues / below * rho
        self.share = self.pull * self.eigenvalues
        self.shrinkage = data.field.new_ones(data.padded)
        data.crop(self.shrinkage)[data.mask] = rho / (rho + weight)
        self.target, self.dual = torch.zeros_like(self.shrinkage), torch.zeros_like(self.shrinkage)

    def expected(self) -> Tensor:
        return rfftn(self.target).mul_(self.pull)

    def update(self, spectrum: Tensor) -> None:
        bent = irfftn(spectrum.mul_(self.eigenvalues), self.shape).add_(self.dual)
        torch.mul(bent, self.shrinkage, out=self.target)
        self.dual = bent.sub_(self.target)
        self.target.sub_(self.dual)
