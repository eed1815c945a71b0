"""Phase offset from the first two echoes."""

from __future__ import annotations

import warnings
from typing import Literal

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.filters import gaussian_mean, wrap
from neuraxis.numerics.fourier import box_shape, mask_box, paste
from neuraxis.qsm.offset.blocks import block_mean, blocks_for, interpolated, repeat, smooth, unwrapped
from neuraxis.qsm.offset.read_out import odd_even_ramp, ramp_in_box, sign_of
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_SMALL_ISLANDS = 0.005
"""Islands beside the largest one change the offset only if they hold more than this share of the mask."""
_FAR = 1.0
"""Blocks whose offset lies farther than this from the smooth one are left out of further rounds; rad."""


def mcpc3ds(
    phase: Tensor,
    mask: Tensor,
    echo_times: Array,
    echo_spacing: Array,
    grid: Grid,
    magnitude: Tensor | None = None,
    *,
    smoothing: float = 7.0,
    rounds: int = 4,
    bipolar: Literal["detect", "ignore"] = "detect",
) -> Tensor:
    """MCPC-3D-S, phase offset from the first two echoes.

    The phase between the first two echoes, h = arg(S2 conj(S1)), is unwrapped in space and followed back to time zero:

        offset = smooth(phase1 - TE1 / (TE2 - TE1) h)

    Smoothing averages exp(i offset) over a Gaussian inside the mask, weighted by |S1 S2|, so wraps do no harm.

    Echoes that are read out in alternating directions (bipolar) differ by a ramp, s_e (a + b x), s_e = +1, -1, +1, ...
    With three echoes or more it is looked for: for three echoes in a row the field and the offset drop out of
    (t2 - t1) (phase3 - phase2) - (t3 - t2) (phase2 - phase1). Where its slope b differs from zero by six standard
    errors and 0.2 rad across the object, it is taken off first, belongs to the offset, and is reported. (The paper
    smooths this phase; a ramp, and the constant a that fits it, are all that the gradients' timing can make.)

    Departure from the paper: what the smoothing lost of the trend at the rim of the mask is smoothed again and added
    (`rounds`), without the voxels that lie far from the smooth estimate.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E), at least two echoes.
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    echo_spacing
        Differences of the echo times; s, (E-1,).
    grid
        Grid of the images, for the voxel size.
    magnitude
        At least 0, (X, Y, Z, E).
    smoothing
        Standard deviation of the Gaussian; mm, > 0. Reduce it for a small field of view or a small object.
    rounds
        How often the estimate is smoothed, 1 to 10; 1 is the published method.
    bipolar
        "detect" looks for alternating read-outs in the data, "ignore" takes them for monopolar.

    Returns
    -------
    Phase at echo time zero; rad, (X, Y, Z), -pi to pi, zero outside the mask; (X, Y, Z, E) of bipolar read-outs.

    Raises
    ------
    ValueError: fewer than two echoes, a knob out of range, or an empty mask.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963
    """
    if phase.shape[-1] < 2:
        raise ValueError(f"the phase offset needs at least two echoes, there is {phase.shape[-1]}")
    if not smoothing > 0:
        raise ValueError(f"smoothing must be above 0 mm, not {smoothing}")
    if not 1 <= rounds <= 10:
        raise ValueError(f"rounds must be 1 to 10, not {rounds}")
    if bipolar not in ("detect", "ignore"):
        raise ValueError(f"bipolar must be detect or ignore, not {bipolar!r}")
    hx, hy, hz = grid.voxel_size
    blocks = blocks_for(smoothing, grid)
    box = mask_box(mask, blocks)
    shape = box_shape(box)
    inside = mask[box]
    slopes, score = (0.0, 0.0, 0.0), 0.0
    if bipolar == "detect":
        slopes, score = odd_even_ramp(phase, mask, magnitude, echo_times, box)
    ramp = ramp_in_box(slopes, shape, phase.device) if any(slopes) else None
    first, second, third = (
        torch.where(inside, phase[..., echo][box], 0.0) for echo in (0, 1, 2 if ramp is not None else 1)
    )
    if ramp is not None:
        first, second, third = first - ramp, second + ramp, third - ramp
    weight = inside.to(first.dtype)
    if magnitude is not None:
        weight = torch.where(inside, magnitude[..., 0][box] * magnitude[..., 1][box], 0.0)
        weight /= weight.max().clamp_min(torch.finfo(weight.dtype).tiny)
    between = wrap(second - first)
    coarse, coherence = block_mean(between, weight, blocks)
    coarse, islands = unwrapped(coarse, coherence > 0, coherence.sqrt())
    if ramp is not None:
        pace = float(echo_spacing[1] / echo_spacing[0])
        after, trust = block_mean(wrap(third - second), weight, blocks)
        constant = _constant(after, coarse, trust, pace)
        first, between, coarse = first - constant, between + 2 * constant, coarse + 2 * constant
        ramp += constant
        _tell(slopes, shape, score)
    between -= torch.round((between - repeat(coarse, blocks, shape)) * (0.5 / torch.pi)) * (2 * torch.pi)
    ratio = float(echo_times[0] / echo_spacing[0])
    raw, weight = block_mean(first - ratio * between, weight, blocks)

    voxel_size = hx * blocks[0], hy * blocks[1], hz * blocks[2]
    number = torch.bincount(islands.reshape(-1))
    number[0] = 0
    main = int(torch.argmax(number))
    aside = int(number.sum() - number[main])
    kept = weight * (islands == main)
    offset = smooth(raw, kept, smoothing, voxel_size)
    if aside > _SMALL_ISLANDS * int(number.sum()):
        raw, kept = _same_branch(raw, offset, weight, islands, main, ratio), weight
        offset = smooth(raw, kept, smoothing, voxel_size)
    for _ in range(rounds - 1):
        rest = wrap(raw - offset)
        offset = offset + gaussian_mean(rest, smoothing, voxel_size, kept * (rest.abs() < _FAR))
    offset = interpolated(offset, blocks, shape)
    if ramp is None:
        return paste(offset.mul_(inside), box, grid.shape)
    whole = torch.zeros((phase.shape[-1], *grid.shape), dtype=offset.dtype, device=offset.device)
    for echo, one in enumerate(whole):
        one[box] = wrap(torch.add(offset, ramp, alpha=sign_of(echo))) * inside
    return whole.permute(1, 2, 3, 0)


