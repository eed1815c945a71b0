"""Whether odd and even echoes were read out in opposite directions: then their phases differ by a ramp."""

from __future__ import annotations

from collections.abc import Sequence

import lazy_loader as lazy

from neuraxis.numerics.filters import wrap
from neuraxis.numerics.fourier import Box, box_shape
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

Ramp = tuple[float, float, float]

_PARTS = 5
"""The box is cut into so many parts along each axis; their scatter tells how certain a slope is."""
_LEAST_PARTS = 8
_LEAST_SCORE = 6.0
"""A slope counts from so many standard errors on."""
_LEAST_RAMP = 0.2
"""Odd and even echoes of a bipolar read-out differ by at least so much across the object; rad."""
_MANY_VOXELS = 500_000
"""In larger boxes every other line of voxels is enough."""
_MOST_TRIPLETS = 4
"""Three echoes in a row tell; later ones are noisier."""


def sign_of(echo: int) -> int:
    """+1 for the first echo and every other one, -1 for those between."""
    return 1 if echo % 2 == 0 else -1


def odd_even_ramp(phase: Tensor, mask: Tensor, magnitude: Tensor | None, times: Array, box: Box) -> tuple[Ramp, float]:
    """Slope of the phase that odd echoes have more and even ones less, and how many standard errors it is away from 0.

    From three echoes in a row the field and the phase at time zero are taken out,

        2 s_e ramp = ((t2 - t1) (phase3 - phase2) - (t3 - t2) (phase2 - phase1)) / (t3 - t1),   s_e = +-1

    on the wrapped differences between neighbouring voxels, so that wraps do no harm. The sign alternates between
    triplets; what phases that do not grow as a line leave there, does not. Slopes in rad per voxel along each axis; an
    axis along which the slope is not certain, or too small to matter, has 0. Fewer than three echoes: no slope.
    """
    inside = mask[box]
    shape = box_shape(box)
    triplets = min(len(times) - 2, _MOST_TRIPLETS)
    slopes: list[float] = [0.0, 0.0, 0.0]
    if triplets < 1:
        return (0.0, 0.0, 0.0), 0.0
    every = 1 if inside.numel() < _MANY_VOXELS else 2
    above = [torch.zeros(1)] * 3
    below = [torch.zeros(1)] * 3
    for first in range(triplets):
        before, after = (_step(phase, inside, box, first + n) for n in (0, 1))
        early, late = float(times[first + 1] - times[first]), float(times[first + 2] - times[first + 1])
        weight = inside.float() if magnitude is None else torch.where(inside, magnitude[..., first + 1][box], 0.0)
        for axis in range(3):
            n = shape[axis]
            if n < 2:
                continue
            low, high = (0, n - 1), (1, n - 1)
            lines = tuple(slice(None) if a == axis else slice(None, None, every) for a in range(3))
            edge = weight[lines].narrow(axis, *low) * weight[lines].narrow(axis, *high)
            one, two = (wrap(d[lines].narrow(axis, *high) - d[lines].narrow(axis, *low)) for d in (before, after))
            ramp = two.mul_(early).sub_(one, alpha=late).mul_(sign_of(first) / (2 * (early + late)))
            above[axis] = above[axis] + _in_parts(ramp.mul_(edge))
            below[axis] = below[axis] + _in_parts(edge)
    score = 0.0
    for axis in range(3):
        slope, certainty = _mean_of_parts(above[axis], below[axis])
        if certainty >= _LEAST_SCORE and 2 * abs(slope) * shape[axis] >= _LEAST_RAMP:
            slopes[axis], score = slope, max(score, certainty)
    return (slopes[0], slopes[1], slopes[2]), score


def ramp_in_box(ramp: Ramp, shape: Sequence[int], device: object) -> Tensor:
    """The ramp, zero in the middle of a box; rad, (X, Y, Z)."""
    total = torch.zeros(tuple(shape), device=device)
    for axis, (slope, n) in enumerate(zip(ramp, shape, strict=True)):
        line = (torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2) * slope
        total += line.reshape([-1 if a == axis else 1 for a in range(3)])
    return total


def _step(phase: Tensor, inside: Tensor, box: Box, echo: int) -> Tensor:
    return torch.where(inside, wrap(phase[..., echo + 1][box] - phase[..., echo][box]), 0.0)


def _in_parts(values: Tensor) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool3d(values[None, None], _PARTS).reshape(-1).double().cpu()


def _mean_of_parts(above: Tensor, below: Tensor) -> tuple[float, float]:
    """Mean over the parts of the box, and its distance from zero in standard errors; parts far off the others do not count."""
    used = below > 0.02 * below.max()
    if int(used.sum()) < _LEAST_PARTS:
        return 0.0, 0.0
    weight, values = below[used], above[used] / below[used]
    for _ in range(3):
        total = weight.sum()
        mean = (weight * values).sum() / total
        spread = (weight * (values - mean) ** 2).sum() / total
        kept = (values - mean) ** 2 <= 9 * spread
        if bool(kept.all()) or int(kept.sum()) < _LEAST_PARTS:
            break
        weight, values = weight[kept], values[kept]
    error = float(((weight * (values - mean)) ** 2).sum().sqrt() / weight.sum())
    return float(mean), float(abs(mean)) / max(error, 1e-12)
