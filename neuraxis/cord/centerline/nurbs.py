"""Centerline by a rational spline in space."""

from __future__ import annotations

from neuraxis.cord.centerline.fit import table_of
from neuraxis.table import Table
from neuraxis.volume import Volume


def nurbs(cord: Volume, *, smoothing: float = 30.0) -> Table:
    """Centerline by a non-uniform rational B-spline (NURBS).

    One cubic curve in space through all centres, by least squares for its control points P_k:

        C(u) = sum_k w_k N_k(u) P_k / sum_k w_k N_k(u),    w_k = 1 + curvature_k / largest curvature

    where the curvature is that of a first fit with equal weights; u is the length along the centres. Unlike the other
    methods it takes x, y and z together, so that it also follows a cord that runs far from the slice normal.

    Parameters
    ----------
    cord
        The cord, binary or soft; 0..1, (X, Y, Z), any orientation.
    smoothing
        Distance of the control points; mm, at least 0, which takes one per slice. Larger is straighter.

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
    return table_of(cord, "nurbs", smoothing)
