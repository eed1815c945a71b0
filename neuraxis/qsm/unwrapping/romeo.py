"""Region growing along the edges that can be trusted most."""

from __future__ import annotations

from typing import Literal

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.fourier import mask_box
from neuraxis.qsm.unwrapping.branches import choose_branches, follow_islands, without_offset
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def romeo(
    phase: Tensor,
    mask: Tensor,
    echo_times: Array,
    magnitude: Tensor | None = None,
    phase_offset: Tensor | None = None,
    *,
    mode: Literal["template", "individual"] = "template",
    template_echo: int = 1,
) -> Tensor:
    """ROMEO, rapid opensource minimum spanning tree algorithm.

    Voxels are joined along the edge with the largest weight first (weights as in `phase_quality`, inside the mask):

        unwrapped = phase + 2 pi round((unwrapped neighbour - phase) / 2 pi)

    `template` does so for one echo; the others follow in time, nearest to the line through zero and the echoes before.
    `individual` does so for each echo, and shifts each by the multiple of 2 pi that fits the echo before best.

    Departures from the paper: each unconnected part of the mask is an island with its own seed, on the branch that
    the echoes agree on best (nearest to the largest island where they cannot tell); and the line through zero is
    fitted to all echoes before, weighted by their squared magnitude.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E).
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    magnitude
        At least 0, (X, Y, Z, E).
    phase_offset
        Phase at echo time zero, taken off first; rad, (X, Y, Z), or (X, Y, Z, E) where it differs between echoes.
    mode
        "template" or "individual". The template mode needs phases without offset: without `phase_offset`, several
        echoes are unwrapped individually.
    template_echo
        Number of the echo that is unwrapped in space in template mode, from 1. Early echoes have fewest wraps.

    Returns
    -------
    Phase without wraps and offset; rad, (X, Y, Z, E), zero outside the mask.

    Raises
    ------
    ValueError: an unknown mode, a template echo that is not there, or an empty mask.

    References
    ----------
    Dymerska 2021, doi:10.1002/mrm.28563
    """
    echoes = phase.shape[-1]
    if mode not in ("template", "individual"):
        raise ValueError(f"mode must be template or individual, not {mode!r}")
    if not 1 <= template_echo <= echoes:
        raise ValueError(f"template_echo must be 1 to {echoes}, the number of echoes, not {template_echo}")
    box = mask_box(mask)
    inside = np.ascontiguousarray(mask[box].cpu().numpy())
    times = np.asarray(echo_times, float)
    wrapped = without_offset(phase, phase_offset, box)
    sizes = None if magnitude is None else np.ascontiguousarray(magnitude[box].permute(3, 0, 1, 2).cpu().numpy())
    if mode == "template" and (echoes == 1 or phase_offset is not None):
        unwrapped = _by_template(wrapped, inside, times, sizes, template_echo - 1)
    else:
        unwrapped = _individually(wrapped, inside, times, sizes)
    whole = torch.zeros((echoes, *mask.shape), dtype=torch.float32, device=phase.device)
    whole[(slice(None), *box)] = torch.from_numpy(unwrapped).to(phase.device)
    return whole.permute(1, 2, 3, 0)


def _in_space(wrapped: Array, mask: Array, times: Array, sizes: Array | None, echo: int) -> tuple[Array, Array]:
    """One echo unwrapped in space, its largest island around zero, and the islands."""
    from neuraxis.numerics.region_growing import edge_weights, grow

    other = echo + 1 if echo + 1 < len(times) else echo - 1
    second = wrapped[other] if other >= 0 else None
    size = None if sizes is None else sizes[echo]
    weights = edge_weights(wrapped[echo], mask, size, second, times[echo] / times[other])
    return grow(wrapped[echo], weights, mask)


def _by_template(wrapped: Array, mask: Array, times: Array, sizes: Array | None, echo: int) -> Array:
    from neuraxis.numerics.region_growing import follow_echoes

    unwrapped = np.zeros_like(wrapped)
    unwrapped[echo], islands = _in_space(wrapped, mask, times, sizes, echo)
    choose_branches(unwrapped[echo], islands, wrapped, times, echo)
    order = sorted(range(len(times)), key=lambda other: abs(other - echo))
    follow_echoes(wrapped, mask, times, np.array(order), unwrapped, sizes)
    return unwrapped


def _individually(wrapped: Array, mask: Array, times: Array, sizes: Array | None) -> Array:
    unwrapped = np.zeros_like(wrapped)
    for echo in range(len(times)):
        unwrapped[echo], islands = _in_space(wrapped, mask, times, sizes, echo)
        if echo == 0:
            choose_branches(unwrapped[0], islands, wrapped[:1], times[:1], 0)
        else:
            follow_islands(unwrapped, islands, times, echo)
    return unwrapped
