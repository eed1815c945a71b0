"""Susceptibility-weighted imaging from one echo."""

from __future__ import annotations

import math

import lazy_loader as lazy
import numpy as np

from neuraxis.qsm.swi.weighting import Weighting, check_weighting, phase_weight
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_BEST_TIME_T_S = 0.060
"""Echo time times field at which venous phase is near pi; T s: 40 ms at 1.5 T, 20 ms at 3 T. Haacke 2009, doi:10.3174/ajnr.A1400"""


def haacke(
    phase: Tensor,
    magnitude: Tensor,
    mask: Tensor,
    echo_times: Array,
    field_strength: float,
    grid: Grid,
    *,
    echo: int = 0,
    cutoff: float = 0.125,
    weighting: Weighting = "positive",
    strength: float = 4.0,
) -> Tensor:
    """Susceptibility-weighted image from one echo, as first described.

    The complex image of each slice is divided by its low-passed self (homodyne filter); the phase that is left darkens the
    magnitude, `strength` times:

        high = angle(signal conj(low-pass signal)),   swi = magnitude x (1 - high / pi)^strength where high > 0

    The low-pass is a Hann window in the plane of the first two voxel axes.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E).
    magnitude
        At least 0, (X, Y, Z, E).
    mask
        Where the image is made; (X, Y, Z).
    echo_times
        Rising; s, (E,).
    field_strength
        Main field; T.
    grid
        Grid of the images, for the voxel size.
    echo
        Number of the echo, from 1; 0 takes the one nearest to 60 ms T over the field strength (20 ms at 3 T).
    cutoff
        Frequency at which the low-pass ends; 1/mm, above 0: 32 of 256 lines over 256 mm. Larger leaves smaller structures alone.
    weighting
        positive and tanh darken what is paramagnetic (positive phase), negative and negative_tanh what is diamagnetic,
        triangular both.
    strength
        How often the weight is multiplied, above 0; larger is darker.

    Returns
    -------
    Susceptibility-weighted image; unit of the magnitude, (X, Y, Z), at least 0, zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range.

    References
    ----------
    Haacke 2004, doi:10.1002/mrm.20198
    Haacke 2009, doi:10.3174/ajnr.A1400
    """
    check_weighting(weighting, strength)
    if not 0 < cutoff < math.inf:
        raise ValueError(f"cutoff must be above 0 per mm, not {cutoff}")
    if not 0 <= echo <= len(echo_times):
        raise ValueError(f"echo must be 0 to {len(echo_times)}, not {echo}")
    best = _BEST_TIME_T_S / float(field_strength)
    number = echo - 1 if echo else int(np.argmin(np.abs(np.asarray(echo_times, float) - best)))
    strong, angle = magnitude[..., number], phase[..., number]
    known = torch.isfinite(strong) & torch.isfinite(angle)  # air and skull count: the filter sees the whole slice
    strong, angle = torch.where(known, strong, 0.0), torch.where(known, angle, 0.0)
    signal = torch.polar(strong, angle)
    axes = [torch.fft.fftfreq(n, h, device=phase.device) for n, h in zip(grid.shape[:2], grid.voxel_size[:2], strict=True)]
    radius = torch.hypot(axes[0][:, None], axes[1][None, :]).div_(cutoff).clamp_(max=1.0)
    window = torch.cos(math.pi / 2 * radius).square_()
    low = torch.fft.ifft2(torch.fft.fft2(signal, dim=(0, 1)) * window[:, :, None], dim=(0, 1))
    high = torch.angle(signal * low.conj())
    return strong * phase_weight(high, mask, weighting, strength) * mask
