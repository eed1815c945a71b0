"""Where there is brain and coherent phase."""

from __future__ import annotations

from typing import Literal

from neuraxis.qsm.masking.deepbet import deepbet
from neuraxis.qsm.masking.refinement import COHERENT, above_threshold, refined
from neuraxis.volume import Grid, Tensor


def deepbet_and_phase_quality(
    magnitude: Tensor,
    phase_quality: Tensor,
    grid: Grid,
    *,
    brain_threshold: float = 0.5,
    brain_dilation: int = 0,
    threshold: float | Literal["otsu", "percentile"] = "otsu",
    percentile: float = 75.0,
    factor: float = 1.0,
    closing: int = 1,
    largest_hole: int = -1,
    erosion: int = 0,
) -> Tensor:
    """Brain by deepbet, without the voxels of poor phase quality at its rim.

        mask = brain and closed, filled (phase quality > threshold x factor)

    The consensus on clinical susceptibility mapping recommends the two together.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E), whole head.
    phase_quality
        0 to 1, (X, Y, Z).
    grid
        Grid of the images, for the orientation.
    brain_threshold
        Least output of the network in the brain; between 0 and 1.
    brain_dilation
        Layers of voxels put on the brain first; 0 to 20 voxels.
    threshold
        "otsu" (at most 0.5), "percentile", or a phase quality of 0 to 1.
    percentile
        Per cent of all voxels that lie below the threshold "percentile"; between 0 and 100.
    factor
        The threshold is multiplied by this; > 0. Above 1 for a stricter mask.
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
    ValueError: a knob out of range, no brain is found, or an empty mask.

    References
    ----------
    Fisch 2024, doi:10.1016/j.compbiomed.2024.108845
    Otsu 1979, doi:10.1109/TSMC.1979.4310076
    Bilgic 2024, doi:10.1002/mrm.30006
    """
    if not isinstance(threshold, str) and threshold > 1:
        raise ValueError(f"threshold must be otsu, percentile or 0 to 1, not {threshold}")
    brain = deepbet(magnitude, grid, threshold=brain_threshold, dilation=brain_dilation)
    coherent = above_threshold(phase_quality, threshold, factor, COHERENT, percentile) & brain
    return refined(coherent, separation=0, closing=closing, largest_hole=largest_hole, erosion=erosion) & brain
