"""Reference to the mean over the mask."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def mean(chi_unreferenced: Tensor, chi_mask: Tensor) -> Tensor:
    """Reference to the mean over the mask.

    A field map knows susceptibility only up to a constant; here the mean over the mask is called zero:

        chi = chi_unreferenced - mean(chi_unreferenced over chi_mask)

    Parameters
    ----------
    chi_unreferenced
        Susceptibility from the dipole inversion; ppm, (X, Y, Z).
    chi_mask
        Where the susceptibility is known; bool, (X, Y, Z), at least one voxel.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), mean 0 over the mask, zero outside it.

    Raises
    ------
    ValueError: the mask is empty.
    """
    count = int(torch.count_nonzero(chi_mask))
    if count == 0:
        raise ValueError("the mask is empty")
    inside = torch.where(chi_mask, chi_unreferenced, 0.0)
    reference = float(torch.sum(inside, dtype=torch.float64)) / count
    return inside.sub_(reference).mul_(chi_mask)
