"""Tissues and nuclei on the template itself, whose structures are known."""

from __future__ import annotations

import numpy as np
import pytest
from documented import check_documented
from scipy.spatial.transform import Rotation

from neuraxis.brain import atlas
from neuraxis.brain.nuclei import nuclei_from_t1w, nuclei_from_template, t1w_nuclei
from neuraxis.brain.regions import NUCLEI
from neuraxis.brain.tissues import _priors, t1w_tissues, tissues_from_gre, tissues_from_t1w
from neuraxis.numerics.deformation import places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

GRID = Grid.of((44, 52, 44), np.array([[-3.7, 0, 0, 80], [0, 3.7, 0, -110], [0, 0, 3.7, -70], [0, 0, 0, 1]]))
NO_WARP = Volume(np.zeros((2, 2, 2, 3), np.float32), Grid.of((2, 2, 2), np.diag([100.0, 100, 100, 1])))
MASK = Volume(sampled(Volume((np.asarray(atlas.template().data) > 0).astype(np.float32), atlas.template().grid), places_of(GRID)) > 0.5, GRID)


def _head(brightness, noise, seed=0, drawn=True):
    """A head that is the atlas with one tissue per voxel, drawn or the most probable, and its image."""
    random = np.random.default_rng(seed)
    inside = MASK.data
    prior = _priors(places_of(GRID)[inside])
    truth = (prior.cumsum(axis=0) < random.random(prior.shape[1])).sum(axis=0).clip(max=3)
    truth = np.where((prior.max(axis=0) > 0.6) | (not drawn), prior.argmax(axis=0), truth)
    image = np.zeros(GRID.shape, np.float32)
    image[inside] = np.array(brightness, float)[truth] + noise * random.standard_normal(len(truth))
    return Volume(image, GRID), truth


@pytest.mark.parametrize("method", [t1w_tissues, tissues_from_gre, tissues_from_t1w, t1w_nuclei, nuclei_from_t1w, nuclei_from_template])
def test_documented(method):
    check_documented(method)


@pytest.mark.parametrize("brightness", [(12, 60, 68, 85), (95, 82, 70, 70)], ids=["T1w", "magnitude"])
def test_brightness_corrects_the_atlas(brightness):
    image, truth = _head(brightness, 4)
    found = t1w_tissues(image, MASK, NO_WARP, neighbours=0)
    stack = np.stack([one.data[MASK.data] for one in found])
    assert stack.sum(axis=0) == pytest.approx(1, abs=1e-4) and not np.stack([one.data for one in found])[:, ~MASK.data].any()
    real = np.select([truth == 0, truth == 3], [2, 1], 0)  # fluid, white matter, grey
    prior = _priors(places_of(GRID)[MASK.data])
    before = np.stack([prior[1] + prior[2], prior[3], prior[0]]).argmax(axis=0)
    right, was = (np.mean(one == real) for one in (stack.argmax(axis=0), before))
    assert right > 0.9 and right > was


def test_susceptibility_tells_more_than_magnitude_alone_and_what_is_not_known_of_it_nothing():
    magnitude, truth = _head((95, 80, 66, 70), 8)
    inside = MASK.data
    real = np.select([truth == 0, truth == 3], [2, 1], 0)
    values = np.array([0.0, 0.02, 0.08, -0.03])[truth] + 0.02 * np.random.default_rng(1).standard_normal(len(truth))
    chi = np.zeros(GRID.shape, np.float32)
    chi[inside] = values

    def right(volume):
        echoes = np.stack([1.2 * magnitude.data, 0.8 * magnitude.data], -1)
        found = tissues_from_gre(Volume(echoes, GRID), MASK, NO_WARP, volume, neighbours=0)
        stack = np.stack([one.data[inside] for one in found])
        assert np.isfinite(stack).all() and stack.sum(axis=0) == pytest.approx(1, abs=1e-4)
        return stack.argmax(axis=0)

    alone, both = right(None), right(Volume(chi, GRID))
    assert np.mean(alone == real) > 0.7 and np.mean(both == real) > np.mean(alone == real) + 0.03
    half = np.where(np.arange(GRID.shape[2]) < 22, chi, 0).astype(np.float32)  # known in the lower half
    assert np.array_equal(right(Volume(np.zeros_like(chi), GRID)), alone)
    part, upper = right(Volume(half, GRID)), (np.arange(GRID.shape[2]) >= 22) & inside
    assert np.mean((part == real)[~upper[inside]]) > np.mean((alone == real)[~upper[inside]])


