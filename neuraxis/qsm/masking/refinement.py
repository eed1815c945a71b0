"""From values to a mask, and from a raw mask to one without specks, bridges and holes."""

from __future__ import annotations

from typing import Literal

from neuraxis.numerics.filters import otsu_threshold
from neuraxis.numerics.morphology import dilate, erode, fill_holes, largest_component
from neuraxis.volume import Tensor

Threshold = float | Literal["otsu"]

COHERENT = 0.5
"""Phase quality that no noise reaches: where all is tissue, Otsu's threshold would cut off the poorer half of it."""


def above_threshold(values: Tensor, threshold: Threshold, factor: float, highest: float = float("inf")) -> Tensor:
    """Where `values` lie above `threshold` x `factor`; Otsu's threshold counts as at most `highest`.

    Raises
    ------
    ValueError: a knob out of range, or nothing is left.
    """
    if not factor > 0:
        raise ValueError(f"factor must be above 0, not {factor}")
    if threshold == "otsu":
        level = min(otsu_threshold(values), highest) * factor
    elif isinstance(threshold, (int, float)) and threshold >= 0:
        level = float(threshold) * factor
    else:
        raise ValueError(f"threshold must be otsu or a number of at least 0, not {threshold!r}")
    mask = values > level
    if not bool(mask.any()):
        raise ValueError(f"the mask is empty: no voxel lies above the threshold {level:g}")
    return mask


def refined(mask: Tensor, *, separation: int, closing: int, largest_hole: int, erosion: int) -> Tensor:
    """The largest part of `mask` after cutting bridges of up to 2 `separation` voxels; closed, filled, then eroded.

    `largest_hole`: -1 fills every enclosed hole, 0 none, else those of up to so many voxels.

    Raises
    ------
    ValueError: a knob out of range, or nothing is left.
    """
    steps = {"separation": separation, "closing": closing, "erosion": erosion}
    for name, value in steps.items():
        if not 0 <= value <= 20:
            raise ValueError(f"{name} must be 0 to 20 voxels, not {value}")
    if largest_hole < -1:
        raise ValueError(f"largest_hole must be -1 or more voxels, not {largest_hole}")
    core = largest_component(erode(mask, separation))
    mask = dilate(core, separation) & mask
    mask = erode(dilate(mask, closing), closing)
    if largest_hole != 0:
        mask = fill_holes(mask, None if largest_hole < 0 else largest_hole)
    mask = erode(mask, erosion)
    if not bool(mask.any()):
        raise ValueError(f"the mask is empty after separation {separation} and erosion {erosion}; ask for less")
    return mask
