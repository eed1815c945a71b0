"""The field is trusted in the whole mask."""

from __future__ import annotations

from neuraxis.volume import Tensor


def everywhere(mask: Tensor) -> Tensor:
    """The whole mask.

    Parameters
    ----------
    mask
        Where the phase is used; (X, Y, Z).

    Returns
    -------
    The same mask; (X, Y, Z).
    """
    return mask.clone()
