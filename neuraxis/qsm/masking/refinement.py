"""From values to a mask, and from a raw mask to one without specks, bridges and holes."""

from __future__ import annotations

from typing import Literal

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean, otsu_threshold, sample_quantile
from neuraxis.numerics.morphology import dilate, erode, fill_holes, largest_component
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

Threshold = float | Literal["otsu", "percentile"]

COHERENT = 0.5
"""Phase quality that no noise reaches: where all is tissue, Otsu's threshold would cut off the poorer half of it."""


def combined_echoes(magnitude: Tensor, echoes: str) -> Tensor:
    """"all" is the root of the sum of squares of the echoes, "first" and "last" are one echo; (X, Y, Z).

    Raises
    ------
    ValueError: another word.
    """
    if echoes not in ("all", "first", "last"):
        raise ValueError(f"echoes must be all, first or last, not {echoes!r}")
    if echoes == "all":
        return torch.linalg.vector_norm(magnitude, dim=-1)
    return magnitude[..., 0 if echoes == "first" else -1]


def above_threshold(
    values: Tensor, threshold: Threshold, factor: float, highest: float = float("inf"), percentile: float = 75.0
) -> Tensor:
    """Where `values` lie above `threshold` x `factor`; Otsu's threshold counts as at most `highest`.

    Raises
    ------
    ValueError: a knob out of range, or nothing is left.
    """
    if not factor > 0:
        raise ValueError(f"factor must be above 0, not {factor}")
    if not 0 < percentile < 100:
        raise ValueError(f"percentile must lie between 0 and 100, not {percentile}")
    if threshold == "otsu":
        level = min(otsu_threshold(values), highest) * factor
    elif threshold == "percentile":
        level = sample_quantile(values, percentile / 100) * factor
    elif isinstance(threshold, (int, float)) and threshold >= 0:
        level = float(threshold) * factor
    else:
        raise ValueError(f"threshold must be otsu, percentile or a number of at least 0, not {threshold!r}")
    mask = values > level
    if not bool(mask.any()):
        raise ValueError(f"the mask is empty: no voxel lies above the threshold {level:g}")
    return mask


def opened(mask: Tensor, layers: int) -> Tensor:
    """Without what is thinner than 2 `layers` voxels."""
    return dilate(erode(mask, layers), layers) & mask


def closed(mask: Tensor, layers: int) -> Tensor:
    """With gaps of up to 2 `layers` voxels closed."""
    return erode(dilate(mask, layers), layers)


def smoothed(mask: Tensor, grid: Grid, sigma: float) -> Tensor:
    """Where more than half of what lies around, by a Gaussian of `sigma` mm, is in the mask."""
    return gaussian_mean(mask.float(), sigma, grid.voxel_size) > 0.5


def without_dark_rim(mask: Tensor, image: Tensor, share: float, depth: int) -> Tensor:
    """Without the voxels at the rim that are darker than `share` of the median of `image` in the mask, layer by layer.

    At most `depth` layers; what is left of the rim protects what lies behind it, and holes do not grow. The largest part is kept.
    """
    dark = image < share * sample_quantile(image[mask], 0.5)
    for _ in range(depth):
        whole = fill_holes(mask)
        peel = mask & dark & ~erode(whole)
        if not bool(peel.any()):
            break
        mask = mask & ~peel
    return largest_component(mask)


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
    mask = closed(mask, closing)
    if largest_hole != 0:
        mask = fill_holes(mask, None if largest_hole < 0 else largest_hole)
    mask = erode(mask, erosion)
    if not bool(mask.any()):
        raise ValueError(f"the mask is empty after separation {separation} and erosion {erosion}; ask for less")
    return mask
