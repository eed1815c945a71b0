"""Receive field from the brightest tissue of small boxes."""

from __future__ import annotations

import itertools
import math

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean
from neuraxis.qsm.homogeneity.coarse import coarse, divided, tissue
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_SPACING = 3.0
"""Voxels on which the field is looked for; mm."""

_FIRST, _SECOND = math.sqrt(1 - 0.7**2), 0.7
"""Widths of the two Gaussians, in units of sigma: together they are one of sigma."""

_NEAR = 0.1
"""A voxel that differs by less than this share from a high percentile of its box is of the box's brightest tissue."""


def box(magnitude: Tensor, grid: Grid, *, sigma: float = 7.0, boxes: int = 15) -> Tensor:
    """Magnitude over a receive field from the brightest tissue of small boxes.

    Voxels within 10 % of the 90th percentile of at least two of the boxes that they lie in (boxes overlap by half) are of one
    tissue, white matter mostly. The receive field is the Gaussian mean of the combined magnitude over them; where it is below
    a quarter of its mean or above ten times that, nothing is known, and a second Gaussian takes it from the surroundings:

        even = magnitude / field,   field with a mean of 1 over the tissue

    One field for all echoes. Found on voxels of 3 mm.

    Parameters
    ----------
    magnitude
        At least 0, (X, Y, Z, E).
    grid
        Grid of the images, for the voxel size.
    sigma
        Width of the Gaussian; mm, above 0. Smaller evens out more, anatomy too.
    boxes
        Boxes along each axis; 2 to 40. More follow a steeper field.

    Returns
    -------
    Magnitude without the receive field; arbitrary unit, (X, Y, Z, E), at least 0.

    Raises
    ------
    ValueError: a knob is outside its range, or there is no signal.

    References
    ----------
    Eckstein 2021, doi:10.1016/j.neuroimage.2021.118175
    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be above 0 mm, not {sigma}")
    if not 2 <= boxes <= 40:
        raise ValueError(f"boxes must be 2 to 40, not {boxes}")
    image, factors = coarse(torch.linalg.vector_norm(magnitude, dim=-1), grid, _SPACING)
    a, b, c = (h * f for h, f in zip(grid.voxel_size, factors, strict=True))
    inside = tissue(image)
    same = _brightest(image, inside, boxes)
    same = same if bool(same.any()) else inside
    field = gaussian_mean(image, sigma * _FIRST, (a, b, c), same)
    mean = float(field[inside].mean())
    unknown = (field < mean / 4) | (field > 10 * mean)
    field = torch.where(unknown, 3 * mean, field)
    weight = torch.where(unknown, 0.2, 1.2)
    return divided(magnitude, gaussian_mean(field, sigma * _SECOND, (a, b, c), weight), inside, factors)


def _brightest(image: Tensor, inside: Tensor, boxes: int) -> Tensor:
    """Voxels near the 90th percentile of at least two of the boxes that hold them."""
    half = [max(1, math.ceil(n / (2 * boxes))) for n in image.shape]
    number = [max(2, math.ceil(n / h)) for n, h in zip(image.shape, half, strict=True)]
    x, y, z = image.shape
    nan = float("nan")
    padded = torch.full([n * h for n, h in zip(number, half, strict=True)], nan, device=image.device)
    padded[:x, :y, :z] = torch.where(inside, image, nan)
    level = torch.full([n + 1 for n in number], nan, device=image.device)  # one box more on either side
    for first in range(number[0] - 1):
        slab = padded[first * half[0] : (first + 2) * half[0]]
        held = slab.unfold(1, 2 * half[1], half[1]).unfold(2, 2 * half[2], half[2]).permute(1, 2, 0, 3, 4)
        found = torch.nanquantile(held.reshape(held.shape[0] * held.shape[1], -1), 0.9, dim=1)
        level[first + 1, 1:-1, 1:-1] = found.reshape(held.shape[:2])
    votes = torch.zeros((x, y, z), dtype=torch.int8, device=image.device)
    for one in itertools.product((0, 1), repeat=3):
        here = level
        for axis, (start, n, h) in enumerate(zip(one, number, half, strict=True)):
            here = here.narrow(axis, start, n).repeat_interleave(h, axis)
        here = here[:x, :y, :z]
        votes += (image - here).abs() <= _NEAR * here
    return inside & (votes >= 2)
