"""Field map as a weighted average over echoes."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.fourier import mask_box
from neuraxis.qsm.b0.weighting import (
    LEAST_NOISE,
    Weighting,
    check,
    departure,
    echo_sizes,
    echo_weight,
    pasted,
    residual_variance,
)
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def weighted_average(
    unwrapped: Tensor,
    mask: Tensor,
    echo_times: Array,
    field_strength: float,
    magnitude: Tensor | None = None,
    *,
    weighting: Weighting = "phase_var",
    t2star: float = 0.04,
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
        w_e: "phase_snr" S TE, "phase_var" S^2 TE^2 (least noise), "average" 1, "tes" TE, "magnitude" S, "t2star"
        TE^2 exp(-TE / t2star).
    t2star
        T2* that the weighting "t2star" expects; s, > 0. Larger gives late echoes more weight.

    Returns
    -------
    Field in ppm of B0, positive where the field is stronger, and the standard deviation of its noise in ppm, above
    zero in the mask; both (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range, a field strength that is not positive, or an empty mask.

    References
    ----------
    Robinson 2017, doi:10.1002/nbm.3601
    Dymerska 2021, doi:10.1002/mrm.28563
    """
    check(weighting, t2star, field_strength)
    box = mask_box(mask)
    inside = mask[box]
    times = [float(time) for time in echo_times]
    factors = [radians_per_ppm_second(field_strength) * time for time in times]
    phases = [unwrapped[..., echo][box] for echo in range(len(factors))]
    sizes = echo_sizes(magnitude, box, inside, len(factors))

    above, below = torch.zeros_like(phases[0]), torch.zeros_like(phases[0])
    spread = torch.zeros_like(phases[0])
    for phase, size, factor, time in zip(phases, sizes, factors, times, strict=True):
        weight = echo_weight(weighting, size, time / times[-1], t2star / times[-1])
        above += weight * phase / factor
        below += weight
        spread += (weight / (factor * size)) ** 2
    field = above / below
    rest = torch.zeros_like(field)
    votes = max(1, len(factors) - 1)
    if len(factors) > 1:
        for phase, size, factor in zip(phases, sizes, factors, strict=True):
            rest += (size * torch.sub(phase, field, alpha=factor)) ** 2
        rest /= votes
    else:
        rest = (sizes[0] * factors[0] * departure(field, inside)) ** 2
    noise = (residual_variance(rest, votes, inside) * spread).sqrt_().div_(below).clamp_min_(LEAST_NOISE)
    field, noise = pasted((field, noise), inside, box, mask)
    return field, noise
