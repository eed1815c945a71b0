"""The part of the relaxation that a spin echo brings back."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def r2prime(r2star: Tensor, r2: Tensor) -> Tensor:
    """Reversible relaxation rate: that of gradient echoes less that of spin echoes.

        R2' = max(R2* - R2, 0)

    Both maps lie on one grid. Their noise adds up, so the maximum makes R2' too large where it is small.

    Parameters
    ----------
    r2star
        Relaxation rate of the gradient echoes; 1/s, (X, Y, Z), at least 0.
    r2
        Relaxation rate of the spin echoes of the same session; 1/s, (X, Y, Z), at least 0.

    Returns
    -------
    R2'; 1/s, (X, Y, Z), at least 0, zero where one of the two is zero.

    References
    ----------
    Yablonskiy 1994, doi:10.1002/mrm.1910320610
    """
    return torch.where((r2star > 0) & (r2 > 0), (r2star - r2).clamp_min(0), 0.0)
