"""Where a susceptibility map is known."""

from __future__ import annotations

from neuraxis.numerics.fourier import mask_box
from neuraxis.volume import Tensor


def support(chi_unreferenced: Tensor) -> Tensor:
    """The voxels to which the dipole inversion gave a value.

    Whatever field an inversion takes, and however much of the rim it gives up, it leaves exact zeros outside the mask on
    which its result holds.

    Parameters
    ----------
    chi_unreferenced
        Susceptibility from the dipole inversion; ppm, (X, Y, Z).

    Returns
    -------
    Mask of the susceptibility; bool, (X, Y, Z).

    Raises
    ------
    ValueError: the susceptibility is zero everywhere.
    """
    known = chi_unreferenced != 0
    try:
        mask_box(known)
    except ValueError:
        raise ValueError("the susceptibility is zero everywhere") from None
    return known
