"""Registration to the template."""

from __future__ import annotations

import math
import warnings

from neuraxis.brain import atlas
from neuraxis.brain.head import Agreement, onto_template, warn_of, working_grid
from neuraxis.numerics.deformation import Deformation
from neuraxis.table import Table
from neuraxis.volume import Volume

_WARP_EDGE = 2.0
"""Voxels of the displacement fields, which are smooth; mm."""


def t1w_to_template(
    t1w_brain: Volume,
    t1w_mask: Volume,
    *,
    iterations: tuple[int, ...] = (100, 50, 10),
    update_smoothing: float = 2.0,
    smoothing: float = 0.7,
    least_overlap: float = 0.9,
) -> tuple[Volume, Volume, Table]:
    """Registration of a T1w brain to the template MNI152NLin2009cAsym, affine and deformable.

    First affinely by mutual information, from the axes of the scanner or, where the brains do not overlap then, from the turn in which
    the images correlate best; then deformably by local correlation (picsl-greedy, at 1 mm).
    The map goes from places of the head to places of the template; its inverse is found by a fixed point. Of a part
    of a brain (a slab) the place is searched for along its cut direction first.

    Parameters
    ----------
    t1w_brain
        T1w image without the receive field, zero outside the brain; arbitrary, (X, Y, Z).
    t1w_mask
        The brain; (X, Y, Z), at least one voxel.
    iterations
        Of the deformable registration at 4, 2 and 1 mm; at least 0 each.
    update_smoothing
        Standard deviation of the Gaussian that smooths every step; voxels, above 0. Larger is smoother.
    smoothing
        Standard deviation of the Gaussian that smooths the whole displacement at every step; voxels, at least 0.
    least_overlap
        Overlap (Dice) of the brain with the template's below which there is a warning; 0 to 1.

    Returns
    -------
    Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3), on a grid around the brain. The same from the
    template to the head, on a grid around the template. A table of one row: how well the brains overlap.

    Raises
    ------
    ValueError: the mask is empty, a knob is outside its range, or the registration fails.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    Fonov 2011, doi:10.1016/j.neuroimage.2010.07.033
    """
    check_knobs(iterations, update_smoothing, smoothing, least_overlap)
    found, agreement = onto_template((), t1w_mask, iterations=iterations, smoothing=(update_smoothing, smoothing), t1w=t1w_brain)
    warn_of(agreement, least_overlap)
    return warps(found, t1w_mask, agreement, least_overlap)


def gre_to_template(
    combined_magnitude: Volume,
    mask: Volume,
    chi_unreferenced: Volume | None = None,
    t1w_aligned: Volume | None = None,
    t1w_position: Table | None = None,
    *,
    iterations: tuple[int, ...] = (100, 50, 10),
    update_smoothing: float = 2.0,
    smoothing: float = 0.7,
    least_overlap: float = 0.85,
) -> tuple[Volume, Volume, Table]:
    """Registration of a gradient echo to the template MNI152NLin2009cAsym, with the session's T1w where there is one.

    The affine map is that of the largest mutual information with the T1w template. Then the template takes the contrast of the images:
    in every structure of the atlas their median where it is laid on them, without what looks like the fluid of the ventricles in a
    structure that holds none. So magnitude and susceptibility, in which the deep nuclei
    show, are registered deformably by local correlation (picsl-greedy), together, with equal weights. The session's T1w, which shows the cortex,
    joins them with the template's own. Of a part of a brain (a slab) the place is searched for along its cut direction first.

    Parameters
    ----------
    combined_magnitude
        Magnitude; arbitrary, (X, Y, Z).
    mask
        The brain; (X, Y, Z), at least one voxel.
    chi_unreferenced
        Susceptibility; ppm, (X, Y, Z), zero where it is not known. Without it the magnitude stands alone.
    t1w_aligned
        The session's T1w on the voxels of this image; arbitrary, (X, Y, Z), zero outside the brain.
    t1w_position
        Where it lies in the T1w: if that is doubtful, as with another head's, the T1w is left out, with a warning.
    iterations
        Of the deformable registration at 4, 2 and 1 mm; at least 0 each.
    update_smoothing
        Standard deviation of the Gaussian that smooths every step; voxels, above 0. Larger is smoother.
    smoothing
        Standard deviation of the Gaussian that smooths the whole displacement at every step; voxels, at least 0.
    least_overlap
        Overlap (Dice) of the brain with the template's below which there is a warning; 0 to 1.

    Returns
    -------
    Displacement from a place of the head to that of the template; mm, (X, Y, Z, 3), on a grid around the brain. The same from the
    template to the head, on a grid around the template. A table of one row: how well the brains overlap.

    Raises
    ------
    ValueError: the mask is empty, a knob is outside its range, or the registration fails.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    Fonov 2011, doi:10.1016/j.neuroimage.2010.07.033
    """
    check_knobs(iterations, update_smoothing, smoothing, least_overlap)
    if t1w_aligned is not None and t1w_position is not None and not t1w_position["trusted"].all():
        warnings.warn("the place in the session's T1w is doubtful: the registration to the template does without the T1w", stacklevel=2)
        t1w_aligned = None
    images = (combined_magnitude,) if chi_unreferenced is None else (combined_magnitude, chi_unreferenced)
    found, agreement = onto_template(images, mask, iterations=iterations, smoothing=(update_smoothing, smoothing), t1w=t1w_aligned)
    warn_of(agreement, least_overlap)
    return warps(found, mask, agreement, least_overlap)


def check_knobs(iterations: tuple[int, ...], update_smoothing: float, smoothing: float, least_overlap: float) -> None:
    """ValueError for a knob outside its range."""
    if not iterations or min(iterations) < 0:
        raise ValueError(f"iterations must be at least 0 each, not {iterations}")
    if not 0 < update_smoothing < math.inf or not 0 <= smoothing < math.inf:
        raise ValueError(f"update_smoothing must be above 0 and smoothing at least 0 voxels, not {update_smoothing} and {smoothing}")
    if not 0 <= least_overlap <= 1:
        raise ValueError(f"least_overlap must be 0 to 1, not {least_overlap}")


def warps(found: Deformation, mask: Volume, agreement: Agreement, least: float) -> tuple[Volume, Volume, Table]:
    """Both displacement fields, and the table of the overlap."""
    columns = {"overlap": agreement.overlap, "least_overlap": least, "likeness": agreement.likeness, "cut": int(agreement.cut)}
    table = Table.of_rows([columns | {"trusted": int(agreement.trusted(least))}])
    reference = atlas.template()
    whole = working_grid(Volume(reference.data > 0, reference.grid), _WARP_EDGE)
    return found.warp(working_grid(mask, _WARP_EDGE)), found.warp(whole, inverse=True), table
