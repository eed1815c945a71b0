"""One head laid onto the template: how the images are prepared, registered and judged."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import lazy_loader as lazy
import numpy as np

from neuraxis.brain import atlas
from neuraxis.numerics.deformation import Deformation, affine, deformable, places_of, sampled
from neuraxis.numerics.registration import centre, first_guess, resampled
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_MARGIN = 12.0
"""Around the brain; mm."""

_WORKING = 1.0
"""Least edge of the voxels that are registered; mm."""

_REACH = 3.0
"""Fluid and skull this near to the brain are looked at too; mm."""

_FITS = 0.9
"""Overlap of the brains after the affine map from which on it is believed."""


def working_grid(mask: Volume, edge: float | None = None) -> Grid:
    """Isotropic grid along the voxel axes of `mask`, around what it marks; without an edge (mm) that of 1 mm or of a voxel, if larger."""
    grid = mask.grid
    edge = edge or max(_WORKING, float(np.cbrt(grid.voxel_volume)))
    if not mask.data.any():
        raise ValueError("the mask of the brain is empty")
    size = np.array(grid.voxel_size)
    low, high = (np.array([f(a) for a in np.nonzero(mask.data)]) for f in (np.min, np.max))
    low, high = low - _MARGIN / size, high + _MARGIN / size
    shape = tuple(int(n) for n in np.ceil((high - low) * size / edge).astype(int) + 1)
    matrix = grid.matrix.copy()
    matrix[:3, :3] *= edge / size
    matrix[:3, 3] = grid.matrix[:3, :3] @ low + grid.matrix[:3, 3]
    return Grid.of(shape, matrix)


def on(grid: Grid, volume: Volume) -> Volume:
    """`volume` on a working grid, averaged where the grid is coarser."""
    data = np.asarray(volume.data, np.float32)
    wide = [np.sqrt(max((edge / own) ** 2 - 1, 0)) / 2.355 for edge, own in zip(grid.voxel_size, volume.grid.voxel_size, strict=True)]
    if max(wide) > 0.2:
        data = scipy.ndimage.gaussian_filter(data, wide)
    return Volume(resampled(Volume(data, volume.grid), grid, np.eye(4)), grid)


def overlap(one: Array, other: Array, where: Array) -> float:
    """Dice overlap of two masks in a region."""
    both = (one & other & where).sum()
    return float(2 * both / max((one & where).sum() + (other & where).sum(), 1))


def onto_template(
    image: Volume, mask: Volume, *, own_contrast: bool, iterations: tuple[int, ...], smoothing: tuple[float, float], more: Sequence[Volume] = ()
) -> tuple[Deformation, float]:
    """The map from a head to the template, and the overlap (Dice) of the brain with that of the template.

    `own_contrast`: the template takes the contrast of the image, structure by structure; else it is T1w as the image is.
    `more`: further maps of the head on the grid of the image, whose contrast the template takes likewise.
    """
    grid = working_grid(mask)
    brain = on(grid, Volume(mask.data.astype(np.float32), mask.grid)).data > 0.5
    channels = [Volume(on(grid, one).data * brain, grid) for one in (image, *more)]
    reference = atlas.template()
    place = np.asarray(reference.data) > 0
    motion = affine_onto(channels[0], brain, reference)
    templates = [reference]
    if own_contrast:
        back = np.linalg.inv(motion)
        laid = [resampled(one, reference.grid, back) for one in channels]
        templates = [Volume(one, reference.grid) for one in atlas.in_the_contrast_of(laid)]
    around = scipy.ndimage.distance_transform_edt(~brain, sampling=grid.voxel_size) <= _REACH
    found = deformable(
        channels, templates, motion, iterations=iterations, smoothing=smoothing, mask=Volume(around.astype(np.float32), grid)
    )
    there = sampled(Volume(place.astype(np.float32), reference.grid), found.there(places_of(grid))) > 0.5
    return found, overlap(brain, there, around)


def affine_onto(image: Volume, brain: Array, reference: Volume) -> Array:
    """The affine map to the template of the largest mutual information.

    Begins with the centres on each other and the axes of the scanner; where the brains do not overlap well then, once more with the
    turn in which image and template correlate best.
    """
    place = np.asarray(reference.data) > 0
    everywhere = np.ones(image.grid.shape, bool)
    start = np.eye(4)
    start[:3, 3] = centre(place, reference.grid) - centre(brain, image.grid)
    best: tuple[float, Array] | None = None
    for turned in (False, True):
        if turned:
            start = first_guess(image, reference, brain, place)
        found = affine([image], [reference], start, metric="NMI", iterations=(100, 50, 10))
        fits = overlap(brain, resampled(Volume(place.astype(np.float32), reference.grid), image.grid, found) > 0.5, everywhere)
        if best is None or fits > best[0]:
            best = fits, found
        if fits > _FITS:
            break
    assert best is not None
    return best[1]


def warn_of(agreement: float, least: float) -> None:
    """A warning where the brain does not lie on the template's."""
    if agreement < least:
        warnings.warn(
            f"the brain and the template's overlap by {agreement:.2f} only (Dice; {least:g} is asked for): the registration is doubtful, "
            "look at the regions before they are used",
            stacklevel=3,
        )
