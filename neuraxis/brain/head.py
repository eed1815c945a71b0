"""One head laid onto the template: how the images are prepared, registered and judged."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.brain import atlas
from neuraxis.numerics.deformation import Deformation, affine, deformable, places_of, sampled
from neuraxis.numerics.registration import centre, correlation, first_guess, resampled
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_MARGIN = 12.0
"""Around the brain; mm."""

_WORKING = 1.0
"""Least edge of the voxels that are registered; mm."""

_REACH = 3.0
"""Fluid and skull this near to the brain are looked at too; mm."""

_CUT = 0.2
"""Area of the brain in the first or last slice, as a share of its largest, from which on it is cut there."""

_SHORT = 0.8
"""Length of a brain that is cut, as a share of the template's, below which its place along the cut direction is searched for."""

_LIKE = 0.3
"""Least likeness of a part of the brain: 0.42 and 0.55 where slabs of 26 and 54 mm of a real head were laid right, 0.21 where one was laid wrong."""

_APART = 10.0
"""Distance of the places that are tried then; mm."""

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


def mask_on(grid: Grid, mask: Volume) -> Array:
    """A mask on a working grid: where more than half of a voxel is marked; bool."""
    return on(grid, mask).data > 0.5


def overlap(one: Array, other: Array, where: Array) -> float:
    """Dice overlap of two masks in a region."""
    both = (one & other & where).sum()
    return float(2 * both / max((one & where).sum() + (other & where).sum(), 1))


@dataclass(frozen=True)
class Agreement:
    """How well a head lies on the template."""

    overlap: float
    """Dice, of the brains, where the image has voxels."""
    likeness: float
    """Mean correlation of the images with the template in their own contrast; NaN for a whole brain, where the overlap tells."""
    cut: bool
    """Whether a part of the brain is in view only, so that the overlap says little."""

    def trusted(self, least: float) -> bool:
        """Whether it is good enough."""
        return self.overlap >= least and (not self.cut or self.likeness >= _LIKE)


def onto_template(
    images: Sequence[Volume], mask: Volume, *, iterations: tuple[int, ...], smoothing: tuple[float, float], t1w: Volume | None = None
) -> tuple[Deformation, Agreement]:
    """The map from a head to the template, and how well it lies there.

    The template takes the contrast of the `images`, structure by structure; a `t1w` lies on it as it is, and leads the affine map. All are on
    one grid; there is one at least.
    """
    grid = working_grid(mask)
    brain = mask_on(grid, mask)
    channels = [Volume(on(grid, one).data * brain, grid) for one in (*(() if t1w is None else (t1w,)), *images)]
    reference = atlas.template()
    place = np.asarray(reference.data) > 0
    cut = cut_along(mask, reference)
    motion = affine_onto(channels[0], brain, reference) if cut is None else slab_onto(channels, brain, reference, cut)
    templates = [reference]
    if images:
        _, templates = in_own_contrast(channels, reference, np.linalg.inv(motion))
    if t1w is not None:
        templates[0] = reference
    around = scipy.ndimage.distance_transform_edt(~brain, sampling=grid.voxel_size) <= _REACH
    around &= mask_on(grid, Volume(np.ones(mask.grid.shape, bool), mask.grid))  # beyond the field of view nothing is known
    found = deformable(
        channels, templates, motion, iterations=iterations, smoothing=smoothing, mask=Volume(around.astype(np.float32), grid)
    )
    there = sampled(Volume(place.astype(np.float32), reference.grid), found.there(places_of(grid))) > 0.5
    likeness = math.nan
    if cut is not None:
        back = found.back(places_of(reference.grid))
        likeness, _ = in_own_contrast([Volume(sampled(one, back), reference.grid) for one in channels], reference, np.eye(4))
    return found, Agreement(overlap(brain, there, around), likeness, cut is not None)


def cut_along(mask: Volume, reference: Volume) -> Array | None:
    """Direction (RAS+, unit) in which an image shows a part of the brain only; None where it shows the whole.

    So it is where the brain reaches an end of the field of view and is much shorter than the template's.
    """
    inside = np.asarray(mask.data, bool)
    for axis in range(3):
        area = inside.sum(axis=tuple({0, 1, 2} - {axis}))
        if max(area[0], area[-1]) <= _CUT * area.max():
            continue
        step = mask.grid.matrix[:3, axis]
        size = float(np.linalg.norm(step))
        whole = places_of(reference.grid)[np.asarray(reference.data) > 0] @ (step / size)
        if np.count_nonzero(area) * size < _SHORT * np.ptp(whole):
            return step / size
    return None


def slab_onto(channels: Sequence[Volume], brain: Array, reference: Volume, along: Array) -> Array:
    """The map to the template of an image that shows a part of the brain.

    From places 10 mm apart along the cut direction a rigid motion follows the mutual information; the one is kept after which the images are most
    like the template in their own contrast, since mutual information of a part is large in many wrong places. A similarity
    ends it: across the slab an affine map would hardly be told.
    """
    place = np.asarray(reference.data) > 0
    whole = places_of(reference.grid)[place] @ along
    own = places_of(channels[0].grid)[brain] @ along
    half = np.ptp(own) / 2
    low, high = whole.min() + half, max(whole.max() - half, whole.min() + half)
    middle = centre(brain, channels[0].grid)
    shift = centre(place, reference.grid) - middle
    start = np.eye(4)
    best: tuple[float, Array] | None = None
    for target in np.linspace(low, high, 1 + math.ceil((high - low) / _APART)):
        start[:3, 3] = shift + along * (target - (middle + shift) @ along)
        found = affine(channels[:1], [reference], start, freedom=6, metric="NMI", iterations=(100, 50, 0))
        likeness, _ = in_own_contrast(channels, reference, np.linalg.inv(found))
        if best is None or likeness > best[0]:
            best = likeness, found
    assert best is not None
    return affine(channels[:1], [reference], best[1], freedom=7, metric="NMI", iterations=(100, 50, 0))


def in_own_contrast(channels: Sequence[Volume], reference: Volume, back: Array) -> tuple[float, list[Volume]]:
    """How like the images are to the template that takes their contrast (mean correlation), laid there by `back`; and that template."""
    laid = [resampled(one, reference.grid, back) for one in channels]
    made = atlas.in_the_contrast_of(laid)
    known = (laid[0] != 0) & (np.asarray(reference.data) > 0)
    likes = [correlation(one[known], other[known]) for one, other in zip(laid, made, strict=True)]
    return float(np.mean(likes)), [Volume(one, reference.grid) for one in made]


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


def warn_of(agreement: Agreement, least: float) -> None:
    """A warning where the brain does not lie on the template's, or a part of one is not like it there."""
    if agreement.overlap >= least and not agreement.trusted(least):
        warnings.warn(
            f"a part of the brain is in view only, and it is not like the template where it was laid (correlation {agreement.likeness:.2f}, "
            f"{_LIKE:g} is asked for): the registration is doubtful, look at the regions before they are used",
            stacklevel=3,
        )
    if agreement.overlap < least:
        warnings.warn(
            f"the brain and the template's overlap by {agreement.overlap:.2f} only (Dice; {least:g} is asked for): the registration is doubtful, "
            "look at the regions before they are used",
            stacklevel=3,
        )
