"""Voxels whose field agrees with itself and with its surroundings."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.filters import box_sum, sample_quantile
from neuraxis.numerics.fourier import mask_box
from neuraxis.numerics.morphology import fill_holes, largest_component
from neuraxis.volume import Tensor

torch = lazy.load("torch")


def consistency(
    total_field: Tensor,
    field_noise: Tensor,
    phase_quality: Tensor,
    mask: Tensor,
    *,
    min_quality: float = 0.3,
    max_noise: float = 8.0,
    max_departure: float = 0.1,
    largest_hole: int = 0,
    keep_largest: bool = True,
) -> Tensor:
    """Consistency of the phase in space and across echoes.

    A voxel is kept where

        phase quality >= min_quality
        field noise <= max_noise x its median in the mask
        |field - mean of the field in the 3 x 3 x 3 neighbours of the mask| <= max_departure

    Most of what phase-based susceptibility mapping loses, it loses to some per cent of voxels at the rim of the mask,
    where the field is steep or the signal is gone. Inversions that weigh every voxel by its noise do most of this work
    themselves: for them the presets `default` and `best` do without the phase quality.

    Parameters
    ----------
    total_field
        Field inside the mask; ppm, (X, Y, Z).
    field_noise
        Standard deviation of its noise; ppm, (X, Y, Z).
    phase_quality
        0 to 1, (X, Y, Z).
    mask
        Where the phase is used; (X, Y, Z).
    min_quality
        Least phase quality; 0 to 1. 0 does without.
    max_noise
        Largest noise, in multiples of its median in the mask; > 1, inf does without.
    max_departure
        Largest difference from the surrounding field; ppm, > 0, inf does without.
    largest_hole
        Enclosed holes of up to so many voxels are filled again; at least 0. More holes filled: fewer holes in the map,
        more streaks around them.
    keep_largest
        Whether only the largest connected part is kept.

    Returns
    -------
    The part of the mask where the field can be trusted; (X, Y, Z).

    Raises
    ------
    ValueError: a knob out of range, or no voxel is left.

    References
    ----------
    Dymerska 2021, doi:10.1002/mrm.28563
    """
    if not 0 <= min_quality <= 1:
        raise ValueError(f"min_quality must be 0 to 1, not {min_quality}")
    if not max_noise > 1:
        raise ValueError(f"max_noise must be above 1, not {max_noise}")
    if not max_departure > 0:
        raise ValueError(f"max_departure must be above 0 ppm, not {max_departure}")
    if largest_hole < 0:
        raise ValueError(f"largest_hole must be at least 0 voxels, not {largest_hole}")
    box = mask_box(mask)
    inside, field = mask[box], total_field[box]
    noise = field_noise[box]
    kept = inside & (phase_quality[box] >= min_quality) & (noise <= max_noise * sample_quantile(noise[inside], 0.5))
    around = box_sum(field * inside).sub_(field)
    number = box_sum(inside.to(field.dtype)).sub_(1).clamp_min_(1)
    kept &= (field - around.div_(number)).abs_() <= max_departure
    if keep_largest:
        kept = largest_component(kept)
    if largest_hole > 0:
        kept = fill_holes(kept, largest_hole) & inside
    if not bool(kept.any()):
        raise ValueError("no voxel of the mask has a field that can be trusted with these limits")
    whole = torch.zeros_like(mask)
    whole[box] = kept
    return whole
