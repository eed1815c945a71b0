"""Threshold on the magnitude."""

from __future__ import annotations

from typing import Literal

from neuraxis.numerics.filters import sample_quantile
from neuraxis.qsm.masking.refinement import above_threshold, combined_echoes, refined
from neuraxis.volume import Tensor


def magnitude_threshold(
    homogeneous_magnitude: Tensor,
    *,
    echoes: Literal["all", "first", "last"] = "all",
    threshold: float | Literal["otsu", "percentile"] = "otsu",
    percentile: float = 75.0,
    factor: float = 1.0,
    separation: int = 2,
    closing: int = 2,
    largest_hole: int = -1,
    erosion: int = 0,
) -> Tensor:
    """Threshold on the magnitude.

        mask = largest part of (magnitude / its 99th percentile > threshold x factor), closed and filled

    Parameters
    ----------
    homogeneous_magnitude
        At least 0, (X, Y, Z, E).
    echoes
        "all" takes the root of the sum of squares over echoes, "first" and "last" one echo.
    threshold
        "otsu", "percentile", or a share of the 99th percentile of the magnitude, 0 to 1.
    percentile
        Per cent of all voxels that lie below the threshold "percentile"; between 0 and 100.
    factor
        The threshold is multiplied by this; > 0. Above 1 for a stricter mask.
    separation
        Bridges (to the scalp, say) of up to twice so many voxels are cut; 0 to 20 voxels.
    closing
        Gaps of up to twice so many voxels are closed; 0 to 20 voxels.
    largest_hole
        Enclosed holes of up to so many voxels are filled; -1 all, 0 none.
    erosion
        Layers of voxels taken off at the end; 0 to 20 voxels.

    Returns
    -------
    Mask; (X, Y, Z).

    Raises
    ------
    ValueError: a knob out of range, or an empty mask.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076
    """
    if not isinstance(threshold, str) and threshold > 1:
        raise ValueError(f"threshold must be otsu, percentile or 0 to 1, not {threshold}")
    values = combined_echoes(homogeneous_magnitude, echoes)
    top = sample_quantile(values, 0.99)
    if not top > 0:
        raise ValueError("the magnitude is zero nearly everywhere")
    mask = above_threshold((values / top).clamp_(max=1.0), threshold, factor, percentile=percentile)
    return refined(mask, separation=separation, closing=closing, largest_hole=largest_hole, erosion=erosion)
