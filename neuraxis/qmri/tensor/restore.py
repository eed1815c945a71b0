"""Robust estimation of tensors by outlier rejection (RESTORE)."""

from __future__ import annotations

import numpy as np

from neuraxis.qmri.tensor.fitting import Maps, fitted
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def restore(
    corrected: Volume,
    volumes: Table,
    b_values: Array,
    b_vectors: Array,
    motion_weights: Volume | None = None,
    motion: Table | None = None,
) -> Maps:
    """Robust estimation of tensors by outlier rejection (RESTORE).

    A non-linear fit of S = S0 exp(-b g' D g) in which volumes that lie off by more than the noise allows count less, and
    those that lie off by more than three standard deviations are left out of the last fit.

    Parameters
    ----------
    corrected
        Diffusion series without motion; any unit, (X, Y, Z, T).
    volumes
        Which volumes are diffusion-weighted; column weighted.
    b_values
        b-values; s/mm2, (T,).
    b_vectors
        Directions of the gradients; unit vectors in the world, RAS+, (3, T).
    motion_weights
        The tensor is fitted where they are above 0; (X, Y, Z). Everywhere without them.
    motion
        Motion of every slice: those that it calls outliers are left out of the fit. None are without it.

    Returns
    -------
    Fractional anisotropy (0 to 1); mean, axial and radial diffusivity (mm2/s); the main direction, a unit vector in the world (RAS+, with
    either sign), (X, Y, Z, 3). All are 0 where nothing was fitted: outside the weights, and in slices of which outliers leave too little.
    None, with a warning, where no volume is diffusion-weighted or all are.

    Raises
    ------
    ValueError: fewer than six diffusion-weighted volumes, directions that are too much alike, or a weighted volume without one.

    References
    ----------
    Chang 2005, doi:10.1002/mrm.20426
    Basser 1994, doi:10.1006/jmrb.1994.1037
    Garyfallidis 2014, doi:10.3389/fninf.2014.00008
    """
    from dipy.denoise.noise_estimate import estimate_sigma

    data = np.asarray(corrected.data, np.float64)
    sigma = float(np.median(estimate_sigma(data, disable_background_masking=True)))  # wavelet estimate, volume by volume
    return fitted(corrected, volumes, b_values, b_vectors, motion_weights, motion, "RESTORE", sigma=sigma)