def test_neighbours_help_in_noise():
    noisy, truth = _head((12, 60, 68, 85), 15, drawn=False)
    real = np.select([truth == 0, truth == 3], [2, 1], 0)
    right = []
    for weight in (0.0, 0.5):
        found = np.stack([one.data[MASK.data] for one in t1w_tissues(noisy, MASK, NO_WARP, neighbours=weight)])
        right.append(np.mean(found.argmax(axis=0) == real))
    assert right[1] > right[0]


def test_brightness_of_the_image_does_not_matter():
    image, _ = _head((12, 60, 68, 85), 4)
    found = t1w_tissues(image, MASK, NO_WARP, rounds=4)
    scaled = t1w_tissues(Volume(image.data * np.float32(37), GRID), MASK, NO_WARP, rounds=4)
    for one, other in zip(found, scaled, strict=True):
        assert np.abs(one.data - other.data).max() < 0.01


@pytest.mark.parametrize("knob, value", [("neighbours", -1), ("rounds", 0)])
def test_wrong_knobs_and_an_empty_mask_are_refused(knob, value):
    image = Volume(np.zeros(GRID.shape, np.float32), GRID)
    with pytest.raises(ValueError, match=knob):
        t1w_tissues(image, MASK, NO_WARP, **{knob: value})
    with pytest.raises(ValueError, match="empty"):
        t1w_tissues(image, Volume(np.zeros(GRID.shape, bool), GRID), NO_WARP)


def _position(motion):
    return Table.of({**{axis: motion[:, n] for n, axis in enumerate("xyz")}, "shift": motion[:, 3], "trusted": np.ones(4, int)})


def test_nuclei_are_those_of_the_atlas_also_through_a_motion():
    found = t1w_nuclei(NO_WARP, MASK)
    assert found.data.shape == (*GRID.shape, 2 * len(NUCLEI)) and found.data.min() >= 0 and found.data.max() <= 1
    left = found.data[..., 2]
    x = places_of(GRID)[..., 0]
    assert NUCLEI[1].name == "putamen" and (left * x).sum() / left.sum() < -15, "left lies at negative x"
    assert np.array_equal(nuclei_from_template(NO_WARP, MASK).data, found.data)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    motion[:3, 3] = 3, -4, 5
    moved_grid = Grid.of(GRID.shape, np.linalg.inv(motion) @ GRID.matrix)
    over = nuclei_from_t1w(_position(motion), found, Volume(MASK.data, moved_grid))
    assert over.data == pytest.approx(found.data, abs=1e-4) and over.grid.same_as(moved_grid)


def test_tissues_through_a_motion_and_onto_larger_voxels():
    image, _ = _head((12, 60, 68, 85), 2)
    parts = t1w_tissues(image, MASK, NO_WARP, rounds=3)
    motion = np.eye(4)
    motion[:3, 3] = 10, 0, -6
    over = tissues_from_t1w(_position(motion), *parts, Volume(MASK.data, Grid.of(GRID.shape, np.linalg.inv(motion) @ GRID.matrix)))
    for one, other in zip(parts, over, strict=True):
        assert other.data == pytest.approx(one.data, abs=1e-4)
    coarse = Grid.of((22, 26, 22), GRID.matrix @ np.diag([2.0, 2, 2, 1]))
    mask = Volume(np.ones(coarse.shape, bool), coarse)
    small = tissues_from_t1w(_position(np.eye(4)), *parts, mask)
    for one, other in zip(parts, small, strict=True):
        assert other.data.sum() * 8 == pytest.approx(one.data.sum(), rel=0.03)
