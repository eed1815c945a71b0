"""Centerline by a polynomial."""

from __future__ import annotations

from neuraxis.cord.centerline.fit import table_of
from neuraxis.table import Table
from neuraxis.volume import Volume


def polyfit(cord: Volume, *, degree: int = 5) -> Table:
    """Centerline by one polynomial per axis.

    Least squares over all slices that hold cord:

        x(z) = sum_k a_k z^k,   k = 0 .. degree

    and the same for y; the degree is lowered where there are too few slices. Stiff, and good on short or broken masks.

    Parameters
    ----------
    cord
        The cord, binary or soft; 0..1, (X, Y, Z), any orientation.
    degree
        Of the polynomials; 1 to 15. Larger follows the centres more closely, and swings at the ends.

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
    if not 1 <= degree <= 15:
        raise ValueError(f"degree must be from 1 to 15, not {degree}")
    return table_of(cord, degree=degree)
