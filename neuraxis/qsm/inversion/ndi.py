"""Nonlinear dipole inversion by accelerated descent."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.inversion.nonlinear_data import check_knobs, field_data
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_LARGEST = 4 / 9
"""Largest D^2: the dipole kernel lies in -2/3..1/3."""


def ndi(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    field_strength: float | None = None,
    echo_times: Array | None = None,
    *,
    iterations: int = 30,
    damping: float = 1e-5,
    tolerance: float = 0.0,
    padding: float = 10.0,
) -> Tensor:
    """Nonlinear dipole inversion, regularised by stopping early (NDI).

    Goes downhill from chi = 0 on

        W |exp(i s D chi) - exp(i s field)|^2 / (2 s^2) + damping / 2 ||chi||^2

    and stops while the noise is still small: what the data know well comes first. Departures from the paper: chi lies
    inside the mask, and the descent is accelerated (Nesterov), so that n steps go as far as about n^2 / 4 plain ones, to
    the same fixed point.
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
    iterations
        Steps; at least 1. More are sharper and noisier.
    damping
        Weight of the size of chi; at least 0. Larger is darker.
    tolerance
        Stop earlier when the susceptibility changes by less than this share of itself; 0 or above.
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
    Polak 2020, doi:10.1002/nbm.4271
    Beck 2009, doi:10.1137/080716542
    """
    check_knobs(
        at_least_zero={"damping": damping, "tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations},
    )
    data = field_data(local_field, local_mask, grid, field_noise, field_strength, echo_times, padding=padding)
    step = 1 / (_LARGEST * float(data.weight.max()) + damping)
    chi = torch.zeros_like(data.field)
    ahead, momentum = chi, 1.0
    for _ in range(iterations):
        made = irfftn(rfftn(ahead, data.padded).mul_(data.kernel), data.padded, data.size)
        rest = torch.sub(made, data.field).mul_(data.scale).sin_().mul_(data.weight).div_(data.scale)
        downhill = irfftn(rfftn(rest, data.padded).mul_(data.kernel), data.padded, data.size) * data.mask
        before, chi = chi, ahead.mul(1 - step * damping).sub_(downhill, alpha=step)
        momentum_before, momentum = momentum, (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        change = before.neg_().add_(chi) if before is not ahead else chi - before
        if float(torch.linalg.vector_norm(change)) <= tolerance * float(torch.linalg.vector_norm(chi)):
            break
        ahead = torch.add(chi, change, alpha=(momentum_before - 1) / momentum)
    return data.whole(chi)
