"""Brain extraction by a network."""

from __future__ import annotations

import functools
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.morphology import dilate, erode, fill_holes, largest_component
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_LEAST_BRAIN_ML = 50.0
"""A smaller brain than this is taken for a failure; mL. The brain of a preterm infant is larger."""


def deepbet(magnitude: Tensor, grid: Grid, *, threshold: float = 0.5, dilation: int = 0, erosion: int = 0) -> Tensor:
    """deepbet, brain extraction by a network.

    The network sees the root of the sum of squares of the echoes in RAS+ orientation. It was trained on T1-weighted
    whole heads, of any age and scanner; the app uses it on gradient echo magnitudes, which is beyond the paper.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E), whole head.
    grid
        Grid of the images, for the orientation.
    threshold
        Least output of the network in the brain; between 0 and 1. Smaller for a larger mask.
    dilation
        Layers of voxels put on; 0 to 20 voxels.
    erosion
        Layers of voxels taken off; 0 to 20 voxels.

    Returns
    -------
    Mask of the brain; (X, Y, Z).

    Raises
    ------
    ValueError: a knob out of range, or no brain is found.

    References
    ----------
    Fisch 2024, doi:10.1016/j.compbiomed.2024.108845
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold}")
    for name, value in (("dilation", dilation), ("erosion", erosion)):
        if not 0 <= value <= 20:
            raise ValueError(f"{name} must be 0 to 20 voxels, not {value}")
    combined = torch.linalg.vector_norm(magnitude, dim=-1)
    mask = brain_probability(combined, grid) > threshold
    volume = float(mask.sum()) * grid.voxel_volume / 1000
    if volume < _LEAST_BRAIN_ML:
        raise ValueError(
            f"deepbet found a brain of only {volume:.0f} mL; it needs the image of a whole head; "
            "for a part of a head there is phase_quality_threshold"
        )
    mask = erode(dilate(fill_holes(largest_component(mask)), dilation), erosion)
    if not bool(mask.any()):
        raise ValueError(f"the mask is empty after an erosion of {erosion} voxels")
    return mask


def brain_probability(image: Tensor, grid: Grid) -> Tensor:
    """Output of deepbet's network, 0 to 1, on the grid of `image`, (X, Y, Z); zero where it sees no brain."""
    import nibabel as nib

    to_ras = nib.orientations.io_orientation(grid.matrix)
    from_ras = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), to_ras)
    ras: Array = np.ascontiguousarray(nib.orientations.apply_orientation(image.cpu().numpy(), to_ras), np.float32)
    if not ras.max() > ras.min():
        return torch.zeros_like(image)
    try:
        found = _network(str(image.device)).run_model(ras)
    except (AssertionError, ValueError, IndexError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "size" not in str(error).lower():
            raise
        return torch.zeros_like(image)  # this is how the package says that there is nothing like a brain
    back = np.ascontiguousarray(nib.orientations.apply_orientation(found, from_ras))
    return torch.from_numpy(back).to(image.device)


@functools.cache
def _network(device: str) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports and its stored network are of older make than torch
        from deepbet import BrainExtraction

        network = BrainExtraction(no_gpu=True)
    network.model, network.bbox_model = network.model.to(device), network.bbox_model.to(device)
    return network
