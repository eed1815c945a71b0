"""No reference: the dipole inversion's own zero."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def none(chi_unreferenced: Tensor, chi_mask: Tensor) -> Tensor:
    """No reference: the dipole inversion's own zero.

    The values inside the mask are those of the inversion, whose kernel is zero at k = 0.

    Parameters
    ----------
    chi_unreferenced
        Susceptibility from the dipole inversion; ppm, (X, Y, Z).
    chi_mask
        Where the susceptibility is known; bool, (X, Y, Z), at least one voxel.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: the mask is empty.
    """
    if not bool(torch.any(chi_mask)):
        raise ValueError("the mask is empty")
    return torch.where(chi_mask, chi_unreferenced, 0.0)
