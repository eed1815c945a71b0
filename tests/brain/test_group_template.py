"""The template of a cohort: its mean, its shape and its rounds against what is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from neuraxis.brain.group_mean import (
    Head,
    Laid,
    Template,
    judged,
    mean_of,
    measured_at,
    reshaped,
    sharpness,
    summaries,
    warped,
)
from neuraxis.brain.group_template import build, coarser, common_size, onto_mni, rigid_part, shape_of, template_grid
from neuraxis.numerics.deformation import Deformation, places_of
from neuraxis.volume import Grid, Volume

GRID = Grid.of((48, 48, 48), np.array([[2.0, 0, 0, -48], [0, 2, 0, -48], [0, 0, 2, -48], [0, 0, 0, 1]]))


def _ball(radius, grid=GRID, centre=(0, 0, 0)):
    far = np.linalg.norm(places_of(grid) - centre, axis=-1)
    inside = far < radius
    image = np.where(inside, 1 + 0.5 * np.cos(far / radius * 6), 0).astype(np.float32)
    return Head((Volume(image, grid),), Volume(inside.astype(np.float32), grid))


def _map(matrix, grid=GRID, displacement=None):
    data = np.zeros((*grid.shape, 3), np.float32) if displacement is None else displacement.astype(np.float32)
    return Deformation(np.asarray(matrix, float), Volume(data, grid))


def _affine(turn=(0, 0, 0), stretch=(1, 1, 1), shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.diag(stretch)
    matrix[:3, 3] = shift
    return matrix


def test_the_common_space_has_the_mean_size():
    maps = [_affine((10, 0, 5), (1.1, 1.0, 0.9), (3, 2, 1)), _affine((0, -20, 0), (1.3, 0.8, 1.2)), _affine((0, 0, 30), (0.9, 0.9, 0.9), (9, 0, 0))]
    logs = []
    for one in common_size(maps):
        values = np.linalg.svd(one[:3, :3], compute_uv=False)
        logs.append(np.log(values).sum())
    assert np.sum(logs) == pytest.approx(0, abs=1e-6), "volumes average to one"
    alone = common_size([maps[0]])[0]
    assert np.linalg.svd(alone[:3, :3], compute_uv=False) == pytest.approx([1, 1, 1])


def test_the_rigid_part_takes_the_middle_along():
    matrix, middle = _affine((10, 20, -5), (1.2, 0.9, 1.05), (4, 5, 6)), np.array([7.0, -3, 2])
    rigid = rigid_part(matrix, middle)
    assert rigid[:3, :3] @ rigid[:3, :3].T == pytest.approx(np.eye(3)) and np.linalg.det(rigid[:3, :3]) == pytest.approx(1)
    assert rigid[:3, :3] @ middle + rigid[:3, 3] == pytest.approx(matrix[:3, :3] @ middle + matrix[:3, 3])


def test_a_head_that_only_moved_has_no_shape_of_its_own():
    brain = Volume(_ball(30).mask.data > 0.5, GRID)
    assert np.abs(shape_of(_map(_affine((15, -8, 30), shift=(5, 6, -7))), brain)).max() < 1e-6
    own = shape_of(_map(_affine((15, -8, 30), (1.1, 1.1, 1.1), (5, 6, -7))), brain)
    here = places_of(GRID)
    assert own == pytest.approx(0.1 * (here - here[brain.data].mean(axis=0)), abs=1e-6)


def test_the_mean_counts_heads_that_cover_a_voxel():
    whole, slab = _ball(30), _ball(30)
    slab.mask.data[..., 24:] = 0
    slab.channels[0].data[...] *= 3
    mean = mean_of([Laid(whole, _map(np.eye(4))), Laid(slab, _map(np.eye(4)))], GRID)
    inside = whole.mask.data > 0
    low = inside & (slab.mask.data > 0)
    assert mean.channels[0].data[low] == pytest.approx(2 * whole.channels[0].data[low], rel=1e-5)
    high = inside & ~low
    assert mean.channels[0].data[high] == pytest.approx(whole.channels[0].data[high], rel=1e-5)
    assert set(np.unique(mean.mask.data)) == {0.0, 0.5, 1.0} and mean.brain.sum() == inside.sum()
    with pytest.raises(ValueError, match="no head"):
        mean_of([], GRID)


def test_reshaping_moves_the_template_by_the_drift():
    template = Template(_ball(20).channels, _ball(20).mask)
    drift = Volume(np.broadcast_to(np.array([4.0, 0, -6], np.float32), (*GRID.shape, 3)).copy(), GRID)
    found = reshaped(template, drift).channels[0].data
    assert found == pytest.approx(_ball(20, centre=(4, 0, -6)).channels[0].data, abs=1e-4)


def test_warping_takes_the_value_at_the_place_of_the_head():
    found = _map(_affine((0, 0, 90), shift=(2, 0, 0)))
    head = Volume(places_of(GRID)[..., 1].astype(np.float32), GRID)
    data = warped(head, found, GRID).data
    core = (slice(8, -8),) * 3
    assert data[core] == pytest.approx(places_of(GRID)[..., 0][core], abs=1e-4)


def test_a_map_keeps_its_contrast_and_its_edge_between_voxels():
    grid = Grid.of((40, 36, 30), np.array([[0.9, 0.1, 0, -18], [-0.1, 0.9, 0, -14], [0, 0, 1.5, -22], [0, 0, 0, 1.0]]))
    here = places_of(grid)

    def wave(places):
        return np.cos(places @ np.array([1.0, 0.8, 0.5]))

    known = np.linalg.norm(here, axis=-1) < 15
    chi, mask = Volume(np.where(known, 1 + wave(here), -50).astype(np.float32), grid), Volume(known.astype(np.float32), grid)
    there = here[2:-2, 2:-2, 2:-2] + 0.5 * (grid.matrix[:3, :3] @ np.ones(3))
    values, inside = measured_at(chi, mask, there)
    core = np.linalg.norm(there, axis=-1) < 12
    truth = wave(there)[core]
    assert inside[core].all() and not inside[np.linalg.norm(there, axis=-1) > 17].any()
    slope = np.dot(values[core] - 1, truth) / np.dot(truth, truth)
    assert slope == pytest.approx(1, abs=0.02), "half way between voxels linear interpolation leaves 0.78 of this wave"
    assert np.all(values[~inside] == 0) and values[inside].min() >= 0, "nothing of what lies beyond the mask"
    with pytest.raises(ValueError, match="empty"):
        measured_at(chi, Volume(0 * mask.data, grid), there)


def test_a_coarser_map_is_the_same_map():
    fine = Grid.of((40, 40, 40), np.diag([1.0, 1, 1, 1]))
    here = places_of(fine)
    bend = np.stack([np.sin(here[..., 1] / 15), np.zeros(fine.shape), 0.1 * here[..., 0]], -1)
    found = _map(_affine((5, 0, 0)), fine, bend)
    less = coarser(found)
    assert max(less.displacement.data.shape) <= 21
    inside = (slice(0, -2),) * 3
    assert np.abs(less.there(here) - found.there(here))[inside].max() < 0.02


def test_overlap_and_likeness():
    head, template = _ball(30), Template(_ball(30).channels, _ball(30).mask)
    assert judged(Laid(head, _map(np.eye(4))), template) == (pytest.approx(1), pytest.approx(1))
    overlap, likeness = judged(Laid(head, _map(_affine(shift=(15, 0, 0)))), template)
    assert 0.4 < overlap < 0.8 and likeness < 0.5
    assert judged(Laid(head, _map(_affine(shift=(300, 0, 0)))), template) == (0.0, 0.0)
    blurred = Template((Volume(np.asarray(template.channels[0].data) * 0.5 + 0.5, GRID),), template.mask)
    assert sharpness(blurred) == pytest.approx(sharpness(template), rel=1e-5), "brightness is no sharpness"


def _exact(radii, turns):
    """Lays balls onto a template as a perfect registration would: from the radius that the template's brain has now."""

    def lay_all(template, number, starts):
        own = (3 * template.brain.sum() * GRID.voxel_volume / (4 * np.pi)) ** (1 / 3)
        for name in starts:
            matrix = _affine(turns[name], (radii[name] / own,) * 3)
            head = _ball(radii[name])
            laid = Laid(head, _map(matrix))
            yield name, Laid(head, laid.map, *judged(laid, template))

    return lay_all


