"""Temporal signal-to-noise ratio of a series."""

from __future__ import annotations

import numpy as np

from neuraxis.numerics.over_time import kept_slices, over_time
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def tsnr(corrected: Volume, series: Volume, motion: Table | None = None) -> tuple[Volume, Volume]:
    """Temporal signal-to-noise ratio, after and before motion correction.

    tSNR = mean over time / standard deviation over time (with T - 1 degrees of freedom), voxel by voxel and without the slices
    that are outliers.

    Parameters
    ----------
    corrected
        Series without motion; any unit, (X, Y, Z, T).
    series
        Series as it was measured; any unit, (X, Y, Z, T).
    motion
        Motion of every slice; columns volume, slice, outlier. All slices count without it.

    Returns
    -------
    tSNR of both; no unit, (X, Y, Z), 0 where nothing changes over time, and in a slice of which fewer than two volumes are no outliers.

    Raises
    ------
    ValueError: fewer than two volumes.

    References
    ----------
    Murphy 2007, doi:10.1016/j.neuroimage.2006.09.032
    """
    if corrected.data.shape[3] < 2:
        raise ValueError("one volume has no standard deviation over time")
    return _ratio(corrected, motion), _ratio(series, motion)


def _ratio(series: Volume, motion: Table | None) -> Volume:
    upright = series.oriented("RAS")
    mean, spread = over_time(upright.data, kept_slices(motion, upright.data.shape))
    made: Array = np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0).astype(np.float32)
    return Volume(made, upright.grid).onto(series.grid)
