"""Labels carried by known maps, on grids of any orientation."""

import numpy as np
import pytest
from documented import check_documented

from neuraxis.brain import atlas, labels, t1w, template_registration
from neuraxis.brain.head import overlap, working_grid
from neuraxis.brain.labels import from_t1w, from_template, t1w_from_template
from neuraxis.brain.regions import STRUCTURES
from neuraxis.numerics.deformation import places_of
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

SURE, DOUBTED = Table.of({"trusted": [1]}), Table.of({"trusted": [0]})
TURN = np.linalg.qr(np.array([[1, 0.15, -0.1], [-0.15, 1, 0.2], [0.1, -0.2, 1]]))[0]
TURN *= np.sign(np.diag(TURN))


def _grid(codes: str, edge: float = 3.0) -> Grid:
    """Over the whole template, in any order of axes."""
    reference = atlas.template()
    whole = working_grid(Volume(reference.data > 0, reference.grid), edge)
    return Volume(np.zeros(whole.shape, np.float32), whole).oriented(codes).grid


def _turned(grid: Grid) -> tuple[Grid, np.ndarray]:
    """The same head lying turned in the scanner, and the motion back to the template."""
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = TURN, [4.0, -7.0, 5.0]
    return Grid.of(grid.shape, np.linalg.inv(motion) @ grid.matrix), motion


def _warp(grid: Grid, motion: np.ndarray) -> Volume:
    here = places_of(grid)
    return Volume((here @ motion[:3, :3].T + motion[:3, 3] - here).astype(np.float32), grid)


@pytest.mark.parametrize("method", [from_template, t1w_from_template, from_t1w, template_registration.t1w_to_template,
                                    template_registration.gre_to_template, t1w.t1w_position], ids=lambda one: one.__name__)  # fmt: skip
def test_documented(method):
    check_documented(method)


def test_the_atlas_is_whole():
    grid, names = atlas.template().grid, atlas.numbers()
    known = {n for one in STRUCTURES for n in (one.left, one.right)}
    assert set(names) <= known and {11, 50, 12, 51, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 10, 49} <= set(names)
    assert max(abs(n) for n in np.array(grid.voxel_size) - 1) < 1e-6
    for one in STRUCTURES:
        if one.paired and one.left in names:
            left, right = atlas.probability(one.left), atlas.probability(one.right)
            assert 0 < left.data.max() <= 1.005
            x = [float(np.average(places_of(v.grid)[..., 0], weights=v.data)) for v in (left, right)]
            assert x[0] < 0 < x[1], one.name  # the patient's left has negative x
            assert 0.8 < left.data.sum() / right.data.sum() < 1.25, one.name


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
def test_labels_lie_where_the_map_says_whatever_the_axes(codes):
    grid, motion = _turned(_grid(codes))
    inside = np.ones(grid.shape, bool)
    found, chance, trust = from_template(_warp(working_grid(Volume(inside, grid), 4.0), motion), Volume(inside, grid), SURE)
    assert trust["trusted"].tolist() == [1] and found.grid.same_as(grid) and 0 < chance.data.max() <= 1
    for number in (11, 51, 16):
        share = atlas.probability(number)
        middle = np.average(places_of(share.grid).reshape(-1, 3), axis=0, weights=share.data.ravel())
        wanted = np.linalg.inv(motion) @ np.append(middle, 1)
        mine = places_of(grid)[found.data == number].mean(axis=0)
        assert np.linalg.norm(mine - wanted[:3]) < 1.5, number
        size = (found.data == number).sum() * grid.voxel_volume / share.data.sum()
        assert 0.8 < size < 1.25, number
    none = np.zeros(grid.shape, bool)
    none[0, 0, 0] = True
    with pytest.raises(ValueError, match="no region"):
        from_template(_warp(working_grid(Volume(inside, grid), 4.0), motion), Volume(none, grid), SURE)


@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_the_labels_of_another_atlas_lie_where_the_map_says(codes):
    grid, motion = _turned(_grid(codes))
    inside = np.ones(grid.shape, bool)
    own = _grid("LPS", 2.0)
    spots = {3001: (-30.0, -10.0, 20.0), 7: (25.0, 20.0, -5.0)}
    data = np.zeros(own.shape, np.int16)
    for number, place in spots.items():
        data[((places_of(own) - place) ** 2).sum(-1) < 9**2] = number
    warp = _warp(working_grid(Volume(inside, grid), 4.0), motion)
    found, chance, _ = from_template(warp, Volume(inside, grid), SURE, Volume(data, own), least_probability=0.5)
    assert set(np.unique(found.data)) == {0, *spots} and chance.data.max() == pytest.approx(1, abs=1e-5)
    for number, place in spots.items():
        wanted = (np.linalg.inv(motion) @ np.append(place, 1))[:3]
        assert np.linalg.norm(places_of(grid)[found.data == number].mean(axis=0) - wanted) < 0.7
        assert (found.data == number).sum() * grid.voxel_volume == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.08)


