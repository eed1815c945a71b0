"""Reference to the mean over a region of the brain."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.brain.regions import SIDE_WORDS, told
from neuraxis.table import Table
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def region(
    chi_unreferenced: Tensor,
    chi_mask: Tensor,
    regions: Array,
    region_names: Table | None = None,
    *,
    name: str = "lateral ventricle",
    least_voxels: int = 20,
) -> Tensor:
    """Reference to the mean over a region of the brain, by its name.

    A field map knows susceptibility only up to a constant; here the mean over a region is called zero:

        chi = chi_unreferenced - mean(chi_unreferenced over the region, where it is known)

    Parameters
    ----------
    chi_unreferenced
        Susceptibility from the dipole inversion; ppm, (X, Y, Z).
    chi_mask
        Where the susceptibility is known; bool, (X, Y, Z), at least one voxel.
    regions
        Labels; whole numbers, (X, Y, Z).
    region_names
        index, name: what given labels are called.
    name
        Of the region, both halves together or one of them: "lateral ventricle", "left thalamus"; or its number. Several with a plus
        between them.
    least_voxels
        Fewest known voxels of the region; at least 1.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), mean 0 over the region, zero outside the mask.

    Raises
    ------
    ValueError: the mask is empty, there is no region of that name, too little of it is known, or the knob is outside its range.

    References
    ----------
    Bilgic 2024, doi:10.1002/mrm.30006
    """
    if least_voxels < 1:
        raise ValueError(f"least_voxels must be at least 1, not {least_voxels}")
    if not bool(chi_mask.any()):
        raise ValueError("the mask is empty")
    numbers = [number for one in name.split("+") for number in _numbers(one.strip(), regions, region_names)]
    inside = torch.from_numpy(np.isin(regions, numbers)).to(chi_mask.device) & chi_mask
    if int(inside.sum()) < least_voxels:
        raise ValueError(f"{int(inside.sum())} voxels of {name} are known, {least_voxels} are asked for: choose another reference")
    reference = float(chi_unreferenced[inside].double().mean())
    return torch.where(chi_mask, chi_unreferenced - reference, 0.0)


def _numbers(wanted: str, regions: Array, names: Table | None) -> list[int]:
    """The labels of a region that is named; ValueError when there is none."""
    there = {int(one) for one in np.unique(regions) if one}
    meanings = {number: meaning for number, meaning in told(names).items() if number in there}
    called = {number: {str(number)} for number in there}
    for number, (side, text) in meanings.items():
        called[number] |= {text.lower(), f"{SIDE_WORDS.get(side, '')}{text}".lower()}
    found = [number for number in sorted(there) if wanted.lower() in called[number]]
    if not found:
        known = ", ".join(sorted({text for _, text in meanings.values()}) or map(str, sorted(there)))
        raise ValueError(f"there is no region {wanted!r}; there are {known}")
    return found
