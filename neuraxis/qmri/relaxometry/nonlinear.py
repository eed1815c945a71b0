"""R2* by least squares on the signal itself, with the noise floor in the model."""

from __future__ import annotations

import math
from typing import Literal

import lazy_loader as lazy

from neuraxis.qmri.decay import decay_time
from neuraxis.qmri.relaxometry.loglinear import loglinear
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_MEDIAN_CHI_SQUARED = {1: 0.4549, 2: 1.3863, 3: 2.3660, 4: 3.3567, 5: 4.3515, 6: 5.3481, 7: 6.3458, 8: 7.3441}
"""Median of chi squared by degrees of freedom; above the last about k - 2/3 (Wilson 1931, doi:10.1073/pnas.17.12.684)."""
_DAMPING = 1e-3
"""Of Levenberg's kind at the start, as a share of the diagonal: halved after a good step, times eight after a bad one."""

_DONE = 1e-4
"""No step in any voxel changed its sum of squares by more than this share of the signal's noise floor: the fit has ended."""
_CHUNK = 1 << 15


def nonlinear(
    magnitude: Tensor,
    mask: Tensor,
    echo_times: Array,
    echo_spacing: Array,
    *,
    max_r2star: float = 1000.0,
    noise: float | Literal["residuals", "none"] = "residuals",
    iterations: int = 15,
) -> tuple[Tensor, Tensor, Tensor]:
    """Non-linear least squares with a Rician noise floor.

    A magnitude never falls below its noise; a decay that does is fitted with the mean of the Rice distribution:

        min sum_e (S_e - mu(S0 exp(-R2* TE_e), sigma))^2
        mu(A, sigma) = sigma sqrt(pi/2) exp(-x/2) ((1 + x) I0(x/2) + x I1(x/2)),  x = A^2 / (2 sigma^2)

    by damped Gauss-Newton steps from the weighted log-linear fit. Any spacing of the echoes, two or more; the noise can be told from
    the residuals with three or more.

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
    noise
        Standard deviation of the real part, in the unit of the magnitude, at least 0; "residuals" takes it from the median residual of
        the log-linear fit over the mask, "none" fits the plain decay.
    iterations
        Steps, at least 1.

    Returns
    -------
    R2* in 1/s, T2* in s (0 where less than 0.1 % is lost by the last echo), and S0 in the unit of the magnitude; each (X, Y, Z), at least 0, zero
    outside the mask.

    Raises
    ------
    ValueError: fewer than two echoes, or a knob out of range.

    References
    ----------
    Gudbjartsson 1995, doi:10.1002/mrm.1910340618
    """
    if magnitude.shape[-1] < 2:
        raise ValueError(f"nonlinear needs at least two echoes, there is {magnitude.shape[-1]}")
    if noise not in ("residuals", "none") and not (isinstance(noise, (int, float)) and 0 <= noise < math.inf):
        raise ValueError(f"noise must be residuals, none or at least 0, not {noise}")
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    maps = loglinear(magnitude, mask, echo_times, echo_spacing, max_r2star=max_r2star)
    signal = torch.stack([magnitude[..., echo][mask] for echo in range(magnitude.shape[-1])])
    times = torch.as_tensor(echo_times, dtype=torch.float32, device=signal.device)[:, None]
    rate, start = maps[0][mask], maps[2][mask]
    sigma = _noise_of(signal, rate, start, times) if noise == "residuals" else 0.0 if noise == "none" else float(noise)
    for first in range(0, signal.shape[1], _CHUNK):  # small enough to stay in the cache
        part = slice(first, first + _CHUNK)
        rate[part], start[part] = _fit(signal[:, part], times, rate[part], start[part], sigma, max_r2star, iterations)
    for whole, values in zip(maps, (rate, decay_time(rate, echo_times), start), strict=True):
        whole[mask] = values
    return maps


def _noise_of(signal: Tensor, rate: Tensor, start: Tensor, times: Tensor) -> float:
    """Standard deviation of the noise, from the median of the squared residuals; 0 when there are none left over."""
    free = signal.shape[0] - 2
    if free < 1 or signal.shape[1] == 0:
        return 0.0
    squares = ((signal - start * torch.exp(-rate * times)) ** 2).sum(0)
    return math.sqrt(float(torch.median(squares)) / _MEDIAN_CHI_SQUARED.get(free, free - 2 / 3))


def _fit(
    signal: Tensor, times: Tensor, rate: Tensor, start: Tensor, sigma: float, max_rate: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Damped Gauss-Newton steps in R2* and S0, all voxels at once; a step that does not help a voxel is not taken there."""

    def residual(rate: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay = torch.exp(-rate * times)
        mean, slope = _rice(start * decay, sigma)
        return signal - mean, slope * decay, (signal - mean).square().sum(0)

    damping = torch.full_like(rate, _DAMPING)
    least = _DONE * signal.square().sum(0).mul_(1e-4).add_(sigma**2)
    error, by_start, cost = residual(rate, start)
    for _ in range(iterations):
        by_rate = -times * start * by_start
        aa, bb, ab = by_start.square().sum(0), by_rate.square().sum(0), (by_start * by_rate).sum(0)
        a, b = (by_start * error).sum(0), (by_rate * error).sum(0)
        aa, bb = aa * (1 + damping), bb * (1 + damping)
        bottom = aa * bb - ab**2
        good = bottom > 0
        bottom = torch.where(good, bottom, 1.0)
        new_start = (start + torch.where(good, (bb * a - ab * b) / bottom, 0.0)).clamp_min_(0)
        new_rate = (rate + torch.where(good, (aa * b - ab * a) / bottom, 0.0)).clamp_(0, max_rate)
        new_error, new_by_start, new_cost = residual(new_rate, new_start)
        better = new_cost < cost
        ended = not bool((better & (cost - new_cost > least)).any())
        rate, start = torch.where(better, new_rate, rate), torch.where(better, new_start, start)
        error, by_start = torch.where(better, new_error, error), torch.where(better, new_by_start, by_start)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 2, damping * 8).clamp_(1e-7, 1e7)
        if ended:
            break
    return rate, start


def _rice(amplitude: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Mean of a Rician magnitude, and its derivative by the amplitude."""
    if sigma <= 0:
        return amplitude, torch.ones_like(amplitude)
    half = (amplitude / (2 * sigma)).square_()  # x / 2
    zero, one = torch.special.i0e(half), torch.special.i1e(half)
    scale = sigma * math.sqrt(math.pi / 2)
    mean = scale * ((1 + 2 * half) * zero + 2 * half * one)
    return mean, (scale / (2 * sigma**2)) * amplitude * (zero + one)
