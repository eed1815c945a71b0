"""Brain extraction by HD-BET's network, when it is there."""

from __future__ import annotations

from typing import Literal

import lazy_loader as lazy

from neuraxis import resources
from neuraxis.numerics import nets
from neuraxis.numerics.morphology import dilate, erode, fill_holes, largest_component
from neuraxis.qsm.masking.refinement import combined_echoes
from neuraxis.volume import Grid, Tensor, Volume

torch = lazy.load("torch")

_LEAST_BRAIN_ML = 50.0
"""A smaller brain than this is taken for a failure; mL."""


def hd_bet(
    magnitude: Tensor,
    grid: Grid,
    *,
    echoes: Literal["all", "first", "last"] = "first",
    mirroring: bool = False,
    tiles: float = 0.5,
    dilation: int = 0,
    erosion: int = 0,
) -> Tensor:
    """HD-BET, brain extraction by an nnU-Net; fetched with `neuraxis fetch hd_bet --from FILE`.

    Trained on T1-weighted, T2-weighted and FLAIR images of adults, tumours and resections among them; the app uses it on
    gradient echo magnitudes, which is beyond the paper. FILE is the archive of weights (version 2) that its authors offer.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E), whole head.
    grid
        Grid of the images, for the orientation.
    echoes
        "first" and "last" take one echo, "all" the root of the sum of squares.
    mirroring
        Average with the mirrored images; up to 8 times slower.
    tiles
        Step of the sliding window, in windows; over 0, to 1. Smaller is smoother and slower.
    dilation
        Layers of voxels put on; 0 to 20 voxels.
    erosion
        Layers of voxels taken off; 0 to 20 voxels.

    Returns
    -------
    Mask of the brain; (X, Y, Z).

    Raises
    ------
    ValueError: the model is not installed, a knob out of range, or no brain is found.

    References
    ----------
    Isensee 2019, doi:10.1002/hbm.24750
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    """
    for name, value in (("dilation", dilation), ("erosion", erosion)):
        if not 0 <= value <= 20:
            raise ValueError(f"{name} must be 0 to 20 voxels, not {value}")
    if not 0 < tiles <= 1:
        raise ValueError(f"tiles must be over 0 and at most 1, not {tiles}")
    image = torch.nan_to_num(combined_echoes(magnitude, echoes), nan=0.0, posinf=0.0, neginf=0.0)
    if "hd_bet" not in resources.installed():
        raise ValueError(
            "the weights of HD-BET are not installed; get its archive from its authors and run `neuraxis fetch hd_bet --from FILE`"
        )
    model, about = resources.find("hd_bet"), resources.known()["hd_bet"]
    meaning = nets.classes(model)
    found = nets.predict(
        Volume(image.cpu().numpy(), grid),
        model,
        mirroring=mirroring,
        step=tiles,
        orientation=nets.trained_orientation(model, about.orientation),
    )
    brain = next(one for one in meaning.names if one != "background")
    inside = torch.from_numpy(found.data[..., meaning.channel(brain)] > 0.5).to(magnitude.device)
    mask = fill_holes(largest_component(inside))
    volume = float(mask.sum()) * grid.voxel_volume / 1000
    if volume < _LEAST_BRAIN_ML:
        raise ValueError(f"HD-BET found a brain of only {volume:.0f} mL; it needs the image of a whole head")
    mask = erode(dilate(mask, dilation), erosion)
    if not bool(mask.any()):
        raise ValueError(f"the mask is empty after an erosion of {erosion} voxels")
    return mask
