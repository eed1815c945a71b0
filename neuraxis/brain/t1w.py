"""The session's T1w: its brain, and where it lies in another image of the same head."""

from __future__ import annotations

import math
import warnings

import numpy as np

from neuraxis.brain import atlas
from neuraxis.brain.head import cut_along, mask_on, on, overlap, working_grid
from neuraxis.brain.labels import matrix_of
from neuraxis.numerics.deformation import affine
from neuraxis.numerics.registration import first_guess, resampled
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

_BETTER = 0.02
"""By so much the brains have to overlap better before the place in the scanner is given up."""


def t1w_brain(homogeneous_magnitude: Volume, t1w_mask: Volume) -> Volume:
    """Image without the receive field, within the brain.

    Parameters
    ----------
    homogeneous_magnitude
        T1w image divided by the smooth sensitivity of the coils; arbitrary, (X, Y, Z, 1).
    t1w_mask
        The brain; bool, (X, Y, Z).

    Returns
    -------
    The same image; arbitrary, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: the image has several echoes.
    """
    if homogeneous_magnitude.data.ndim == 4 and homogeneous_magnitude.data.shape[3] != 1:
        raise ValueError(f"one image is wanted, not {homogeneous_magnitude.data.shape[3]}")
    image = np.asarray(homogeneous_magnitude.data, np.float32).reshape(t1w_mask.grid.shape)
    return Volume(np.where(t1w_mask.data, image, np.float32(0)), t1w_mask.grid)


def t1w_position(
    combined_magnitude: Volume, mask: Volume, t1w_brain: Volume, t1w_mask: Volume, *, least_overlap: float = 0.9, most_stretch: float = 0.05
) -> Table:
    """Rigid motion from this image to the session's T1w, by mutual information.

    Begins where both lie in the scanner; if the brains overlap better after a turn and a shift that fit their outlines, there. From the
    better of them greedy follows the mutual information of both images at 4 and 2 mm and at that of the image. Of whole brains an affine map from
    there tells whether it is one head: two images of one differ by less than 1 % in size along any direction, two heads by much more.

    Parameters
    ----------
    combined_magnitude
        Magnitude of this image; arbitrary, (X, Y, Z).
    mask
        The brain in it; bool, (X, Y, Z), at least one voxel.
    t1w_brain
        T1w image, zero outside the brain; arbitrary, (X, Y, Z).
    t1w_mask
        The brain in it; bool, (X, Y, Z).
    least_overlap
        Overlap (Dice) of both brains, where this image has voxels, below which there is a warning; 0 to 1.
    most_stretch
        Share by which the T1w would fit better if it were longer or shorter in some direction, above which there is a warning; above 0.

    Returns
    -------
    Four rows: the matrix from a place here to the place in the T1w; RAS+ mm. With the overlap of the brains and the stretch
    (NaN where a part of the brain is in view only, or the brains do not overlap), in every row.

    Raises
    ------
    ValueError: a mask is empty, a knob is outside its range, or the registration fails.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    Wells 1996, doi:10.1016/S1361-8415(01)80004-9
    """
    if not 0 <= least_overlap <= 1:
        raise ValueError(f"least_overlap must be 0 to 1, not {least_overlap}")
    if not most_stretch > 0:
        raise ValueError(f"most_stretch must be above 0, not {most_stretch}")
    if not mask.data.any() or not t1w_mask.data.any():
        raise ValueError("a mask of the brain is empty")
    grid = working_grid(mask)
    brain = on(grid, Volume(mask.data.astype(np.float32), mask.grid))
    other = Volume(t1w_mask.data.astype(np.float32), t1w_mask.grid)
    seen = mask_on(grid, Volume(np.ones(mask.grid.shape, bool), mask.grid))

    def fits(motion: Array) -> float:
        return overlap(brain.data > 0.5, resampled(other, grid, motion) > 0.5, seen)

    here = np.eye(4)
    turned = first_guess(brain, other, brain.data > 0.5, np.asarray(t1w_mask.data, bool))
    start = turned if fits(turned) > fits(here) + _BETTER else here
    image = on(grid, combined_magnitude)
    inside = Volume(np.where(brain.data > 0.5, image.data, 0).astype(np.float32), grid)
    motion = affine([inside], [t1w_brain], start, freedom=6, metric="NMI", iterations=(100, 50, 20))
    agreement = fits(motion)
    if agreement < least_overlap:
        warnings.warn(
            f"the brain overlaps with that of the session's T1w by {agreement:.2f} only (Dice; {least_overlap:g} is asked for): is it the "
            "T1w of another head, or cropped? Look at the regions before they are used",
            stacklevel=2,
        )
    stretch = math.nan
    if agreement >= least_overlap and not any(cut_along(one, atlas.template()) is not None for one in (mask, t1w_mask)):
        better = affine([inside], [t1w_brain], motion, metric="NMI", iterations=(100, 50, 10))
        sizes = np.linalg.svd((better @ np.linalg.inv(motion))[:3, :3], compute_uv=False)
        stretch = float(np.abs(np.log(sizes)).max())
    if stretch > most_stretch:
        warnings.warn(
            f"the session's T1w would have to be stretched by {100 * stretch:.0f} % to fit ({100 * most_stretch:g} % is allowed): is it the T1w of "
            "another head? Look at the regions before they are used",
            stacklevel=2,
        )
    sure = agreement >= least_overlap and not stretch > most_stretch
    columns = {name: motion[:, axis] for axis, name in enumerate(("x", "y", "z", "shift"))}
    return Table.of(columns | {"overlap": [agreement] * 4, "stretch": [stretch] * 4, "trusted": [int(sure)] * 4})


def t1w_aligned(t1w_position: Table, t1w_brain: Volume, mask: Volume) -> Volume:
    """The session's T1w on the voxels of this image, interpolated once.

    Where the voxels of this image are larger, the T1w is averaged over them first.

    Parameters
    ----------
    t1w_position
        Rigid motion from places of this image to places of the T1w.
    t1w_brain
        T1w image, zero outside the brain; arbitrary, (X, Y, Z).
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.

    Returns
    -------
    The T1w; arbitrary, (X, Y, Z), zero outside the mask.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    return Volume(np.where(mask.data, _brought(t1w_position, t1w_brain, mask.grid), np.float32(0)), mask.grid)


def lesion_from_t1w(t1w_position: Table, t1w_lesion: Volume, mask: Volume) -> Volume:
    """Lesions drawn on the session's T1w, brought onto the voxels of this image.

    Parameters
    ----------
    t1w_position
        Rigid motion from places of this image to places of the T1w.
    t1w_lesion
        Where they are; (X, Y, Z).
    mask
        The brain in this image; bool, (X, Y, Z). Its grid is that of the result.

    Returns
    -------
    Where at least half of a voxel is lesion; bool, (X, Y, Z). It may reach beyond the brain's mask, which often leaves lesions out.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    return Volume(_brought(t1w_position, t1w_lesion, mask.grid) >= 0.5, mask.grid)


def _brought(t1w_position: Table, volume: Volume, grid: Grid) -> Array:
    """What lies in the T1w on the voxels of this image, averaged over larger ones."""
    return on(Grid.of(grid.shape, matrix_of(t1w_position) @ grid.matrix), volume).data
