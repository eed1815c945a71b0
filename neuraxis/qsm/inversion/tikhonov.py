"""Tikhonov-regularised division."""

from __future__ import annotations

from typing import Literal

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.inversion.nonlinear_data import check_knobs, field_data
from neuraxis.qsm.inversion.weight_choice import check_weight, chosen_weight, noise_in_field, root_mean_square
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def tikhonov(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    weight: float | Literal["auto"] = 0.01,
    padding: float = 20.0,
) -> Tensor:
    """Least squares with a small susceptibility (Tikhonov), in closed form.

        min ||D chi - field||^2 + weight ||chi||^2,   chi(k) = D field(k) / (D^2 + weight)

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    field_noise
        Standard deviation of the field; ppm, (X, Y, Z). Only the choice of the weight uses it.
    weight
        Weight of the penalty; above 0. Larger is smoother and darker. "auto" takes the weight at which what is left over
        equals the noise, or without noise the inflection of the L-curve.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or a noise that is asked for is nowhere above 0.

    References
    ----------
    Bilgic 2014, doi:10.1002/mrm.25029
    Milovic 2021, doi:10.1002/mrm.28435
    """
    check_weight("weight", weight)
    check_knobs(at_least_zero={"padding": padding})
    noise = field_noise if weight == "auto" else None
    data = field_data(local_field, local_mask, grid, noise, None, None, padding=padding)
    spectrum = rfftn(data.field, data.padded)

    def measured(one: float) -> tuple[float, float]:
        chi = spectrum * (data.kernel / (data.kernel**2 + one))
        image = irfftn(chi, data.padded, data.size)
        rest = irfftn(chi.mul_(data.kernel), data.padded, data.size) - data.field
        return root_mean_square(rest.mul_(data.weight.sqrt()), data.mask), root_mean_square(image, data.mask)

    if isinstance(weight, str):
        weight = chosen_weight(measured, _LIMITS, noise_in_field(data, noise))
    spectrum *= data.kernel.div_(data.kernel**2 + weight)
    return data.whole(irfftn(spectrum, data.padded))


_LIMITS = (1e-6, 1.0)
"""Between these lies a weight that is chosen: D^2 is at most 4/9."""