def test_labels_of_the_t1w_move_with_the_head_and_doubts_with_them():
    grid = _grid("LPS", 2.0)
    away = (places_of(grid) - [-25.0, 4.0, 1.0]) / [9.0, 14.0, 8.0]
    regions = Volume(np.where((away**2).sum(-1) < 1, 12, 0).astype(np.int16), grid)
    here, motion = _turned(_grid("RAS", 3.0))
    position = Table.of({name: motion[:, n] for n, name in enumerate(("x", "y", "z", "shift"))} | {"overlap": [1.0] * 4, "trusted": [1] * 4})
    mask = Volume(np.ones(here.shape, bool), here)
    found, chance, trust = from_t1w(position, regions, mask, least_probability=0.5)
    back = np.linalg.inv(motion)
    wanted = places_of(grid)[regions.data == 12].mean(axis=0) @ back[:3, :3].T + back[:3, 3]
    assert np.linalg.norm(places_of(here)[found.data == 12].mean(axis=0) - wanted) < 0.2 and trust["trusted"].tolist() == [1]
    assert 0.85 < (found.data == 12).sum() * here.voxel_volume / ((regions.data == 12).sum() * grid.voxel_volume) < 1.2
    half = Volume(np.full(grid.shape, 0.8, np.float32), grid)
    _, less, doubted = from_t1w(position, regions, mask, half, Table.of({"trusted": [0], "why": ["why not"]}))
    assert less.data.max() == pytest.approx(0.8, abs=1e-5) and doubted["why"].tolist() == ["why not"]


def test_a_doubtful_registration_is_passed_on():
    grid = _grid("RAS", 4.0)
    warp = Volume(np.zeros((*grid.shape, 3), np.float32), grid)
    trust = from_template(warp, Volume(np.ones(grid.shape, bool), grid), DOUBTED)[2]
    assert trust["trusted"].tolist() == [0] and "template" in trust["why"][0]


def test_the_template_takes_the_contrast_of_an_image():
    reference = atlas.template()
    truth = {11: 30.0, 12: 40.0, 2: 90.0, 41: 95.0, 16: 70.0}
    names = atlas._slots()[0][..., 0]
    image = np.zeros(reference.data.shape, np.float32)
    for number, value in truth.items():
        image[names == number] = value
    (found,) = atlas.in_the_contrast_of([image])
    for number, value in truth.items():
        sure = (names == number) & (atlas._slots()[1][..., 0] > 190)
        assert np.median(found[sure]) == pytest.approx(value, rel=0.06)


def test_fluid_that_lies_on_the_caudate_by_error_does_not_count():
    """Large ventricles reach over two thirds of the place where the caudate is expected."""
    names = atlas._slots()[0][..., 0]
    random = np.random.default_rng(2)
    values = {4: (95.0, 0.0), 43: (95.0, 0.0), 11: (70.0, 0.06), 50: (70.0, 0.06), 2: (72.0, -0.03), 41: (72.0, -0.03)}
    images = [np.zeros(names.shape, np.float32) for _ in range(2)]
    for number, of in values.items():
        for image, value in zip(images, of, strict=True):
            image[names == number] = value
    wet = np.isin(names, (11, 50)) & (random.random(names.shape) < 2 / 3)
    for image, value, noise in zip(images, values[4], (1.0, 0.005), strict=True):
        image[wet] = value
        image[image != 0] += noise * random.standard_normal(int((image != 0).sum())).astype(np.float32)
    images[1] += np.float32(1e-6)
    magnitude, chi = atlas.in_the_contrast_of(images)
    sure = np.isin(names, (11, 50)) & (atlas._slots()[1][..., 0] > 190)
    assert np.median(magnitude[sure]) == pytest.approx(70, abs=2) and np.median(chi[sure]) == pytest.approx(0.06, abs=0.01)
    ventricle = np.isin(names, (4, 43)) & (atlas._slots()[1][..., 0] > 190)
    assert np.median(magnitude[ventricle]) == pytest.approx(95, abs=1)
    drowned = [np.where(np.isin(names, (11, 50)), np.float32(of), image) for image, of in zip(images, values[4], strict=True)]
    assert np.median(atlas.in_the_contrast_of(drowned)[0][sure]) == pytest.approx(95, abs=3), "all that is there is believed"


def test_wrong_knobs_are_refused():
    grid = _grid("RAS", 8.0)
    mask, warp = Volume(np.ones(grid.shape, bool), grid), Volume(np.zeros((*grid.shape, 3), np.float32), grid)
    with pytest.raises(ValueError, match="least_probability"):
        from_template(warp, mask, SURE, least_probability=2.0)
    image = Volume(np.ones(grid.shape, np.float32), grid)
    for knob, value in (("iterations", ()), ("update_smoothing", 0.0), ("smoothing", -1.0), ("least_overlap", 1.1)):
        with pytest.raises(ValueError, match=knob):
            template_registration.t1w_to_template(image, mask, **{knob: value})
    with pytest.raises(ValueError, match="empty"):
        template_registration.gre_to_template(image, Volume(np.zeros(grid.shape, bool), grid))
    with pytest.raises(ValueError, match="least_overlap"):
        t1w.t1w_position(image, mask, image, mask, least_overlap=-1.0)
    assert overlap(mask.data, mask.data, mask.data) == 1.0 and labels.check_probability(0.5) is None
