"""Denoising of a diffusion series by what its volumes tell of each other."""

from __future__ import annotations

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_LEAST = 10
"""Volumes of a kind below which the others tell too little of one."""


def patch2self(series: Volume, volumes: Table, *, radius: int = 0) -> Volume:
    """Denoising by self-supervised regression (Patch2Self).

    Every volume is predicted linearly, voxel by voxel, from the patches of all others: noise is not the same in two volumes, so
    what is predicted is signal. Volumes at b = 0 and diffusion-weighted ones are treated apart, and fewer than ten of a kind are left
    as they are: so few tell too little of one more.

    Parameters
    ----------
    series
        Diffusion series as it was measured; any unit, (X, Y, Z, T).
    volumes
        Which volumes are diffusion-weighted; column weighted.
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
    """
    weighted = volumes["weighted"] == 1
    if radius < 0:
        raise ValueError(f"radius must be at least 0, not {radius}")
    if weighted.sum() < _LEAST:
        raise ValueError(f"Patch2Self needs {_LEAST} diffusion-weighted volumes, and there are {weighted.sum()}")
    made = np.array(series.data, np.float32)
    for chosen in (weighted, ~weighted):
        if chosen.sum() >= _LEAST:
            made[..., chosen] = _predicted(series.data[..., chosen], radius)
    return Volume(np.maximum(made, 0), series.grid)


def _predicted(data: Array, radius: int) -> Array:
    """Every volume of (X, Y, Z, T) by least squares, with an intercept, from the patches of the others."""
    padded = np.pad(np.asarray(data, np.float64), [(radius, radius)] * 3 + [(0, 0)], mode="edge")
    width, number = 2 * radius + 1, data.shape[3]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width,) * 3, axis=(0, 1, 2))  # (X, Y, Z, T, w, w, w)
    patches = windows.reshape(-1, number * width**3)
    mean = patches.mean(0)
    patches = patches - mean
    products = patches.T @ patches
    target = np.arange(number) * width**3 + width**3 // 2  # the middle of each patch
    made = np.empty(data.shape, np.float32)
    for volume in range(number):
        others = np.flatnonzero(np.arange(patches.shape[1]) // width**3 != volume)
        share = np.linalg.lstsq(products[np.ix_(others, others)], products[others, target[volume]], rcond=1e-10)[0]
        made[..., volume] = (patches[:, others] @ share + mean[target[volume]]).reshape(data.shape[:3])
    return made
