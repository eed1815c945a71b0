"""R2* by a straight line through the logarithm of the signal."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.qmri.decay import decay_time
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_LEAST_SHARE = 1e-4
"""Signals count as at least this share of the strongest echo of their voxel: the logarithm needs it."""
_LARGEST_RISE = 1e3
"""S0 is at most this many times the strongest echo: a decay too fast for the first echo tells nothing of its start."""


def loglinear(
    magnitude: Tensor,
    mask: Tensor,
    echo_times: Array,
    echo_spacing: Array,
    *,
    max_r2star: float = 1000.0,
    weighted: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted log-linear fit.

        log S(TE) = log S0 - R2* TE,   weights S^2

    As the noise of log S is that of S over S, these weights make it the least-squares fit of the signal to first order.
    Any spacing of the echoes, two or more.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E).
    mask
        Where the maps are made; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    echo_spacing
        Differences of the echo times; s, (E-1,).
    max_r2star
        Larger R2* are set to this; 1/s, > 0.
    weighted
        Whether echoes weigh by S^2; else all alike, which suffers from late echoes in noise.

    Returns
    -------
    R2* in 1/s, T2* in s (0 where less than 0.1 % is lost by the last echo), and S0 in the unit of the magnitude; each (X, Y, Z), at least 0, zero
    outside the mask.

    Raises
    ------
    ValueError: fewer than two echoes, or a knob out of range.

    References
    ----------
    Salvador 2005, doi:10.1002/hbm.20076
    """
    if len(echo_spacing) < 1 or magnitude.shape[-1] < 2:
        raise ValueError(f"loglinear needs at least two echoes, there is {magnitude.shape[-1]}")
    if not max_r2star > 0:
        raise ValueError(f"max_r2star must be above 0 1/s, not {max_r2star}")
    signal = [magnitude[..., echo][mask] for echo in range(magnitude.shape[-1])]
    peak = signal[0].clone()
    for one in signal[1:]:
        torch.maximum(peak, one, out=peak)
    there = peak > 0
    peak = torch.where(there, peak, torch.ones_like(peak))
    # times from the first echo keep the sums well conditioned in float32
    first = float(echo_times[0])
    w, wt, wtt, wl, wtl = (torch.zeros_like(peak) for _ in range(5))
    for one, time in zip(signal, echo_times, strict=True):
        share = (one / peak).clamp_min_(_LEAST_SHARE)
        log, t = torch.log(share), float(time) - first
        weight = share**2 if weighted else torch.ones_like(share)
        w += weight
        wt += weight * t
        wtt += weight * t**2
        wl += weight * log
        wtl += weight * t * log
    spread = (w * wtt - wt**2).clamp_min_(torch.finfo(w.dtype).tiny)
    rate = ((wt * wl - w * wtl) / spread * there).clamp_(0, max_r2star)
    # the line goes through the weighted mean, also where the rate was clipped
    start = peak * torch.exp((wl + rate * wt) / w + rate * first) * there
    start = torch.minimum(start, peak * _LARGEST_RISE)
    maps = []
    for values in (rate, decay_time(rate, echo_times), start):
        maps.append(torch.zeros_like(mask, dtype=values.dtype))
        maps[-1][mask] = values
    return maps[0], maps[1], maps[2]
