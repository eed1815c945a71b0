"""Two passes: the map of the trusted field, and in its holes a map of all of the field."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean
from neuraxis.numerics.fourier import box_shape, mask_box
from neuraxis.numerics.morphology import dilate, erode, fill_holes
from neuraxis.qsm.background.pdf import pdf
from neuraxis.qsm.inversion.rts import rts
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def two_pass(
    chi: Tensor,
    chi_mask: Tensor,
    total_field: Tensor,
    mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None = None,
    *,
    closing: float = 3.0,
    feather: float = 2.0,
) -> Tensor:
    """Two-pass artefact reduction: holes of the map filled from a second one, made of all of the field.

    A field that is unreliable near strong sources makes streaks where it is used, and holes where it is left out. The first
    map has left it out. The second takes the field in the whole mask (PDF and RTS, at their defaults, weighted by the
    noise), and is used in the holes of the first alone:

        chi = w chi_first + (1 - w) (chi_second + offset),   offset = median(chi_first - chi_second) over both

    where w is 0 in the holes and rises to 1 over about `feather` mm around them. Departures from the paper: the two zeros are
    matched, the seam is feathered, and only holes and narrow gaps are filled, so that nothing is added around the first map.

    Parameters
    ----------
    chi
        Susceptibility of the first pass; ppm, (X, Y, Z).
    chi_mask
        Where it is known; bool, (X, Y, Z), at least one voxel.
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    mask
        Where there is a field at all; bool, (X, Y, Z).
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    field_noise
        Standard deviation of the field; ppm, (X, Y, Z), above 0 in the mask (a voxel where it is not weighs nothing).
    closing
        Gaps of up to twice this width are filled beside enclosed holes; mm, at least 0. Larger fills bays of the border.
    feather
        Width of the seam; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero where neither map is known or nothing is to be filled.

    Raises
    ------
    ValueError: a knob is outside its range, a mask is empty, or the two maps have no voxel in common.

    References
    ----------
    Stewart 2022, doi:10.1002/mrm.29048
    """
    for name, number in (("closing", closing), ("feather", feather)):
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be at least 0 mm, not {number}")
    first = torch.where(chi_mask, chi, 0.0)
    holes = _filled(chi_mask, closing, grid) & mask & ~chi_mask
    if not bool(holes.any()):
        return first
    local, known = pdf(total_field, mask, grid, field_noise)
    second = rts(local, known, grid)
    both = known & chi_mask
    if not bool(both.any()):
        raise ValueError("the maps of the two passes have no voxel in common")
    offset = torch.median(chi[both] - second[both])
    holes &= known
    share = _share(chi_mask, chi_mask | holes, feather, grid)
    joined = torch.where(both, share * first + (1 - share) * (second + offset), first)
    return torch.where(holes, second + offset, joined)


def _filled(mask: Tensor, closing: float, grid: Grid) -> Tensor:
    """The mask with its narrow gaps and enclosed holes; steps of a face neighbour per voxel that fits into `closing`."""
    steps = int(closing / max(grid.voxel_size))
    box = mask_box(mask)
    inner = torch.zeros([n + 2 * steps for n in box_shape(box)], dtype=torch.bool, device=mask.device)
    middle = tuple(slice(steps, steps + n) for n in box_shape(box))
    inner[middle] = mask[box]
    closed = mask.clone()
    closed[box] = fill_holes(erode(dilate(inner, steps), steps)[middle]) | mask[box]
    return closed


def _share(first: Tensor, either: Tensor, feather: float, grid: Grid) -> Tensor:
    """Weight of the first map: 1 but near holes, where it falls to 0 at their border."""
    if feather == 0:
        return first.float()
    # half of what is around a plane border belongs to the first map: what is more is brought to 0..1
    around = gaussian_mean(first.float(), feather / 2, grid.voxel_size, either)
    return around.mul_(2).sub_(1).clamp_(0.0, 1.0).mul_(first)
