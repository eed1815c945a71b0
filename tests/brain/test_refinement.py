"""Nuclei that lie beside their place in the atlas, found again on the susceptibility."""

from __future__ import annotations

import numpy as np
import pytest
from documented import check_documented

from neuraxis.brain import atlas
from neuraxis.brain.labels import from_t1w, from_template
from neuraxis.brain.refinement import from_t1w_on_chi, from_template_on_chi
from neuraxis.brain.regions import name_of
from neuraxis.numerics.deformation import places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

GRID = Grid.of((60, 64, 50), np.array([[-1.5, 0, 0, 44], [0, 1.5, 0, -60], [0, 0, 1.5, -30], [0, 0, 0, 1]]))
NO_WARP = Volume(np.zeros((2, 2, 2, 3), np.float32), Grid.of((2, 2, 2), np.diag([100.0, 100, 100, 1])))
MASK = Volume(sampled(Volume((np.asarray(atlas.template().data) > 0).astype(np.float32), atlas.template().grid), places_of(GRID)) > 0.5, GRID)
SURE = Table.of({"overlap": [0.95], "least_overlap": [0.9], "trusted": [1]})
CHI = {**dict.fromkeys((11, 50), 0.06), **dict.fromkeys((12, 51), 0.07), **dict.fromkeys((201, 202, 203, 204), 0.15), 2: -0.03, 41: -0.03}
POSITION = Table.of({**{axis: np.eye(4)[:, n] for n, axis in enumerate("xyz")}, "shift": np.zeros(4), "trusted": np.ones(4, int)})


@pytest.fixture(scope="module")
def moved():
    """The atlas' own labels, a head whose nuclei lie 1.5 mm (a voxel) further forward, and its susceptibility."""
    labels, _, _ = from_template(NO_WARP, MASK, SURE)
    truth = np.roll(labels.data, 1, axis=1)
    chi = np.zeros(GRID.shape, np.float32)
    for number, value in CHI.items():
        chi[truth == number] = value
    chi += 0.015 * np.random.default_rng(0).standard_normal(GRID.shape).astype(np.float32)
    return labels, truth, Volume(chi * MASK.data, GRID)


def _dice(found, truth, numbers):
    mine, real = np.isin(found, numbers), np.isin(truth, numbers)
    return 2 * (mine & real).sum() / (mine.sum() + real.sum())


@pytest.mark.parametrize("method", [from_template_on_chi, from_t1w_on_chi])
def test_documented(method):
    check_documented(method)


@pytest.mark.parametrize("through", ["template", "T1w"])
def test_nuclei_follow_the_susceptibility(moved, through):
    labels, truth, chi = moved
    if through == "template":
        before, after = from_template(NO_WARP, MASK, SURE), from_template_on_chi(NO_WARP, MASK, SURE, chi)
    else:
        before, after = from_t1w(POSITION, labels, MASK), from_t1w_on_chi(POSITION, labels, MASK, chi)
    for numbers in ((11, 50), (12, 51), (201, 202, 203, 204)):
        first, second = (_dice(one[0].data, truth, numbers) for one in (before, after))
        assert second > max(first, 0.85), (numbers, first, second)
    assert after[2]["trusted"].tolist() == [1] and 0 <= after[1].data.min() and after[1].data.max() <= 1
    far = ~np.isin(before[0].data, (11, 50, 12, 51, 26, 58, *range(201, 215)))
    deep = np.asarray(before[0].data) == 0
    assert np.array_equal(after[0].data[deep & far & ~MASK.data], before[0].data[deep & far & ~MASK.data])


def test_what_lies_farther_than_the_reach_stays(moved):
    labels, _, chi = moved
    near, none = (from_template_on_chi(NO_WARP, MASK, SURE, chi, reach=reach)[0].data for reach in (3.0, 0.0))
    grown = none != labels.data
    assert not (grown & ~np.isin(labels.data, (11, 50, 12, 51, 26, 58, *range(201, 215)))).any()
    assert (near != labels.data).sum() > grown.sum()
    with pytest.raises(ValueError, match="reach"):
        from_template_on_chi(NO_WARP, MASK, SURE, chi, reach=-1.0)


def test_without_contrast_the_atlas_stays(moved):
    labels, _, _ = moved
    flat = Volume((0.02 * np.random.default_rng(1).standard_normal(GRID.shape) * MASK.data).astype(np.float32), GRID)
    found = from_template_on_chi(NO_WARP, MASK, SURE, flat)[0].data
    assert _dice(found, labels.data, (12, 51)) > 0.9
    unknown = Volume(np.zeros(GRID.shape, np.float32), GRID)
    assert np.array_equal(from_template_on_chi(NO_WARP, MASK, SURE, unknown)[0].data, labels.data)


def test_nuclei_of_other_numbers_are_known_by_their_names(moved):
    labels, _, chi = moved
    numbers = [int(number) for number in np.unique(labels.data) if number]
    other = {number: 900 + place for place, number in enumerate(reversed(numbers))}
    renumbered = np.zeros_like(labels.data)
    for number, mine in other.items():
        renumbered[labels.data == number] = mine
    names = Table.of({"index": list(other.values()), "name": [name_of(number) for number in other]})
    own = from_t1w_on_chi(POSITION, labels, MASK, chi)[0].data
    found = from_t1w_on_chi(POSITION, Volume(renumbered, GRID), MASK, chi, region_names=names)[0].data
    back = np.zeros(1000, int)
    back[list(other.values())] = numbers[::-1]
    assert (own != labels.data).sum() > 500 and np.mean(back[found] == own) > 0.999
