"""Nonlinear data term with total generalised variation."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.qsm.inversion.nonlinear_data import (
    FieldData,
    check_knobs,
    field_data,
    least_squares_step,
    split_minimum,
)
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")


def fansi_tgv(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    field_strength: float | None = None,
    echo_times: Array | None = None,
    *,
    alpha: float = 3e-5,
    alpha_curvature: float = 1.5e-4,
    mu: float = 0.3,
    rho: float = 9e-3,
    rho_curvature: float = 0.2,
    iterations: int = 40,
    tolerance: float = 0.01,
    padding: float = 10.0,
) -> Tensor:
    """Fast nonlinear susceptibility inversion with total generalised variation (FANSI).

    As `fansi_tv`, but a slope w of chi costs nothing, only its change, so that there are no stairs on gentle slopes:

        min over chi, w: W |exp(i s D chi) - exp(i s field)|^2 / (2 s^2) + alpha ||grad chi - w||_1 + alpha_curvature ||E w||_1

    with E the symmetrised gradient, solved by ADMM; chi and w of a frequency have a closed form.
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
    alpha_curvature
        Weight of the change of the slope; ppm mm^2, above 0. Larger is nearer to plain total variation.
    mu
        Penalty of the ADMM for the field; above 0. It changes the way, hardly the result.
    rho
        Penalty of the ADMM for the gradient; mm^2, above 0. It changes the way, hardly the result.
    rho_curvature
        Penalty of the ADMM for the change of the slope; mm^4, above 0. It changes the way, hardly the result.
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
    Bredies 2010, doi:10.1137/090769521
    """
    check_knobs(
        above_zero={
            "alpha": alpha,
            "alpha_curvature": alpha_curvature,
            "mu": mu,
            "rho": rho,
            "rho_curvature": rho_curvature,
        },
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, field_strength, echo_times, padding=padding)
    regulariser = _GeneralisedVariation(data, alpha, rho, alpha_curvature, rho_curvature)
    chi = split_minimum(data, regulariser, least_squares_step, mu=mu, iterations=iterations, tolerance=tolerance)
    return data.whole(chi)


class _GeneralisedVariation:
    """min over w of alpha ||grad chi - w||_1 + alpha_curvature ||E w||_1, with E the symmetrised gradient.

    With d_i the forward differences as spectra and L = |d|^2, E^H E = (L + d d^H) / 2. So of the vector w only t = d^H w
    enters the equation of chi, and all four unknowns of a frequency have a closed form:

        t = (d^H R + rho L chi) / (rho + rho_c L)
        (mu D^2 + rho rho_c L^2 / (rho + rho_c L)) chi = right-hand side + rho d^H R / (rho + rho_c L)
        w = (R + d (rho chi - rho_c t / 2)) / (rho + rho_c L / 2)

    where R is the right-hand side of w. Duals are kept clamped, as in `TotalVariation`.
    """

    def __init__(self, data: FieldData, alpha: float, rho: float, alpha_curvature: float, rho_curvature: float) -> None:
        self.voxel_size, self.shape = data.grid.voxel_size, data.padded
        self.limits = alpha / rho, alpha_curvature / rho_curvature
        self.rho, self.rho_curvature = rho, rho_curvature
        device = data.field.device
        self.eigenvalues = laplacian_eigenvalues(data.padded, self.voxel_size, device)
        self.symbols = []
        for axis, (n, h) in enumerate(zip(data.padded, self.voxel_size, strict=True)):
            k = torch.arange(n // 2 + 1 if axis == 2 else n, device=device, dtype=torch.float64)
            angle = 2 * math.pi * k / n
            symbol = torch.complex(torch.cos(angle) - 1, torch.sin(angle)).div_(h).to(torch.complex64)
            self.symbols.append(symbol.view([-1 if one == axis else 1 for one in range(3)]))
        self.slope = data.field.new_zeros((3, *data.padded))
        self.dual = torch.zeros_like(self.slope)
        self.dual_curvature = data.field.new_zeros((6, *data.padded))

    def solve(self, chi: Tensor, data: Tensor, fidelity: Tensor) -> Tensor:
        first, second = self.rho, self.rho_curvature
        image, work = torch.zeros_like(chi), torch.empty_like(chi)
        right = self._curvature_target()
        for axis, spacing in enumerate(self.voxel_size):
            dual = self.dual[axis]
            difference(chi, axis, spacing, work).sub_(self.slope[axis]).add_(dual)
            torch.clamp(work, -self.limits[0], self.limits[0], out=dual)
            work.sub_(dual, alpha=2)  # g - u
            add_adjoint_difference(image, work, axis, spacing)
            right[axis].sub_(work, alpha=first)
        below = (self.eigenvalues * second).add_(first)
        spectra = [rfftn(right[axis]) for axis in range(3)]
        del right
        along = spectra[0] * self.symbols[0].conj()
        for axis in (1, 2):
            along.addcmul_(spectra[axis], self.symbols[axis].conj())  # d^H R
        along.div_(below)
        spectrum = rfftn(image).mul_(first).add_(data).add_(along, alpha=first)
        weight = (self.eigenvalues**2).mul_(first * second).div_(below).add_(fidelity)
        weight[0, 0, 0] = 1.0  # neither the data nor a gradient knows the mean
        spectrum.div_(weight)
        below.reciprocal_().mul_(self.eigenvalues).mul_(first)
        along.add_(below * spectrum)  # t
        along.mul_(-second / 2).add_(spectrum, alpha=first)
        torch.mul(self.eigenvalues, second / 2, out=below).add_(first)
        for axis in range(3):
            part = spectra[axis].addcmul_(along, self.symbols[axis].expand_as(along)).div_(below)
            self.slope[axis] = irfftn(part, self.shape)
        return spectrum

    def _curvature_target(self) -> Tensor:
        """rho_c E^H (q - r), with q shrunk from E w + r."""
        right = torch.zeros_like(self.slope)
        work, other = torch.empty_like(self.slope[0]), torch.empty_like(self.slope[0])
        number = 0
        for i in range(3):
            for j in range(i, 3):
                difference(self.slope[i], j, self.voxel_size[j], work)
                if i != j:
                    work.add_(difference(self.slope[j], i, self.voxel_size[i], other)).mul_(0.5)
                dual = self.dual_curvature[number]
                work.add_(dual)
                torch.clamp(work, -self.limits[1], self.limits[1], out=dual)
                work.sub_(dual, alpha=2)  # q - r
                add_adjoint_difference(right[i], work, j, self.voxel_size[j])
                if i != j:
                    add_adjoint_difference(right[j], work, i, self.voxel_size[i])
                number += 1
        return right.mul_(self.rho_curvature)