def test_the_template_takes_the_mean_shape():
    radii, turns = {"a": 22.0, "b": 30.0, "c": 35.0}, {"a": (0, 0, 10), "b": (0, 5, 0), "c": (-10, 0, 0)}
    said = []
    template, table, affines = build(
        {name: _affine(turns[name]) for name in radii}, lambda name: _ball(radii[name]), _exact(radii, turns), GRID, told=said.append
    )
    radius = (3 * template.brain.sum() * GRID.voxel_volume / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(29, abs=0.7), "the mean of 22, 30 and 35 mm"
    drift = table["drift"].tolist()
    assert len(said) == len(table) and drift[-1] < 0.3 < drift[0] and table["heads"].tolist() == [3] * len(table)
    assert set(affines) == set(radii)
    for name, one in affines.items():
        assert np.cbrt(np.linalg.det(one[:3, :3])) == pytest.approx(radii[name] / 29, abs=0.03)


def test_it_goes_on_where_it_was():
    radii, turns = {"a": 22.0, "b": 30.0, "c": 35.0}, {name: (0, 0, 0) for name in "abc"}
    starts = {name: np.eye(4) for name in radii}
    words = (starts, lambda name: _ball(radii[name]), _exact(radii, turns), GRID)
    kept = []
    whole, table, _ = build(*words, rounds=4, tolerance=0, keep=kept.append)
    assert [len(one.rows) for one in kept] == list(range(1, len(table) + 1))
    again, later, _ = build(*words, rounds=4, tolerance=0, progress=kept[1])
    assert np.array_equal(again.channels[0].data, whole.channels[0].data) and later["drift"].tolist() == table["drift"].tolist()


def test_a_head_that_does_not_lie_there_is_left_out():
    radii, turns = {"a": 28.0, "b": 30.0, "c": 29.0}, {name: (0, 0, 0) for name in "abc"}

    def lay_all(template, number, starts):
        for name, laid in _exact(radii, turns)(template, number, starts):
            wrong = Laid(laid.head, _map(_affine(shift=(40, 0, 0))))
            yield name, Laid(wrong.head, wrong.map, *judged(wrong, template)) if name == "c" else laid

    said = []
    _, table, _ = build({name: np.eye(4) for name in radii}, lambda name: _ball(radii[name]), lay_all, GRID, rounds=2, told=said.append)
    assert table["heads"].tolist() == [2, 2] and "c does not lie on the others" in said[0]


@pytest.mark.parametrize("knob, value", [("rounds", 0), ("tolerance", -1), ("least_overlap", 1.5)])
def test_wrong_knobs_are_refused(knob, value):
    with pytest.raises(ValueError, match=knob):
        build({"a": np.eye(4), "b": np.eye(4)}, lambda name: _ball(20), lambda *_: (), GRID, **{knob: value})
    with pytest.raises(ValueError, match="two heads"):
        build({"a": np.eye(4)}, lambda name: _ball(20), lambda *_: (), GRID)


def test_summaries_are_those_of_numpy():
    random = np.random.default_rng(3)
    stack = random.normal(1, 0.3, (7, 5, 6, 30)).astype(np.float32)
    known = random.random(stack.shape) > 0.3
    known[:, 0, 0, 0] = False
    known[:, 0, 0, 1] = np.arange(7) == 2
    found = summaries(stack, known)
    number = known.sum(axis=0)
    values = np.where(known, stack, np.nan)
    enough = number >= 2
    assert np.array_equal(found["number"], number)
    for name, function in (("mean", np.nanmean), ("median", np.nanmedian)):
        assert found[name][enough] == pytest.approx(function(values[:, enough], axis=0), rel=1e-5) and found[name][0, 0, 0] == 0
    assert found["sd"][enough] == pytest.approx(np.nanstd(values[:, enough], axis=0, ddof=1), rel=1e-4)
    assert found["sd"][0, 0, 1] == 0 == found["mean"][0, 0, 1], "one of seven is less than a quarter"


def test_the_grid_lies_around_the_brain_of_mni():
    small, large = template_grid(2.0), template_grid(2.0, 1.2)
    assert small.voxel_size == pytest.approx((2, 2, 2)) and all(b > a for a, b in zip(small.shape, large.shape, strict=True))
    middle = [np.linalg.solve(one.matrix, [0, -20, 10, 1])[:3] / one.shape for one in (small, large)]
    assert middle[0] == pytest.approx(middle[1], abs=0.03)


def test_a_head_is_laid_onto_mni():
    """The template itself, turned and shifted, is found again."""
    from neuraxis.brain import atlas

    reference = atlas.template()
    motion = _affine((4, -6, 10), (1.05, 0.97, 1.0), (6, -4, 9))
    grid = Grid.of(reference.grid.shape, motion @ reference.grid.matrix)
    image = Volume(np.asarray(reference.data), grid)
    head = Head.of(image, Volume(np.asarray(reference.data) > 0, grid), voxel=2.5)
    found = onto_mni(head)
    corners = np.array(list(itertools.product((-60, 60), (-90, 50), (-40, 60))), float)
    off = np.c_[corners, np.ones(8)] @ (found - motion).T
    assert np.linalg.norm(off[:, :3], axis=1).max() < 2.0
    assert np.median(head.channels[0].data[head.mask.data > 0]) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="empty"):
        Head.of(image, Volume(np.zeros(grid.shape, bool), grid), voxel=2.5)
