"""Field map that fits the complex signal of the echoes."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.fourier import mask_box
from neuraxis.qsm.b0.weighting import LEAST_NOISE, check, departure, echo_sizes, pasted, residual_variance
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def nonlinear_fit(
    unwrapped: Tensor,
    mask: Tensor,
    echo_times: Array,
    field_strength: float,
    magnitude: Tensor | None = None,
    *,
    intercept: bool = False,
    iterations: int = 10,
    tolerance: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Complex fit over the echoes, so that a wrap left in an echo does no harm.

        field, offset = argmin sum_e S_e^2 |exp(i phase_e) - exp(i (offset + k TE_e field))|^2

    with k = rad per ppm and second, by Gauss-Newton steps in each voxel, from the least squares fit to the unwrapped
    phase. Noise of the phase counts by the signal that it comes from, and an echo whose signal is lost for
    nothing.

    Departure from the paper: the steps take the derivative at a phase difference of zero, S^2 sin(difference), which
    always goes downhill. The noise is estimated as by the weighted average, from 2 - 2 cos(difference) in place of the
    squared difference.

    Parameters
    ----------
    unwrapped
        Phase without offset; rad, (X, Y, Z, E). Only the start depends on its branch.
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    field_strength
        B0; T, above 0.
    magnitude
        At least 0, (X, Y, Z, E); 1 if absent.
    intercept
        Whether the phase at time zero is fitted too (with two echoes or more): less harm from an offset that is left, more noise.
    iterations
        Most Gauss-Newton steps, 1 to 100.
    tolerance
        A step that changes the phase of the last echo by less than this (root mean square) is the last; rad, > 0.

    Returns
    -------
    Field in ppm of B0, positive where the field is stronger, and the standard deviation of its noise in ppm, above
    zero in the mask; both (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range, a field strength that is not positive, or an empty mask.

    References
    ----------
    Liu 2013, doi:10.1002/mrm.24272
    """
    check("phase_var", 1.0, field_strength)
    if not 1 <= iterations <= 100:
        raise ValueError(f"iterations must be 1 to 100, not {iterations}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0 rad, not {tolerance}")
    box = mask_box(mask)
    inside = mask[box]
    factors = [radians_per_ppm_second(field_strength) * float(time) for time in echo_times]
    echoes = len(factors)
    free = intercept and echoes > 1
    # voxels of the mask in a row: the fit knows no neighbours
    sizes = [size[inside] for size in echo_sizes(magnitude, box, inside, echoes)]
    phases = [unwrapped[..., echo][box][inside] for echo in range(echoes)]

    field, offset = torch.zeros_like(phases[0]), torch.zeros_like(phases[0])
    squares, total, middle = torch.zeros_like(field), torch.zeros_like(field), torch.zeros_like(field)
    for size, factor in zip(sizes, factors, strict=True):
        total.addcmul_(size, size)
        middle.addcmul_(size, size, value=factor)
    middle = middle / total if free else torch.zeros_like(middle)
    for size, factor in zip(sizes, factors, strict=True):
        squares += (size * (factor - middle)) ** 2
    for step in range(iterations + 1):
        slope, level = torch.zeros_like(field), torch.zeros_like(field)
        for phase, size, factor in zip(phases, sizes, factors, strict=True):
            pull = torch.sub(phase, field, alpha=factor).sub_(offset)
            pull = (pull.sin_() if step > 0 else pull).mul_(size).mul_(size)
            slope += pull * (factor - middle)
            level += pull
        slope /= squares
        field += slope
        if free:
            offset += level / total - middle * slope
        if step > 0 and float(slope.square().mean()) ** 0.5 * factors[-1] < tolerance:
            break

    votes = echoes - 1 - free
    rest = torch.zeros_like(field)
    if votes > 0:
        for phase, size, factor in zip(phases, sizes, factors, strict=True):
            left = torch.sub(phase, field, alpha=factor).sub_(offset).mul_(0.5).sin_()
            rest += (2 * size * left) ** 2
        rest /= votes
    else:
        placed = torch.zeros_like(inside, dtype=field.dtype)
        placed[inside] = field
        rest = departure(placed, inside)[inside] ** 2 * squares
    variance = residual_variance(rest, max(1, votes), torch.ones_like(rest, dtype=torch.bool))
    noise = (variance / squares).sqrt_().clamp_min_(LEAST_NOISE)
    placed = torch.zeros((2, *inside.shape), dtype=field.dtype, device=field.device)
    placed[0][inside], placed[1][inside] = field, noise
    field, noise = pasted((placed[0], placed[1]), inside, box, mask)
    return field, noise
