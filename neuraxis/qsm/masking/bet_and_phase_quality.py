"""Where BET sees brain and the phase is coherent."""

from __future__ import annotations

from typing import Literal

from neuraxis.qsm.masking.bet import bet
from neuraxis.qsm.masking.phase_quality_threshold import phase_quality_threshold
from neuraxis.qsm.masking.refinement import refined
from neuraxis.volume import Grid, Tensor


def bet_and_phase_quality(
    homogeneous_magnitude: Tensor,
    phase_quality: Tensor,
    grid: Grid,
    *,
    echoes: Literal["all", "first", "last"] = "first",
    fractional_intensity: float = 0.5,
    threshold: float | Literal["otsu", "percentile"] = "otsu",
    percentile: float = 75.0,
    factor: float = 1.0,
    closing: int = 1,
    largest_hole: int = -1,
    erosion: int = 0,
) -> Tensor:
    """Brain by BET, without the voxels of poor phase quality; needs no network.

        mask = eroded, filled (BET and closed, filled (phase quality > threshold x factor))

    The recipe of the consensus on clinical susceptibility mapping, which takes off one layer more at the end.

    Parameters
    ----------
    homogeneous_magnitude
        At least 0, (X, Y, Z, E), whole head.
    phase_quality
        0 to 1, (X, Y, Z).
    grid
        Grid of the images, for voxel size and the way up.
    echoes
        What BET sees: "first" or "last" echo, or "all", the root of the sum of squares.
    fractional_intensity
        Where between dark and bright the skull begins; between 0 and 1. Smaller for a larger mask.
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
    Smith 2002, doi:10.1002/hbm.10062
    Otsu 1979, doi:10.1109/TSMC.1979.4310076
    Bilgic 2024, doi:10.1002/mrm.30006
    """
    coherent = phase_quality_threshold(
        phase_quality,
        threshold=threshold,
        percentile=percentile,
        factor=factor,
        separation=0,
        closing=closing,
        largest_hole=largest_hole,
    )
    brain = bet(homogeneous_magnitude, grid, echoes=echoes, fractional_intensity=fractional_intensity)
    if not bool((coherent & brain).any()):
        raise ValueError("the mask is empty: BET's brain has no coherent phase")
    return refined(coherent & brain, separation=0, closing=0, largest_hole=largest_hole, erosion=erosion)
