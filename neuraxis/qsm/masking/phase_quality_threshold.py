"""Threshold on the phase quality."""

from __future__ import annotations

from typing import Literal

from neuraxis.qsm.masking.refinement import COHERENT, above_threshold, refined
from neuraxis.volume import Tensor


def phase_quality_threshold(
    phase_quality: Tensor,
    *,
    threshold: float | Literal["otsu", "percentile"] = "otsu",
    percentile: float = 75.0,
    factor: float = 1.0,
    separation: int = 2,
    closing: int = 2,
    largest_hole: int = -1,
    erosion: int = 0,
) -> Tensor:
    """Threshold on the phase quality.

        mask = largest part of (phase quality > threshold x factor), closed and filled

    Asks nothing of the anatomy, so it works for any organ, for phantoms and for parts of a head.

    Parameters
    ----------
    phase_quality
        0 to 1, (X, Y, Z).
    threshold
        "otsu" (at most 0.5), "percentile", or a quality of 0 to 1.
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
    Dymerska 2021, doi:10.1002/mrm.28563
    """
    if not isinstance(threshold, str) and threshold > 1:
        raise ValueError(f"threshold must be otsu, percentile or 0 to 1, not {threshold}")
    mask = above_threshold(phase_quality, threshold, factor, COHERENT, percentile)
    return refined(mask, separation=separation, closing=closing, largest_hole=largest_hole, erosion=erosion)
