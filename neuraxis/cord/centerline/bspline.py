"""Centerline by a smoothing spline."""

from __future__ import annotations

from neuraxis.cord.centerline.fit import table_of
from neuraxis.table import Table
from neuraxis.volume import Volume


def bspline(cord: Volume, *, smoothing: float = 30.0) -> Table:
    """Centerline by cubic smoothing splines.

    Through the centres of mass (x_i, y_i) of the n slices z_i that hold cord goes the smoothest cubic spline with

        sum_i (x_i - x(z_i))^2 <= s,    s = (n / (z_n - z_1 + 1))^2 * smoothing * slice thickness / 3

    (in voxels), and the same for y; a straight line where there are three slices or fewer. Binary masks give the numbers of
    the Spinal Cord Toolbox; a soft mask gives its weighted centre. Single slices whose centre lies more than 2 mm beside
    that of their neighbours are left out, with a warning: one broken slice would bend the curve by tens of degrees.

    Parameters
    ----------
    cord
        The cord, binary or soft; 0..1, (X, Y, Z), any orientation.
    smoothing
        How far the curve may leave the centres; at least 0, which goes through all of them. Larger is straighter.

    Returns
    -------
    One row per slice from the lowest to the highest of the cord: voxel indices and slopes of the upright frame, position
    in mm, length of the curve from the lowest slice, and the angles between curve and slice normal.

    Raises
    ------
    ValueError: the mask is empty, not finite or not between 0 and 1, or the knob is outside its range.

    References
    ----------
    Dierckx 1975, doi:10.1016/0771-050X(75)90034-0
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    return table_of(cord, "bspline", smoothing)
