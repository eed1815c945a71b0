"""Susceptibility-weighted imaging from all echoes."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean, sample_quantile
from neuraxis.numerics.fourier import mask_box, paste
from neuraxis.qsm.swi.weighting import Weighting, check_weighting, phase_weight
from neuraxis.qsm.unwrapping.laplacian import laplacian
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_FLOOR_SHARE = 0.5
"""The floor of the magnitude, as a share of its 80th percentile; as in the program of the method's authors."""
_SOFTNESS = 2.0
"""Steepness of the softplus at the floor, in units of one over the floor; as there."""


def clear_swi(
    phase: Tensor,
    homogeneous_magnitude: Tensor,
    mask: Tensor,
    echo_times: Array,
    grid: Grid,
    *,
    sigma: float = 4.0,
    weighting: Weighting = "tanh",
    strength: float = 4.0,
    softplus: bool = True,
) -> Tensor:
    """Susceptibility-weighted image from all echoes (after CLEAR-SWI).

    Each echo is unwrapped by Poisson's equation and high-passed by taking off its Gaussian mean over the mask; the echoes are
    averaged as fields and seen at the last echo time. The magnitude without its receive field is kept from falling below a
    floor, so that drop-outs do not hide what the phase shows:

        phase = TE_last sum_e (m_e TE_e)^2 (high-passed phase_e / TE_e) / sum_e (m_e TE_e)^2
        swi   = softmax(root sum of squares of m_e, floor) x weight(phase)

    Departures from the paper: the echoes' magnitudes are combined by their squares alone, and the high-pass filter is as wide in
    all three directions.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E).
    homogeneous_magnitude
        Magnitude without the receive field; at least 0, (X, Y, Z, E).
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising; s, (E,).
    grid
        Grid of the images, for the voxel size.
    sigma
        Width of the high-pass filter; mm, above 0. Larger keeps larger structures, and more of the background field.
    weighting
        tanh and positive darken what is paramagnetic (positive phase), negative_tanh and negative what is diamagnetic,
        triangular both.
    strength
        Contrast of the weight, above 0; larger is darker.
    softplus
        Whether the magnitude is kept above a floor.

    Returns
    -------
    Susceptibility-weighted image; arbitrary unit, (X, Y, Z), at least 0, zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range, or an empty mask.

    References
    ----------
    Eckstein 2021, doi:10.1016/j.neuroimage.2021.118175
    Haacke 2004, doi:10.1002/mrm.20198
    Schofield 2003, doi:10.1364/OL.28.001194
    """
    check_weighting(weighting, strength)
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be above 0 mm, not {sigma}")
    box = mask_box(mask)
    inside = mask[box]
    total, weights, level = (torch.zeros_like(inside, dtype=torch.float32) for _ in range(3))
    for echo, time in enumerate(echo_times):
        one = laplacian(phase[..., echo : echo + 1], mask, grid)[..., 0][box]
        one = one - gaussian_mean(one, sigma, grid.voxel_size, inside)
        squared = torch.where(inside, homogeneous_magnitude[..., echo][box], 0.0).square_()
        level += squared
        squared *= float(time) ** 2
        total.addcmul_(squared, one, value=float(echo_times[-1]) / float(time))
        weights += squared
    level.sqrt_()
    combined = torch.where(weights > 0, total / weights.clamp_min(torch.finfo(torch.float32).tiny), 0.0)
    if softplus:
        floor = _FLOOR_SHARE * sample_quantile(level[inside], 0.8)
        if floor > 0:  # smooth maximum of level and floor
            level = floor + torch.nn.functional.softplus(level - floor, beta=_SOFTNESS / floor)
    return paste(level * phase_weight(combined, inside, weighting, strength) * inside, box, grid.shape)

