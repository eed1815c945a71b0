"""R2* by auto-regression on linear operations."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.qmri.decay import decay_time
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_SAME_SPACING = 0.01
"""Echo spacings that differ by less than this share count as equal; scanners round echo times to 10 us."""


def arlo(
    magnitude: Tensor, mask: Tensor, echo_times: Array, echo_spacing: Array, *, max_r2star: float = 1000.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Auto-regression on linear operations (ARLO).

    Simpson's rule says how a decay's integral over two spacings D depends on its drop, whatever its amplitude:

        s_i = D/3 (S_i + 4 S_i+1 + S_i+2),  d_i = S_i - S_i+2
        T2* = (sum s_i^2 + D/3 sum s_i d_i) / (D/3 sum d_i^2 + sum s_i d_i)

    S0 is then the amplitude that fits the echoes best. Needs three or more echoes at equal spacing.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E).
    mask
        Where the maps are made; (X, Y, Z).
    echo_times
        Rising; s, (E,).
    echo_spacing
        Differences of the echo times, all equal to within 1 per cent; s, (E-1,).
    max_r2star
        Larger R2* are set to this; 1/s, > 0.

    Returns
    -------
    R2* in 1/s, T2* in s (0 where less than 0.1 % is lost by the last echo), and S0 in the unit of the magnitude; each (X, Y, Z), at least 0, zero
    outside the mask.

    Raises
    ------
    ValueError: fewer than three echoes, unequal spacing, or a knob out of range.

    References
    ----------
    Pei 2015, doi:10.1002/mrm.25137
    """
    if magnitude.shape[-1] < 3:
        raise ValueError(f"arlo needs at least three echoes, there are {magnitude.shape[-1]}; loglinear needs two")
    spacing = float(sum(echo_spacing) / len(echo_spacing))
    spacings = [round(float(one), 6) for one in echo_spacing]
    if max(abs(float(one) - spacing) for one in echo_spacing) > _SAME_SPACING * spacing:
        raise ValueError(f"arlo needs equally spaced echoes, the spacings are {spacings} s; use loglinear")
    if not max_r2star > 0:
        raise ValueError(f"max_r2star must be above 0 1/s, not {max_r2star}")
    signal = [magnitude[..., echo][mask] for echo in range(magnitude.shape[-1])]
    third = spacing / 3
    ss, sd, dd = (torch.zeros_like(signal[0]) for _ in range(3))
    for before, here, after in zip(signal[:-2], signal[1:-1], signal[2:], strict=True):
        area, drop = (before + 4 * here + after) * third, before - after
        ss += area**2
        sd += area * drop
        dd += drop**2
    above, below = third * dd + sd, ss + third * sd
    rate = torch.where((above > 0) & (below > 0), above / below.clamp_min(torch.finfo(below.dtype).tiny), 0.0)
    rate = rate.clamp_(0, max_r2star)
    top, bottom = torch.zeros_like(rate), torch.zeros_like(rate)
    for one, time in zip(signal, echo_times, strict=True):
        decay = torch.exp(-float(time) * rate)
        top += one * decay
        bottom += decay**2
    start = torch.where(bottom > 0, top / bottom.clamp_min(torch.finfo(bottom.dtype).tiny), 0.0)
    maps = []
    for values in (rate, decay_time(rate, echo_times), start):
        maps.append(torch.zeros_like(mask, dtype=values.dtype))
        maps[-1][mask] = values
    return maps[0], maps[1], maps[2]
