"""The fluid of the ventricles: found by its slow decay, in the middle of the brain."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean
from neuraxis.numerics.morphology import erode, label
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_PARTS = 3
"""Largest connected parts that are kept: two lateral ventricles and the third one."""

_SMALL = 0.1
"""Parts of less than this share of the largest are no ventricles."""


def ventricular_fluid(
    r2star: Tensor, mask: Tensor, grid: Grid, *, max_r2star: float = 5.0, radius: float = 30.0, least: float = 500.0
) -> Tensor:
    """Mask of the fluid of the ventricles; bool, (X, Y, Z), inside the mask.

    R2* smoothed by 1 mm lies below `max_r2star` (1/s), within `radius` (mm) of the centre of the mask; of the connected parts
    the three largest, without those of a tenth of the largest, less one layer of voxels where that leaves anything.

    Parameters
    ----------
    r2star
        R2*; 1/s, (X, Y, Z).
    mask
        Where it is looked for; bool, (X, Y, Z), the brain.
    grid
        Place of the arrays; gives the voxel size.
    max_r2star
        Largest R2* of fluid; 1/s, above 0.
    radius
        Largest distance from the centre of the mask; mm, above 0.
    least
        Smallest volume that is believed; mm³, above 0.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or less fluid than that is found.

    References
    ----------
    Liu 2018, doi:10.1002/mrm.26946
    """
    for name, value in (("max_r2star", max_r2star), ("radius", radius), ("least", least)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value}")
    count = int(torch.count_nonzero(mask))
    if count == 0:
        raise ValueError("the mask is empty")
    apart = torch.zeros((), device=mask.device)
    for axis, (n, h) in enumerate(zip(grid.shape, grid.voxel_size, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        place = torch.arange(n, device=mask.device, dtype=torch.float64)
        middle = float((mask.sum(dim=others).double() * place).sum()) / count
        shape = [n if a == axis else 1 for a in range(3)]
        apart = apart + ((place - middle) * h).square().float().reshape(shape)
    known = mask & torch.isfinite(r2star)
    smooth = gaussian_mean(torch.where(known, r2star, 0.0), 1.0, grid.voxel_size, known)
    slow = known & (smooth < max_r2star) & (apart <= radius**2)
    parts, number = label(slow)
    sizes = torch.bincount(parts.reshape(-1), minlength=number + 1)
    sizes[0] = 0
    largest = torch.argsort(sizes, descending=True)[:_PARTS]
    kept = largest[sizes[largest] >= max(_SMALL * float(sizes.max()), 1)]
    found = torch.isin(parts, kept) & (parts > 0)
    volume = int(torch.count_nonzero(found)) * math.prod(grid.voxel_size)
    if volume < least:
        raise ValueError(
            f"{volume:.0f} mm³ of fluid (R2* below {max_r2star:g}/s within {radius:g} mm of the brain's centre) were found, "
            f"and {least:g} mm³ are needed; take another reference, or allow a larger R2*"
        )
    inner = erode(found)
    return inner if int(torch.count_nonzero(inner)) * math.prod(grid.voxel_size) >= least else found
