"""Field map as the slope of a line through the phase of the echoes."""

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


def linear_fit(
    unwrapped: Tensor,
    mask: Tensor,
    echo_times: Array,
    field_strength: float,
    magnitude: Tensor | None = None,
    *,
    weighting: Weighting = "phase_var",
    t2star: float = 0.04,
    intercept: bool = True,
) -> tuple[Tensor, Tensor]:
    """Weighted line through the phase of the echoes, with an intercept.

        field, offset = argmin sum_e w_e / (k TE_e)^2 (phase_e - offset - k TE_e field)^2,   k = rad per ppm and second

    The weights are those of the weighted average, which is this fit without an intercept. The intercept takes up what
    phase offset is left in the voxel, at the price of noise: with four equally spaced echoes the field has 2.4 times
    the noise of a line through zero. One echo gives a line through zero. The noise is estimated as by the weighted
    average, with one echo less of votes; where no echo is left to vote, from the six neighbours.

    Parameters
    ----------
    unwrapped
        Phase without wraps, with or without offset; rad, (X, Y, Z, E).
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    field_strength
        B0; T, above 0.
    magnitude
        At least 0, (X, Y, Z, E); 1 if absent.
    weighting
        w_e: "phase_snr" S TE, "phase_var" S^2 TE^2 (least noise), "average" 1, "tes" TE, "magnitude" S, "t2star"
        TE^2 exp(-TE / t2star).
    t2star
        T2* that the weighting "t2star" expects; s, > 0. Larger gives late echoes more weight.
    intercept
        Whether the phase at time zero is fitted too.

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
    """
    check(weighting, t2star, field_strength)
    box = mask_box(mask)
    inside = mask[box]
    times = [float(time) for time in echo_times]
    factors = [radians_per_ppm_second(field_strength) * time for time in times]
    phases = [unwrapped[..., echo][box] for echo in range(len(factors))]
    sizes = echo_sizes(magnitude, box, inside, len(factors))
    free = intercept and len(factors) > 1
    weights = [
        echo_weight(weighting, size, time / times[-1], t2star / times[-1]) / factor**2
        for size, factor, time in zip(sizes, factors, times, strict=True)
    ]

    # everything relative to the weighted means: the sums of squares alone would cancel in float32
    middle, level = torch.zeros_like(phases[0]), torch.zeros_like(phases[0])
    if free:
        total = torch.zeros_like(middle)
        for phase, weight, factor in zip(phases, weights, factors, strict=True):
            total += weight
            middle.add_(weight, alpha=factor)
            level += weight * phase
        middle /= total
        level /= total
    above, below, spread = (torch.zeros_like(middle) for _ in range(3))
    for phase, size, weight, factor in zip(phases, sizes, weights, factors, strict=True):
        lever = weight * (factor - middle)
        above += lever * (phase - level)
        below += lever * (factor - middle)
        spread += (lever / size) ** 2
    field = above / below
    rest = torch.zeros_like(field)
    votes = len(factors) - 1 - free
    if votes > 0:
        for phase, size, factor in zip(phases, sizes, factors, strict=True):
            rest += (size * (phase - level - (factor - middle) * field)) ** 2
        rest /= votes
    else:
        rest = departure(field, inside).mul_(below) ** 2 / spread.clamp_min(torch.finfo(spread.dtype).tiny)
    spread.sqrt_().div_(below)
    noise = residual_variance(rest, max(1, votes), inside).sqrt_().mul_(spread).clamp_min_(LEAST_NOISE)
    field, noise = pasted((field, noise), inside, box, mask)
    return field, noise
