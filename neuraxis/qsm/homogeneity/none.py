"""The magnitude as the scanner gave it."""

from __future__ import annotations

from neuraxis.volume import Tensor


def none(magnitude: Tensor) -> Tensor:
    """No correction: the magnitude as the scanner gave it.

    Many scanners even out the receive field themselves.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E).

    Returns
    -------
    The same; arbitrary unit, (X, Y, Z, E).
    """
    return magnitude.clone()
