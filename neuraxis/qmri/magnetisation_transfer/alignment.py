"""Images of one acquisition laid on the MT-on image, slice by slice around the cord."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.numerics.path_distance import path_distance
from neuraxis.numerics.slice_shifts import beyond, shifted, slice_shifts
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_CUT = 2.5
"""The soft mask ends at this many of its standard deviations."""

_WORSE = 0.01
"""By how much the mean likeness may fall before it is told: less is the smoothing of the interpolation."""


def mt_off_by_slice(
    image: Volume, mt_off: Volume, centerline: Table, *, smoothness: float = 0.5, reach: float = 4.0, width: float = 8.0
) -> tuple[Volume, Table]:
    """MT-off image laid on the MT-on image by an in-plane shift of every axial slice.

    The shifts make one image locally a linear map of the other around the cord (weights: a Gaussian about the centerline), and
    neighbouring slices hold each other as far as a slice does not tell its own. Cubic splines move the slices.

    Parameters
    ----------
    image
        MT-on image; (X, Y, Z).
    mt_off
        MT-off image on the same grid; (X, Y, Z).
    centerline
        Where the cord runs: slice, x, y in voxels of the upright frame; (N,).
    smoothness
        Standard deviation of the difference between shifts of neighbouring slices; mm, > 0. Less is stiffer.
    reach
        Shifts up to this are looked for; mm, > 0.
    width
        Standard deviation of the weight around the centerline; mm, > 0.

    Returns
    -------
    The MT-off image on the MT-on image, (X, Y, Z), and a row per slice: its shift to the left and to the front (mm), and the likeness
    of both images (weighted correlation) before and after.

    Raises
    ------
    ValueError: the grids differ, the centerline is empty, or a knob is out of range.

    References
    ----------
    Cohen-Adad 2021, doi:10.1038/s41596-021-00588-0
    """
    return _laid(image, mt_off, centerline, smoothness, reach, width, "MT-off")


def t1w_by_slice(
    image: Volume, mt_t1w: Volume, centerline: Table, *, smoothness: float = 0.5, reach: float = 4.0, width: float = 8.0
) -> tuple[Volume, Table]:
    """T1w image of the acquisition laid on the MT-on image by an in-plane shift of every axial slice.

    As the MT-off image is (`mt_off_by_slice`).

    Parameters
    ----------
    image
        MT-on image; (X, Y, Z).
    mt_t1w
        T1-weighted image on the same grid; (X, Y, Z).
    centerline
        Where the cord runs: slice, x, y in voxels of the upright frame; (N,).
    smoothness
        Standard deviation of the difference between shifts of neighbouring slices; mm, > 0. Less is stiffer.
    reach
        Shifts up to this are looked for; mm, > 0.
    width
        Standard deviation of the weight around the centerline; mm, > 0.

    Returns
    -------
    The T1w image on the MT-on image, (X, Y, Z), and a row per slice: its shift to the left and to the front (mm), and the likeness
    of both images (weighted correlation) before and after.

    Raises
    ------
    ValueError: the grids differ, the centerline is empty, or a knob is out of range.

    References
    ----------
    Cohen-Adad 2021, doi:10.1038/s41596-021-00588-0
    """
    return _laid(image, mt_t1w, centerline, smoothness, reach, width, "T1w")


def mt_off_as_it_is(image: Volume, mt_off: Volume, centerline: Table) -> tuple[Volume, Table]:
    """MT-off image as it is, where nobody moved or it was moved before.

    Parameters
    ----------
    image
        MT-on image; (X, Y, Z).
    mt_off
        MT-off image on the same grid; (X, Y, Z).
    centerline
        Where the cord runs: slice, x, y in voxels of the upright frame; (N,).

    Returns
    -------
    The MT-off image, (X, Y, Z), and a row per slice with shifts of zero (mm) and the likeness of both images.
    """
    return _unmoved(image, mt_off, centerline)


def t1w_as_it_is(image: Volume, mt_t1w: Volume, centerline: Table) -> tuple[Volume, Table]:
    """T1w image of the acquisition as it is, where nobody moved or it was moved before.

    Parameters
    ----------
    image
        MT-on image; (X, Y, Z).
    mt_t1w
        T1-weighted image on the same grid; (X, Y, Z).
    centerline
        Where the cord runs: slice, x, y in voxels of the upright frame; (N,).

    Returns
    -------
    The T1w image, (X, Y, Z), and a row per slice with shifts of zero (mm) and the likeness of both images.
    """
    return _unmoved(image, mt_t1w, centerline)


def around(centerline: Table, shape: tuple[int, ...], voxel_size: tuple[float, float, float], width: float) -> Array:
    """A soft mask about the centerline in the upright frame: a Gaussian of `width` mm, cut off; (X, Y, Z), 0 to 1.

    Slices beyond its ends have the weight of the last one: their shift follows what is seen there.
    """
    if not width > 0:
        raise ValueError(f"width must be above 0 mm, not {width}")
    apart = path_distance(centerline, shape, voxel_size) / width
    return np.where(apart < _CUT, np.exp(-0.5 * apart**2), 0.0).astype(np.float32)


def likeness(one: Array, other: Array, weights: Array) -> Array:
    """Weighted correlation of two images, slice by slice; (Z,), -1 to 1, 0 where one of them is flat."""
    total = weights.sum((0, 1)) + 1e-12
    a, b = (image - (weights * image).sum((0, 1)) / total for image in (np.asarray(one, float), np.asarray(other, float)))
    both, first, second = ((weights * product).sum((0, 1)) for product in (a * b, a * a, b * b))
    scale = np.sqrt(first * second)
    return np.where(scale > 0, both / np.where(scale > 0, scale, 1), 0.0)


def _laid(
    image: Volume, moving: Volume, centerline: Table, smoothness: float, reach: float, width: float, name: str
) -> tuple[Volume, Table]:
    fixed, mov, weights = _upright(image, moving, centerline, width)
    size = fixed.grid.voxel_size
    shifts = slice_shifts(mov.data, fixed.data, weights, size, smoothness=smoothness, reach=reach)
    moved = shifted(mov.data, shifts, size)
    before, after = likeness(fixed.data, mov.data, weights), likeness(fixed.data, moved, weights)
    far = int(beyond(shifts, reach).sum())
    if far:
        warnings.warn(
            f"{name}: {far} slice{'s' if far > 1 else ''} moved by more than reach={reach:g} mm: look at the pictures", stacklevel=3
        )
    if after.mean() < before.mean() - _WORSE:
        text = f"{name}: around the cord it is less like the MT-on image than before ({before.mean():.3f} to {after.mean():.3f})"
        warnings.warn(text + ": look at the pictures", stacklevel=3)
    return Volume(moved, fixed.grid).onto(image.grid), _rows(shifts, before, after)


def _unmoved(image: Volume, moving: Volume, centerline: Table) -> tuple[Volume, Table]:
    fixed, mov, weights = _upright(image, moving, centerline, 8.0)
    same = likeness(fixed.data, mov.data, weights)
    return moving, _rows(np.zeros((len(same), 2)), same, same)


def _upright(image: Volume, moving: Volume, centerline: Table, width: float) -> tuple[Volume, Volume, Array]:
    if not image.grid.same_as(moving.grid):
        raise ValueError(f"the two images lie on different grids: {image.grid.shape} and {moving.grid.shape}")
    fixed, mov = image.oriented(), moving.oriented()
    return fixed, mov, around(centerline, fixed.data.shape, fixed.grid.voxel_size, width)


def _rows(shifts: Array, before: Array, after: Array) -> Table:
    slices = np.arange(len(shifts))
    return Table.of(
        {"slice": slices, "shift_left": shifts[:, 0], "shift_front": shifts[:, 1], "likeness_before": before, "likeness": after}
    )
