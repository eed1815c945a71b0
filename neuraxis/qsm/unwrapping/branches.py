"""The phase as it goes into unwrapping, and which multiple of 2 pi an island stands on: chosen so that the echoes fit together.

Arrays are numpy: phases (E, X, Y, Z) float32, islands (X, Y, Z) whole numbers from 1, 0 outside.
"""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.filters import wrap
from neuraxis.numerics.fourier import Box, box_shape
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_MAX_TURNS = 3
"""Branches of an island are tried up to this many turns away from the one with its mean nearest to zero."""
_MAIN_SAMPLES = 20_000
"""Voxels of the largest island that vote on its branch."""


def offset_of(phase_offset: Tensor, echo: int) -> Tensor:
    """The phase offset of an echo: one for all echoes, or one for each."""
    return phase_offset[..., echo] if phase_offset.ndim == 4 else phase_offset


def without_offset(phase: Tensor, phase_offset: Tensor | None, box: Box) -> Array:
    """Wrapped phase in the box, free of the offset; rad, (E, X, Y, Z). What is no number there becomes 0."""
    wrapped = np.empty((phase.shape[-1], *box_shape(box)), np.float32)
    for echo, into in enumerate(wrapped):
        one = phase[..., echo][box]
        if phase_offset is not None:
            one = wrap(one - offset_of(phase_offset, echo)[box])
        into[...] = torch.nan_to_num(one).cpu().numpy()
    return wrapped


def follow_islands(unwrapped: Array, islands: Array, times: Array, echo: int) -> None:
    """Shifts each island of an echo, in place, to the branch that fits the echo before it best."""
    inside = islands > 0
    number = islands[inside]
    missing = (unwrapped[echo - 1][inside] * (times[echo] / times[echo - 1]) - unwrapped[echo][inside]) / (2 * np.pi)
    count = np.bincount(number)
    turns = np.round(np.bincount(number, missing) / np.maximum(count, 1))
    main = int(np.argmax(count))
    turns[main] = np.round(np.median(missing[number == main]))
    unwrapped[echo] += (2 * np.pi * turns).astype(np.float32)[islands]


def choose_branches(unwrapped: Array, islands: Array, wrapped: Array, times: Array, echo: int) -> None:
    """Shifts each island of the template, in place, to the branch on which the other echoes fit best."""
    flat = islands.ravel()
    count = np.bincount(flat)
    count[0] = 0
    main = int(np.argmax(count))
    where = np.flatnonzero(flat == main)
    chosen = where[:: max(1, len(where) // _MAIN_SAMPLES)]
    middle = float(np.median(unwrapped.ravel()[chosen]))
    chosen = np.concatenate([chosen, np.flatnonzero((flat != main) & (flat > 0))])
    number, template = flat[chosen], unwrapped.ravel()[chosen]
    votes = np.maximum(np.bincount(number, minlength=len(count)), 1)
    mean = np.bincount(number, template, len(count)) / votes
    mean[main] = middle

    # candidates lie around the branch with its mean nearest to the largest island, which lies nearest to zero
    home = 2 * np.pi * np.round(middle / (2 * np.pi))
    nearest = np.round((mean - (middle - home)) / (2 * np.pi))
    nearest[main] = np.round(middle / (2 * np.pi))
    turns = np.arange(-_MAX_TURNS, _MAX_TURNS + 1)[:, None] - nearest
    distance = np.abs(mean + 2 * np.pi * turns - (middle - home)) / (2 * np.pi)
    fit = -1e-3 * distance
    for other in range(len(times)):
        if other == echo:
            continue
        ratio = times[other] / times[echo]
        rest = wrapped[other].ravel()[chosen] - ratio * template
        real = np.bincount(number, np.cos(rest), len(count)) / votes
        imaginary = np.bincount(number, np.sin(rest), len(count)) / votes
        angle = 2 * np.pi * ratio * turns
        fit += (real * np.cos(angle) + imaginary * np.sin(angle)) / len(times)
    best = np.take_along_axis(turns, np.argmax(fit, axis=0)[None], 0)[0]
    best[0] = 0
    unwrapped += (2 * np.pi * best).astype(np.float32)[islands]
