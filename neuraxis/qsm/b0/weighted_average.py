"""Field map as a weighted average over echoes."""

from __future__ import annotations

from typing import Literal

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.fourier import Box, mask_box
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_PRIOR_VOTES = 3.0
"""What the noise of the whole mask weighs in the noise of a voxel, in echoes."""
_LEAST_MAGNITUDE = 1e-3
"""Magnitudes count as at least this share of the median one."""


def weighted_average(
    unwrapped: Tensor,
    mask: Tensor,
    echo_times: Array,
    field_strength: float,
    magnitude: Tensor | None = None,
    *,
    weighting: Literal["phase_snr", "phase_var", "average", "tes", "magnitude"] = "phase_var",
) -> tuple[Tensor, Tensor]:
    """Weighted average of the fields of the echoes.

        field = sum_e w_e phase_e / (k TE_e) / sum_e w_e,   k = rad per ppm and second

    The noise of the field follows from that of the phase, sigma / S_e. sigma^2 of a voxel is the mean of what the
    echoes of the voxel leave over, sum_e S_e^2 (phase_e - k TE_e field)^2 / (E - 1), and of its median in the mask,
    which is the least it can be: where the phase does not grow as a straight line, or the signal is lost, the noise
    is large. With one echo, the difference from the six neighbours stands for what is left over. This estimate of the
    noise, with the weight of the median (3 echoes), is a convention of this program.

    Parameters
    ----------
    unwrapped
        Phase without wraps and offset; rad, (X, Y, Z, E).
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising; s, (E,).
    field_strength
        B0; T, above 0.
    magnitude
        At least 0, (X, Y, Z, E); 1 if absent.
    weighting
        w_e: "phase_snr" S TE, "phase_var" S^2 TE^2 (least noise), "average" 1, "tes" TE, "magnitude" S.

    Returns
    -------
    Field in ppm of B0, positive where the field is stronger, and the standard deviation of its noise in ppm, above
    zero in the mask; both (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: an unknown weighting, a field strength that is not positive, or an empty mask.

    References
    ----------
    Robinson 2017, doi:10.1002/nbm.3601
    Dymerska 2021, doi:10.1002/mrm.28563
    """
    if weighting not in ("phase_snr", "phase_var", "average", "tes", "magnitude"):
        raise ValueError(f"weighting must be phase_snr, phase_var, average, tes or magnitude, not {weighting!r}")
    if not field_strength > 0:
        raise ValueError(f"the field strength must be above 0 T, not {field_strength}")
    box = mask_box(mask)
    inside = mask[box]
    factors = [radians_per_ppm_second(field_strength) * float(time) for time in echo_times]
    phases = [unwrapped[..., echo][box] for echo in range(len(factors))]
    sizes = _sizes(magnitude, box, inside, len(factors))

    above, below = torch.zeros_like(phases[0]), torch.zeros_like(phases[0])
    spread = torch.zeros_like(phases[0])
    for phase, size, factor in zip(phases, sizes, factors, strict=True):
        weight = _weight(weighting, size, factor)
        above += weight * phase / factor
        below += weight
        spread += (weight / (factor * size)) ** 2
    field = above / below
    rest = torch.zeros_like(field)
    if len(factors) > 1:
        for phase, size, factor in zip(phases, sizes, factors, strict=True):
            rest += (size * torch.sub(phase, field, alpha=factor)) ** 2
        votes = len(factors) - 1
        rest /= votes
    else:
        votes = 1
        rest = (sizes[0] * factors[0] * _departure(field, inside)) ** 2
    # median of a chi-squared variable over its degrees of freedom (Wilson and Hilferty)
    common = sample_quantile(rest[inside], 0.5) / (1 - 2 / (9 * votes)) ** 3
    variance = ((votes * rest + _PRIOR_VOTES * common) / (votes + _PRIOR_VOTES)).clamp_min_(common)
    noise = (variance * spread).sqrt_().div_(below).clamp_min_(1e-9)
    whole = [torch.zeros_like(mask, dtype=field.dtype) for _ in range(2)]
    whole[0][box], whole[1][box] = field * inside, noise * inside
    return whole[0], whole[1]


def _sizes(magnitude: Tensor | None, box: Box, inside: Tensor, echoes: int) -> list[Tensor]:
    """Magnitude of each echo over the median of the first, never zero."""
    if magnitude is None:
        return [torch.ones_like(inside, dtype=torch.float32)] * echoes
    scale = sample_quantile(magnitude[..., 0][box][inside], 0.5) or 1.0
    return [(magnitude[..., echo][box] / scale).clamp_min_(_LEAST_MAGNITUDE) for echo in range(echoes)]


def _weight(weighting: str, size: Tensor, factor: float) -> Tensor:
    if weighting == "phase_snr":
        return size * factor
    if weighting == "phase_var":
        return (size * factor) ** 2
    if weighting == "magnitude":
        return size
    return torch.full_like(size, factor if weighting == "tes" else 1.0)


def _departure(field: Tensor, inside: Tensor) -> Tensor:
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
