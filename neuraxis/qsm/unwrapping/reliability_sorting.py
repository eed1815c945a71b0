"""Region growing along the edges where the phase is straightest."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.fourier import mask_box
from neuraxis.numerics.morphology import label
from neuraxis.qsm.unwrapping.branches import choose_branches, follow_islands, without_offset
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def reliability_sorting(
    phase: Tensor, mask: Tensor, echo_times: Array, phase_offset: Tensor | None = None, *, seed: int = 0
) -> Tensor:
    """Best-path unwrapping by sorting edges by reliability, one echo at a time.

    The reliability of a voxel is high where the wrapped second differences of the phase are small, that of an edge is
    the sum over its two voxels; voxels are joined along the most reliable edges first:

        unwrapped = phase + 2 pi round((unwrapped neighbour - phase) / 2 pi)

    Neither magnitude nor the other echoes are used, so it is an independent look at what ROMEO gives. The algorithm is
    scikit-image's. Departure from the paper: each unconnected part of the mask is an island of its own; its branch is
    in the first echo the one nearest to the largest island, in the others the one that fits the echo before best.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E).
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    phase_offset
        Phase at echo time zero, taken off first; rad, (X, Y, Z), or (X, Y, Z, E) where it differs between echoes.
    seed
        Seed of the order among edges that are equally reliable; at least 0.

    Returns
    -------
    Phase without wraps and offset; rad, (X, Y, Z, E), zero outside the mask.

    Raises
    ------
    ValueError: a seed below 0, or an empty mask.

    References
    ----------
    Abdul-Rahman 2007, doi:10.1364/AO.46.006623
    """
    from skimage.restoration import unwrap_phase

    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}")
    box = mask_box(mask)
    inside = mask[box].cpu().numpy()
    islands = label(mask[box])[0].cpu().numpy()
    times = np.asarray(echo_times, float)
    wrapped = without_offset(phase, phase_offset, box)
    unwrapped = np.zeros_like(wrapped)
    # an axis of one voxel is none to the algorithm
    axes = tuple(axis for axis in range(3) if inside.shape[axis] == 1)
    for echo in range(len(times)):
        held = np.ma.masked_array(wrapped[echo], ~inside).squeeze(axes)
        flat = np.ma.masked_array(held.reshape(1, -1)) if held.ndim < 2 else held
        found = np.ma.getdata(unwrap_phase(flat, rng=seed)).reshape(inside.shape)
        # congruent with the phase in float32; what is outside the mask is left as it was by the algorithm
        turns = np.round((found[inside] - wrapped[echo][inside]) / (2 * np.pi))
        unwrapped[echo][inside] = wrapped[echo][inside] + (2 * np.pi * turns).astype(np.float32)
        if echo == 0:
            choose_branches(unwrapped[0], islands, wrapped[:1], times[:1], 0)
        else:
            follow_islands(unwrapped, islands, times, echo)
    whole = torch.zeros((len(times), *mask.shape), dtype=torch.float32, device=phase.device)
    whole[(slice(None), *box)] = torch.from_numpy(unwrapped).to(phase.device)
    return whole.permute(1, 2, 3, 0)
