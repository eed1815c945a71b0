"""Temporal signal-to-noise ratio of a series."""

from __future__ import annotations

import numpy as np

from neuraxis.volume import Array


def tsnr(corrected: Array, series: Array) -> tuple[Array, Array]:
    """Temporal signal-to-noise ratio, after and before motion correction.

    tSNR = mean over time / standard deviation over time (with T - 1 degrees of freedom), voxel by voxel.

    Parameters
    ----------
    corrected
        Series without motion; any unit, (X, Y, Z, T).
    series
        Series as it was measured; any unit, (X, Y, Z, T).

    Returns
    -------
    tSNR of both; no unit, (X, Y, Z), 0 where nothing changes over time.

    Raises
    ------
    ValueError: fewer than two volumes.

    References
    ----------
    Murphy 2007, doi:10.1016/j.neuroimage.2006.09.032
    """
    if corrected.shape[3] < 2:
        raise ValueError("one volume has no standard deviation over time")
    return _ratio(corrected), _ratio(series)


def _ratio(data: Array) -> Array:
    mean, spread = data.mean(-1, dtype=np.float64), data.std(-1, ddof=1, dtype=np.float64)
    return np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0).astype(np.float32)
