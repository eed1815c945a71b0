"""How far the phase of each voxel can be trusted."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def phase_quality(phase: Tensor, echo_times: Array, magnitude: Tensor | None = None) -> Tensor:
    """ROMEO's phase quality.

    The mean of the weights of the edges to the six neighbours. The weight of an edge is the product of 0.1 + 0.9 c over

        c1 = 1 - |d1| / pi,  c2 = max(0, 1 - |d1 - d2 TE1 / TE2|),  c3 = straightness,  c4 = (smaller / larger S)^2

    with d1, d2 the wrapped differences of the first two echoes along the edge, and the straightness the product over
    the two triplets of voxels in a row that hold the edge of max(0, 1 - |second difference| / 2). c2 needs a second
    echo, c4 the magnitude; what is not there is left out.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E).
    echo_times
        Rising; s, (E,).
    magnitude
        At least 0, (X, Y, Z, E); the first echo is used.

    Returns
    -------
    Quality; 0 (noise) to 1 (coherent), (X, Y, Z), over the whole field of view.

    References
    ----------
    Dymerska 2021, doi:10.1002/mrm.28563
    """
    from neuraxis.numerics.region_growing import edge_weights, voxel_quality

    def echo(field: Tensor, number: int) -> Array:
        return np.ascontiguousarray(field[..., number].cpu().numpy(), np.float32)

    second = echo(phase, 1) if phase.shape[-1] > 1 else None
    ratio = float(echo_times[0] / echo_times[1]) if second is not None else 1.0
    weights = edge_weights(echo(phase, 0), None, None if magnitude is None else echo(magnitude, 0), second, ratio)
    return torch.from_numpy(voxel_quality(weights)).to(phase.device)


METHODS = (phase_quality,)