def _constant(after: Tensor, before: Tensor, trust: Tensor, pace: float) -> float:
    """What odd echoes have more and even ones less beside the ramp, from the phase differences after and before the second echo."""
    rest = after - pace * before
    real, imaginary = float((torch.cos(rest) * trust).sum()), float((torch.sin(rest) * trust).sum())
    return float(np.arctan2(imaginary, real)) / (2 * (1 + pace))


def _tell(slopes: tuple[float, float, float], shape: tuple[int, int, int], score: float) -> None:
    axis = int(np.argmax([abs(slope) * n for slope, n in zip(slopes, shape, strict=True)]))
    across = 2 * abs(slopes[axis]) * shape[axis]
    warnings.warn(
        f"the read-out is bipolar: odd and even echoes differ by a ramp of {across:.2f} rad across the object along voxel "
        f"axis {axis + 1} ({score:.0f} standard errors from 0), which was taken off",
        RuntimeWarning,
        stacklevel=3,
    )


def _same_branch(raw: Tensor, offset: Tensor, weight: Tensor, islands: Tensor, main: int, ratio: float) -> Tensor:
    """Moves each island beside the main one to the branch of its phase difference that fits the main one's offset."""
    number = int(islands.max()) + 1
    rest, which = (raw - offset).reshape(-1), islands.reshape(-1).long()
    real = torch.bincount(which, torch.cos(rest) * weight.reshape(-1), number)
    imaginary = torch.bincount(which, torch.sin(rest) * weight.reshape(-1), number)
    turns = torch.tensor([0, 1, -1, 2, -2, 3, -3], device=raw.device)
    shift = 2 * torch.pi * ratio * turns[:, None]
    fit = real * torch.cos(shift) - imaginary * torch.sin(shift)
    best = shift[torch.argmax(fit - 1e-6 * fit.abs() * turns[:, None].abs(), dim=0), 0]
    best[main] = 0
    return raw + best[islands.long()].to(raw.dtype)
