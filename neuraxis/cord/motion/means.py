"""The mean image of a series without motion, on which the cord is looked for; and the series smoothed along the cord."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.motion.slicewise import robust_mean
from neuraxis.cord.smoothing import smooth_along_cord
from neuraxis.numerics.over_time import kept_slices
from neuraxis.table import Table
from neuraxis.volume import Array, Volume


def mean_diffusion(corrected: Volume, motion: Table, volumes: Table) -> Volume:
    """Mean of the diffusion-weighted volumes, or of all where none is, without the slices that are outliers.

    Parameters
    ----------
    corrected
        Diffusion series without motion; any unit, (X, Y, Z, T).
    motion
        Motion of every slice; columns volume, slice, outlier.
    volumes
        Which volumes are diffusion-weighted; column weighted.

    Returns
    -------
    Mean; unit and grid of the series.
    """
    weighted = volumes["weighted"] == 1
    return _mean(corrected, motion, weighted if weighted.any() else ~weighted)


def mean_b0(corrected: Volume, motion: Table, volumes: Table) -> Volume | None:
    """Mean of the volumes at b = 0, without the slices that are outliers.

    Parameters
    ----------
    corrected
        Diffusion series without motion; any unit, (X, Y, Z, T).
    motion
        Motion of every slice; columns volume, slice, outlier.
    volumes
        Which volumes are diffusion-weighted; column weighted.

    Returns
    -------
    Mean; unit and grid of the series. None, with a warning, where all volumes are diffusion-weighted.
    """
    weighted = volumes["weighted"] == 1
    if weighted.all():
        warnings.warn("no volume is at b = 0", stacklevel=2)
        return None
    return _mean(corrected, motion, ~weighted)


def mean_series(corrected: Volume, motion: Table) -> Volume:
    """Mean over time, without the slices that are outliers.

    Parameters
    ----------
    corrected
        Series without motion; any unit, (X, Y, Z, T).
    motion
        Motion of every slice; columns volume, slice, outlier.

    Returns
    -------
    Mean; unit and grid of the series.
    """
    return _mean(corrected, motion, np.ones(corrected.data.shape[3], bool))


def _mean(corrected: Volume, motion: Table, chosen: Array) -> Volume:
    upright = corrected.oriented("RAS")
    outlier = ~kept_slices(motion, upright.data.shape)
    mean = robust_mean(np.asarray(upright.data, np.float32)[..., chosen], outlier[:, chosen])
    return Volume(np.ascontiguousarray(mean, np.float32), upright.grid).onto(corrected.grid)


def smooth_volumes(corrected: Volume, centerline: Table, *, sigma_is: float = 6.0, width: float = 35.0) -> Volume:
    """Gaussian smoothing of every volume along the cord, and not across it.

    Parameters
    ----------
    corrected
        Series without motion; any unit, (X, Y, Z, T).
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    sigma_is
        Standard deviation along the cord; mm, at least 0. About a slice's thickness or more has an effect.
    width
        Diameter of the region around the centerline that is smoothed; mm, above 0.

    Returns
    -------
    Smoothed series; unit and grid of the series, unchanged outside the region.

    Raises
    ------
    ValueError: a knob is outside its range, or the centerline has fewer than two slices.

    References
    ----------
    De Leener 2017, doi:10.1002/jmri.25622
    """
    made = [
        smooth_along_cord(Volume(corrected.data[..., t], corrected.grid), centerline, sigma_is=sigma_is, width=width).data
        for t in range(corrected.data.shape[3])
    ]
    return Volume(np.stack(made, -1), corrected.grid)
