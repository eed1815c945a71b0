"""How much each echo counts in the field, and the noise of what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.fourier import Box
from neuraxis.volume import Tensor

torch = lazy.load("torch")

Weighting = Literal["phase_snr", "phase_var", "average", "tes", "magnitude", "t2star"]

_PRIOR_VOTES = 3.0
"""What the noise of the whole mask weighs in the noise of a voxel, in echoes."""
_LEAST_MAGNITUDE = 1e-3
"""Magnitudes count as at least this share of the median one."""
LEAST_NOISE = 1e-9
"""The noise of a field is never less; ppm."""


def check(weighting: str, t2star: float, field_strength: float) -> None:
    """ValueError for an unknown weighting, or a T2* or a field strength that is not positive."""
    known = get_args(Weighting)
    if weighting not in known:
        raise ValueError(f"weighting must be {', '.join(known[:-1])} or {known[-1]}, not {weighting!r}")
    if not 0 < t2star < math.inf:
        raise ValueError(f"t2star must be above 0 s, not {t2star}")
    if not field_strength > 0:
        raise ValueError(f"the field strength must be above 0 T, not {field_strength}")


def echo_sizes(magnitude: Tensor | None, box: Box, inside: Tensor, echoes: int) -> list[Tensor]:
    """Magnitude of each echo over the median of the first, never zero; 1 where there is none."""
    if magnitude is None:
        return [torch.ones_like(inside, dtype=torch.float32)] * echoes
    scale = sample_quantile(magnitude[..., 0][box][inside], 0.5) or 1.0
    return [(magnitude[..., echo][box] / scale).clamp_min_(_LEAST_MAGNITUDE) for echo in range(echoes)]


def echo_weight(weighting: str, size: Tensor, time: float, t2star: float) -> Tensor:
    """Weight of the field of one echo; only its ratio to that of the other echoes matters."""
    if weighting == "phase_snr":
        return size * time
    if weighting == "phase_var":
        return (size * time) ** 2
    if weighting == "magnitude":
        return size
    plain = {"average": 1.0, "tes": time}.get(weighting, time**2 * math.exp(-time / t2star))
    return torch.full_like(size, plain)


def residual_variance(rest: Tensor, votes: int, inside: Tensor) -> Tensor:
    """Variance of S phase in each voxel, from what the fit left over there (`rest`, its mean square) and in the mask.

    Never less than the median in the mask, so that it is large where the phase is not what the model says.
    """
    # median of a chi-squared variable over its degrees of freedom (Wilson and Hilferty)
    common = sample_quantile(rest[inside], 0.5) / (1 - 2 / (9 * votes)) ** 3
    return ((votes * rest + _PRIOR_VOTES * common) / (votes + _PRIOR_VOTES)).clamp_min_(common)


def departure(field: Tensor, inside: Tensor) -> Tensor:
    """Difference from the mean of the face neighbours in the mask, scaled to the noise of one voxel."""
    total, number = torch.zeros_like(field), torch.zeros_like(field)
    masked, one = field * inside, inside.to(field.dtype)
    for axis in range(3):
        n = field.shape[axis]
        for this, other in (((1, n - 1), (0, n - 1)), ((0, n - 1), (1, n - 1))):
            total.narrow(axis, *this).add_(masked.narrow(axis, *other))
            number.narrow(axis, *this).add_(one.narrow(axis, *other))
    number.clamp_min_(1)
    return (field - total / number) * (number / (number + 1)).sqrt()


def pasted(parts: Sequence[Tensor], inside: Tensor, box: Box, mask: Tensor) -> list[Tensor]:
    """Each part, zero outside the mask, on the whole grid; what lies outside may be anything, NaN too."""
    whole = [torch.zeros_like(mask, dtype=torch.float32) for _ in parts]
    for one, part in zip(whole, parts, strict=True):
        one[box] = torch.where(inside, part, torch.zeros_like(part))
    return whole
