"""The learned regions: what is made of the network's opinion and the atlas'."""

import numpy as np
import pytest
from documented import check_documented

from neuraxis.brain import atlas, learned
from neuraxis.brain.head import working_grid
from neuraxis.brain.labels import from_template
from neuraxis.brain.regions import STRUCTURES
from neuraxis.numerics import nets
from neuraxis.numerics.deformation import moved, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

SURE, DOUBTED = Table.of({"trusted": [1]}), Table.of({"trusted": [0]})
KNOWN = [one for one in STRUCTURES if one.name in ("caudate", "thalamus", "cerebral white matter", "brain stem")]
MEANING = nets.Classes(("background", *(one.name for one in KNOWN)), tuple(range(len(KNOWN) + 1)), False)
TURN = np.linalg.qr(np.array([[1, 0.15, -0.1], [-0.15, 1, 0.2], [0.1, -0.2, 1]]))[0]
MOTION = np.eye(4)
MOTION[:3, :3] = TURN * np.sign(np.diag(TURN))
MOTION[:3, 3] = 4, -7, 5
FALSE = (28.0, -20.0, 32.0)
"""A place in the white matter where the network thinks rather of the caudate; in the template, mm."""


def opinion(grid: Grid) -> np.ndarray:
    """As the atlas, left and right as one, but for a second caudate in the white matter."""
    there = moved(MOTION, places_of(grid))
    shares = [sum(sampled(atlas.probability(number), there) for number in {one.left, one.right}) for one in KNOWN]
    stray = ((there - FALSE) ** 2).sum(-1) < 8**2
    thought = {"caudate": 0.6, "cerebral white matter": 0.4}
    shares = [np.where(stray, thought.get(one.name, 0.0), share) for one, share in zip(KNOWN, shares, strict=True)]
    rest = np.clip(1 - np.sum(shares, axis=0), 0, 1)
    return np.stack([rest, *shares], -1).astype(np.float32)


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(learned, "_EDGE", 3.0)  # as fine as the image of these tests
    monkeypatch.setattr(learned.resources, "find", lambda name: name)
    monkeypatch.setattr(learned.nets, "classes", lambda model: MEANING)
    monkeypatch.setattr(learned.nets, "predict", lambda volume, model, **more: Volume(opinion(volume.grid), volume.grid))


def head(codes: str) -> tuple[Volume, Volume, Volume]:
    """Image, brain and warp of a head that lies turned in the scanner."""
    reference = atlas.template()
    whole = working_grid(Volume(reference.data > 0, reference.grid), 3.0)
    grid = Volume(np.zeros(whole.shape, np.float32), whole).oriented(codes).grid
    grid = Grid.of(grid.shape, np.linalg.inv(MOTION) @ grid.matrix)
    inside = sampled(Volume((reference.data > 0).astype(np.float32), reference.grid), moved(MOTION, places_of(grid))) > 0.5
    wide = working_grid(Volume(inside, grid), 4.0)
    here = places_of(wide)
    return Volume(np.ones(grid.shape, np.float32), grid), Volume(inside, grid), Volume((moved(MOTION, here) - here).astype(np.float32), wide)


@pytest.mark.parametrize("method", [learned.learned, learned.t1w_learned], ids=lambda one: one.__name__)
def test_documented(method):
    check_documented(method)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
def test_left_is_left_whatever_the_axes(network, codes):
    image, mask, warp = head(codes)
    found, chance, trust = learned.learned(image, mask, warp, SURE)
    wanted = from_template(warp, mask, SURE)[0]
    assert found.grid.same_as(mask.grid) and not found.data[~mask.data].any() and trust["trusted"].tolist() == [1]
    assert 0 < chance.data.max() <= 1 and not chance.data[found.data == 0].any()
    for number in (11, 50, 10, 49, 16):
        a, b = found.data == number, wanted.data == number
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.75, number
    x = [moved(MOTION, places_of(mask.grid))[found.data == number][:, 0].mean() for number in (11, 50)]
    assert x[0] < -5 and x[1] > 5


def test_the_atlas_speaks_where_the_network_is_not_sure(network):
    image, mask, warp = head("RAS")
    stray = (((moved(MOTION, places_of(mask.grid)) - FALSE) ** 2).sum(-1) < 5**2) & mask.data
    alone, sure, _ = learned.learned(image, mask, warp, SURE, atlas_weight=0.0)
    assert stray.sum() > 5 and (alone.data[stray] == 50).all(), "x is positive there: the right one"
    assert sure.data[stray] == pytest.approx(0.6, abs=0.05)
    both = learned.learned(image, mask, warp, SURE, atlas_weight=1.0)[0]
    assert (both.data[stray] == 41).all()


def test_doubts_and_knobs(network):
    image, mask, warp = head("RAS")
    assert "template" in learned.t1w_learned(image, mask, warp, DOUBTED)[2]["why"][0]
    with pytest.raises(ValueError, match="atlas_weight"):
        learned.learned(image, mask, warp, SURE, atlas_weight=-1)
    with pytest.raises(ValueError, match="mask of the brain is empty"):
        learned.learned(image, Volume(np.zeros_like(mask.data), mask.grid), warp, SURE)
