"""Reference to the fluid of the ventricles."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.qsm.ventricles import ventricular_fluid
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def csf(
    chi_unreferenced: Tensor,
    chi_mask: Tensor,
    grid: Grid,
    r2star: Tensor,
    *,
    max_r2star: float = 5.0,
    radius: float = 30.0,
    least: float = 500.0,
) -> Tensor:
    """Reference to the fluid of the ventricles, found by its low R2*.

    A field map knows susceptibility only up to a constant; here the mean over the fluid of the ventricles is called zero:

        chi = chi_unreferenced - mean(chi_unreferenced over the fluid)

    Parameters
    ----------
    chi_unreferenced
        Susceptibility from the dipole inversion; ppm, (X, Y, Z).
    chi_mask
        Where the susceptibility is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives the voxel size.
    r2star
        R2*; 1/s, (X, Y, Z).
    max_r2star
        Largest R2* of fluid; 1/s, above 0. Larger finds more, and more that is no fluid.
    radius
        Largest distance of the fluid from the centre of the mask; mm, above 0. Larger takes in the outer fluid.
    least
        Smallest volume of fluid that is believed; mm³, above 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), mean 0 over the fluid, zero outside the mask.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or too little fluid is found.

    References
    ----------
    Liu 2018, doi:10.1002/mrm.26946
    """
    fluid = ventricular_fluid(r2star, chi_mask, grid, max_r2star=max_r2star, radius=radius, least=least)
    reference = float(chi_unreferenced[fluid].double().mean())
    return torch.where(chi_mask, chi_unreferenced - reference, 0.0)
