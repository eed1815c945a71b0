"""Relaxometry of the cord and what lies around it."""

from __future__ import annotations

from typing import Literal

import lazy_loader as lazy
import numpy as np

from neuraxis.qmri import relaxometry
from neuraxis.volume import Array, Grid, Tensor

torch, scipy = lazy.load("torch"), lazy.load("scipy")


def relaxation_around(
    magnitude: Tensor,
    cord_mask: Array,
    grid: Grid,
    echo_times: Array,
    echo_spacing: Array,
    *,
    fit: Literal["loglinear", "arlo", "nonlinear"] = "loglinear",
    reach: float = 15.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Decay over the echoes in the cord and around it.

    S(TE) = S0 exp(-R2* TE), fitted where the cord is no farther than `reach`; the fits are those of the brain's relaxometry.

    Parameters
    ----------
    magnitude
        Of the echoes; at least 0, (X, Y, Z, E).
    cord_mask
        The cord; bool, (X, Y, Z).
    grid
        Grid of the image; gives the size of a voxel.
    echo_times
        Rising; s, (E,).
    echo_spacing
        Differences of the echo times; s, (E-1,).
    fit
        How: least squares of the logarithm weighted by the signal, auto-regression on linear operations (three echoes or more at
        equal spacing), or nonlinear least squares with the noise of magnitudes.
    reach
        Distance from the cord; mm, at least 0.

    Returns
    -------
    R2* in 1/s, T2* in s (0 where there is no decay to measure), and S0 in the unit of the magnitude; each (X, Y, Z), at least 0, zero
    farther away.

    Raises
    ------
    ValueError: the mask is empty, the knob is below 0, or the fit is not for these echoes.

    References
    ----------
    Salvador 2005, doi:10.1002/hbm.20076
    Pei 2015, doi:10.1002/mrm.25137
    Gudbjartsson 1995, doi:10.1002/mrm.1910340618
    """
    if not reach >= 0:
        raise ValueError(f"reach must be at least 0 mm, not {reach}")
    cord = np.asarray(cord_mask, bool)
    if not cord.any():
        raise ValueError("the mask of the cord is empty")
    near = torch.from_numpy(scipy.ndimage.distance_transform_edt(~cord, sampling=grid.voxel_size) <= reach)
    method = next(one for one in relaxometry.METHODS if one.__name__ == fit)
    return method(magnitude, near.to(magnitude.device), echo_times, echo_spacing)
