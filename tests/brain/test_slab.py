"""Images that show a part of the brain: where they are laid on the template."""

import math

import numpy as np
import pytest

from neuraxis.brain import atlas
from neuraxis.brain.head import Agreement, cut_along, in_own_contrast, on, slab_onto, warn_of, working_grid
from neuraxis.numerics.deformation import moved, places_of, sampled
from neuraxis.volume import Grid, Volume

EDGE = 2.5
SHIFT = np.array([6.0, -9.0, 40.0])
"""Where the head lies in the scanner."""


def view(codes: str, low: float = -200.0, high: float = 200.0) -> tuple[Volume, Volume]:
    """The template's brain, shifted, as an image whose lowest and highest slice lie at these heights of the template; and its mask."""
    reference = atlas.template()
    whole = working_grid(Volume(reference.data > 0, reference.grid), EDGE)
    heights = whole.matrix[2, 3] + EDGE * np.arange(whole.shape[2])
    kept = np.flatnonzero((heights >= low) & (heights <= high))
    matrix = whole.matrix.copy()
    matrix[2, 3] = heights[kept[0]]
    grid = Volume(np.zeros((*whole.shape[:2], len(kept)), np.float32), Grid.of((*whole.shape[:2], len(kept)), matrix)).oriented(codes).grid
    data = sampled(reference, places_of(grid))
    shifted = grid.matrix.copy()
    shifted[:3, 3] += SHIFT
    there = Grid.of(grid.shape, shifted)
    data += 2 * np.random.default_rng(0).standard_normal(data.shape).astype(np.float32) * (data > 0)
    inside = sampled(Volume((reference.data > 0).astype(np.float32), reference.grid), places_of(grid)) > 0.5
    return Volume(np.where(inside, data, 0).astype(np.float32), there), Volume(inside, there)


@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_a_part_is_known_by_its_ends(codes):
    reference = atlas.template()
    assert cut_along(view(codes)[1], reference) is None
    assert cut_along(view(codes, -60.0)[1], reference) is None, "the lowest slices of the cerebellum are often not in view"
    along = cut_along(view(codes, -20.0, 25.0)[1], reference)
    assert along is not None and np.abs(along) == pytest.approx([0, 0, 1], abs=1e-6)


@pytest.mark.slow
def test_a_slab_is_laid_where_it_belongs():
    image, mask = view("PSR", -20.0, 15.0)
    reference, grid = atlas.template(), working_grid(mask)
    brain = on(grid, Volume(mask.data.astype(np.float32), mask.grid)).data > 0.5
    found = slab_onto([Volume(on(grid, image).data * brain, grid)], brain, reference, cut_along(mask, reference))
    here = places_of(grid)[brain]
    off = np.linalg.norm(moved(found, here) - (here - SHIFT), axis=1)
    assert off.mean() < 1.5 and off.max() < 4


def test_a_slab_that_is_like_nothing_is_not_trusted():
    reference = atlas.template()
    noise = np.random.default_rng(1).standard_normal(reference.grid.shape).astype(np.float32)
    slab = np.where((reference.data > 0) & (np.abs(places_of(reference.grid)[..., 2]) < 15), 100 + 10 * noise, 0).astype(np.float32)
    likeness, _ = in_own_contrast([Volume(slab, reference.grid)], reference, np.eye(4))
    true, _ = in_own_contrast([Volume(np.where(slab != 0, reference.data, 0), reference.grid)], reference, np.eye(4))
    assert likeness < 0.1 and true > 0.5
    assert not Agreement(0.97, likeness, True).trusted(0.9) and Agreement(0.97, true, True).trusted(0.9)
    assert Agreement(0.97, math.nan, False).trusted(0.9) and not Agreement(0.8, true, True).trusted(0.9)
    with pytest.warns(UserWarning, match="part of the brain"):
        warn_of(Agreement(0.97, likeness, True), 0.9)
