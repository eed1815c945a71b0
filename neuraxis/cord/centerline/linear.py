"""Centerline by a moving average."""

from __future__ import annotations

from neuraxis.cord.centerline.fit import table_of
from neuraxis.table import Table
from neuraxis.volume import Volume


def linear(cord: Volume, *, smoothing: float = 30.0) -> Table:
    """Centerline by straight lines between the centres, smoothed by a Hann window.

    The centres of mass are joined by straight lines over gaps, averaged along z with

        w(t) = cos^2(pi t / smoothing),   |t| < smoothing / 2

    (t in mm), and continued beyond the ends by point reflection, which keeps a constant tilt as it is. The slope is the
    central difference. It never swings beyond the centres, and follows them more closely than a spline.

    Parameters
    ----------
    cord
        The cord, binary or soft; 0..1, (X, Y, Z), any orientation.
    smoothing
        Length of the window; mm, at least 0, which takes the centres as they are. Larger is straighter.

    Returns
    -------
    One row per slice from the lowest to the highest of the cord: voxel indices and slopes of the upright frame, position
    in mm, length of the curve from the lowest slice, and the angles between curve and slice normal.

    Raises
    ------
    ValueError: the mask is empty, not finite or not between 0 and 1, or the knob is outside its range.

    References
    ----------
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    return table_of(cord, "linear", smoothing)
