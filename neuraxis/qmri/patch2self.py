"""Denoising of a diffusion series by what its volumes tell of each other."""

from __future__ import annotations

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_LEAST = 10
"""Diffusion-weighted volumes below which the others tell too little of one."""


def patch2self(series: Volume, volumes: Table, b_values: Array, *, radius: int = 0) -> Volume:
    """Denoising by self-supervised regression (Patch2Self).

    Every volume is predicted linearly, voxel by voxel, from the patches of all others: noise is not the same in two volumes, so
    what is predicted is signal. b = 0 and diffusion-weighted volumes are treated apart.

    Parameters
    ----------
    series
        Diffusion series as it was measured; any unit, (X, Y, Z, T).
    volumes
        Which volumes are diffusion-weighted; column weighted.
    b_values
        b-values; s/mm2, (T,).
    radius
        Voxels around a voxel, along each axis, that its patch reaches to; at least 0.

    Returns
    -------
    The series with less noise; unit and grid of the series, never negative.

    Raises
    ------
    ValueError: fewer than ten diffusion-weighted volumes, or a negative radius.

    References
    ----------
    Fadnavis 2020, doi:10.48550/arXiv.2011.01355
    Garyfallidis 2014, doi:10.3389/fninf.2014.00008
    """
    from dipy.denoise.patch2self import patch2self as denoise

    weighted = volumes["weighted"] == 1
    if radius < 0:
        raise ValueError(f"radius must be at least 0, not {radius}")
    if weighted.sum() < _LEAST:
        raise ValueError(f"Patch2Self needs {_LEAST} diffusion-weighted volumes, and there are {weighted.sum()}")
    data = np.asarray(series.data, np.float64)
    unweighted = int((~weighted).sum())
    made = denoise(
        data, np.where(weighted, b_values, 0.0), patch_radius=(radius,) * 3, b0_threshold=0, b0_denoising=unweighted > 1,
        shift_intensity=False, clip_negative_vals=False, version=1,
    )  # fmt: skip
    return Volume(np.maximum(made, 0).astype(np.float32), series.grid)
