"""Every cord segmentation that needs no fetched model: known area, any grid and contrast; and what comes out of a cord."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from contracts.cord_phantom import AREA, CONTRASTS, T1, T2, VIEWS, centre, grid_of, neck
from documented import check_documented

from neuraxis.cord.segmentation import METHODS, agreed, learned, polar
from neuraxis.cord.segmentation.parts import canal, cord_mask, gray_matter, white_matter
from neuraxis.engine import Method
from neuraxis.numerics.metrics import dice, hausdorff
from neuraxis.table import Table
from neuraxis.volume import Volume

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
everywhere = pytest.mark.parametrize("view", list(VIEWS))
contrasts = pytest.mark.parametrize("contrast", list(CONTRASTS))
own = pytest.mark.parametrize("method", [polar, learned, agreed], ids=lambda one: one.__name__)
knobs = [
    pytest.param(one, knob.name, id=f"{one.__name__}-{knob.name}")
    for one in (polar, learned, agreed)
    for knob in Method.of(one).knobs
]


def rough_path(truth: Volume, off: float = 1.5) -> Table:
    """The true centres, `off` mm beside the cord's middle."""
    upright = truth.oriented()
    rows = np.flatnonzero((upright.data > 0.5).any((0, 1)))
    share = upright.data[:, :, rows]
    x, y = (np.arange(share.shape[a]) @ share.sum(1 - a) / share.sum((0, 1)) for a in (0, 1))
    size = upright.grid.voxel_size
    return Table.of({"slice": rows, "x": x + off / size[0], "y": y - off / size[1], "score": np.ones(len(rows))})


def tissues_of(truth: Volume) -> Volume:
    """Probabilities as a good net would give them: the true shares, with a false part far away."""
    share = truth.data
    far = np.zeros_like(share)
    far[:3, :3, :] = 0.9
    return Volume(np.stack([np.maximum(share, far), np.maximum(share, far), 0.3 * share], -1), truth.grid)


def run(method, image: Volume, truth: Volume, **more) -> Volume:
    path = rough_path(truth)
    return method(image, tissues_of(truth), path, **more) if method is not polar else method(image, path, **more)


@each
def test_documented(method):
    check_documented(method)


@pytest.mark.parametrize("part", [cord_mask, canal, gray_matter, white_matter], ids=lambda one: one.__name__)
def test_parts_are_documented(part):
    check_documented(part, cites=False)


@own
@everywhere
@contrasts
def test_the_cord_has_its_area_on_any_grid(method, view, contrast):
    image, truth = neck(VIEWS[view], CONTRASTS[contrast], noise=6.0)
    cord = run(method, image, truth)
    assert cord.grid.same_as(image.grid) and cord.data.dtype == np.float32
    assert cord.data.min() >= 0 and cord.data.max() <= 1
    assert dice(cord.data > 0.5, truth.data > 0.5) > 0.95
    assert hausdorff(cord.data > 0.5, truth.data > 0.5, cord.grid.voxel_size) < 1.5
    assert cord.data.sum() == pytest.approx(truth.data.sum(), rel=0.04)


@contrasts
def test_polar_area_is_that_of_the_section_within_one_and_a_half_percent(contrast):
    grid = grid_of("LAS", (0.5, 0.5, 2), (60, 60, 40))
    image, truth = neck(grid, CONTRASTS[contrast], noise=4.0)
    area = polar(image, rough_path(truth)).oriented().data.sum((0, 1)) * 0.25
    assert area.mean() == pytest.approx(AREA, rel=0.015) and (np.abs(area / AREA - 1) < 0.04).all()


@own
def test_other_voxel_axes_give_the_same_cord(method):
    image, truth = neck(VIEWS["thick LPS"], T2, noise=6.0)
    cord = run(method, image, truth)
    other = run(method, image.oriented("PIR"), truth.oriented("PIR"))
    assert np.allclose(cord.oriented().data, other.oriented().data, atol=1e-6)


@own
def test_one_slice_is_enough(method):
    image, truth = neck(grid_of("LAS", (0.7, 0.7, 5), (60, 80, 5)), T1, noise=6.0)
    assert dice(run(method, image, truth).data > 0.5, truth.data > 0.5) > 0.93


def test_polar_takes_a_cord_that_leaves_the_view():
    grid = grid_of("LAS", (1, 1, 1), (40, 60, 40))
    image, truth = neck(grid, T2, noise=4.0)
    cut = grid.matrix @ [18, 0, 0, 1] - grid.matrix @ [0, 0, 0, 1]
    moved = grid.matrix.copy()
    moved[:, 3] += cut
    part = [Volume(one.data[18:], type(grid).of(one.data[18:].shape, moved)) for one in (image, truth)]
    path = rough_path(truth, 0.0)
    path = Table.of(
        {"slice": path["slice"], "x": np.maximum(path["x"] - 18, 0), "y": path["y"], "score": path["score"]}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = polar(part[0], path)
    assert np.isfinite(found.data).all() and dice(found.data > 0.5, part[1].data > 0.5) > 0.7


def test_polar_fills_a_short_gap_and_says_so():
    image, truth = neck(VIEWS["thick LPS"], T2, noise=2.0)
    upright = image.oriented()
    data = upright.data.copy()
    data[:, :, 5] = 100.0
    with pytest.warns(UserWarning, match=r"filled.*: 5"):
        cord = polar(Volume(data, upright.grid), rough_path(truth))
    area = cord.data.sum((0, 1)) * 0.49
    assert area[5] == pytest.approx(AREA, rel=0.08)


def test_polar_finds_nothing_where_nothing_is():
    image, truth = neck(VIEWS["crop"], T2)
    with pytest.raises(ValueError, match="no outline"):
        polar(Volume(np.full_like(image.data, 5.0), image.grid), rough_path(truth))


def test_a_smaller_level_is_a_tighter_outline():
    image, truth = neck(VIEWS["isotropic LAS"], T2, noise=2.0)
    volumes = [polar(image, rough_path(truth), level=level).data.sum() for level in (0.3, 0.5, 0.7)]
    assert volumes[0] < volumes[1] < volumes[2]


@own
def test_numbers_and_inputs(method):
    image, truth = neck(VIEWS["crop"], T2, noise=6.0)
    before, path = image.data.copy(), rough_path(truth)
    kept = path["x"].copy()
    run(method, image, truth)
    assert np.array_equal(image.data, before) and np.array_equal(path["x"], kept)
    empty = path.where(np.zeros(len(path), bool))
    with pytest.raises(ValueError, match="path"):
        method(image, tissues_of(truth), empty) if method is not polar else method(image, empty)
    if method is polar:
        data = image.data.copy()
        data[0, 0, 0] = np.nan
        with pytest.raises(ValueError, match="finite"):
            polar(Volume(data, image.grid), path)


@pytest.mark.parametrize(("method", "knob"), knobs)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(method, knob, value):
    image, truth = neck(VIEWS["crop"], T2)
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        run(method, image, truth, **{knob: value})


def test_learned_leaves_out_what_does_not_follow_the_path():
    image, truth = neck(VIEWS["thick LPS"], T2)
    cord = run(learned, image, truth)
    assert np.allclose(cord.data[truth.data > 0.5], truth.data[truth.data > 0.5])
    assert not cord.data[:3, :3].any()
    with pytest.raises(ValueError, match="no cord"):
        learned(image, Volume(0 * tissues_of(truth).data, image.grid), rough_path(truth))


def test_between_two_outlines_and_none_where_they_do_not_agree():
    image, truth = neck(VIEWS["crop"], T2)
    path, upright = rough_path(truth), truth.oriented()
    other = Volume(np.roll(upright.data, 2, axis=0), upright.grid).onto(truth.grid)  # the learned one lies to the left
    traced, taught, between = (
        method(image, tissues_of(other), path) for method in (lambda i, t, p: polar(i, p), learned, agreed)
    )
    centre = [np.argwhere(one.oriented().data > 0.5)[:, 0].mean() for one in (traced, between, taught)]
    assert centre[0] + 0.5 < centre[1] < centre[2] - 0.5
    areas = [one.data.sum() for one in (traced, taught, between)]
    assert abs(areas[2] / np.mean(areas[:2]) - 1) < 0.03
    weights = [agreed(image, tissues_of(other), path, weight=w).data > 0.5 for w in (0.0, 1.0)]
    assert dice(weights[0], traced.data > 0.5) > 0.97 and dice(weights[1], taught.data > 0.5) > 0.97
    short = upright.data.copy()
    short[:, :, : short.shape[2] // 2] = 0
    with pytest.warns(UserWarning, match="agree in part only"), pytest.warns(UserWarning, match="left out"):
        cut = tissues_of(Volume(short, upright.grid).onto(truth.grid))
        half = agreed(image, cut, path, least_agreement=0.4).oriented().data
    assert not half[:, :, : short.shape[2] // 2 - 1].any() and half[:, :, short.shape[2] // 2 + 1 :].any()
    unsure = Volume(0.7 * cut.data, cut.grid)  # what it outlines has a mean probability of at most 0.7
    with pytest.raises(ValueError, match="the network is not sure of its own"):
        agreed(image, unsure, path, least_agreement=0.4)
    with pytest.warns(UserWarning, match="agree in part only"), pytest.warns(UserWarning, match="left out"):
        agreed(image, unsure, path, least_agreement=0.4, least_confidence=0.6)
    away = Volume(np.roll(upright.data, 9, axis=1), upright.grid).onto(truth.grid)
    with pytest.raises(ValueError, match="do not agree|no cord"):
        agreed(image, tissues_of(away), path)


@pytest.mark.parametrize("view", ["crop", "thick LPS"])
def test_where_the_two_do_not_agree_the_outline_is_led_from_slice_to_slice(view):
    image, truth = neck(VIEWS[view], T2)
    path, upright = rough_path(truth), truth.oriented()
    thickness = upright.grid.voxel_size[2]
    middle, half = upright.data.shape[2] // 2, round(2 / thickness)
    wrong = upright.data.copy()
    part = slice(middle - half, middle + half + 1)
    wrong[:, :, part] = np.roll(wrong[:, :, part], round(6 / upright.grid.voxel_size[0]), axis=0)
    lost = tissues_of(Volume(wrong, upright.grid).onto(truth.grid))
    with pytest.warns(UserWarning, match=r"led from the slices above and below"):
        found = agreed(image, lost, path)
    whole = agreed(image, tissues_of(truth), path).oriented().data > 0.5
    led = found.oriented().data > 0.5
    assert dice(led[:, :, part], whole[:, :, part]) > 0.9 and led.any(axis=(0, 1)).sum() == whole.any(axis=(0, 1)).sum()
    with pytest.warns(UserWarning, match=r"only the outline along edges was used"):
        kept = agreed(image, lost, path, longest_bridge=0.0).oriented().data > 0.5
    traced = polar(image, path).oriented().data > 0.5
    assert np.array_equal(kept[:, :, part], traced[:, :, part])
    with pytest.raises(ValueError, match="longest_bridge"):
        agreed(image, lost, path, longest_bridge=-1.0)


def test_the_mask_bridges_two_slices_and_no_more():
    grid = grid_of("LAS", (1, 1, 3), (20, 20, 60))
    share = np.zeros(grid.shape, np.float32)
    share[6:12, 6:12, :] = 0.8
    share[:, :, 5:7] = 0
    share[:, :, 14:17] = 0
    share[0, 0, 3] = 1
    rows = np.flatnonzero(cord_mask(Volume(share, grid)).data.any((0, 1)))
    assert rows.tolist() == [*range(5), *range(7, 14)]
    with pytest.raises(ValueError, match="empty"):
        cord_mask(Volume(0 * share, grid))


def test_parts_are_nested_and_add_up():
    image, truth = neck(VIEWS["thick LPS"], T2)
    grid = truth.grid
    x, y, z = np.moveaxis(np.stack(np.indices(grid.shape), -1) @ grid.matrix[:3, :3].T + grid.matrix[:3, 3], -1, 0)
    u, v = centre(z)
    wide = (np.hypot((x - u) / 10, (y - v) / 7.5) < 1).astype(np.float32)
    gray = (np.hypot(x - u, y - v) < 2).astype(np.float32)
    island = gray.copy()
    island[4, 4, 4] = 1  # outside the cord
    both = Volume(np.stack([truth.data, np.maximum(wide, 0), island], -1), grid)
    canal_found, gray_found = canal(both, truth), gray_matter(both, truth)
    white = white_matter(truth, gray_found)
    assert (canal_found.data >= truth.data - 1e-6).all() and dice(canal_found.data > 0.5, wide > 0.5) > 0.99
    assert (gray_found.data <= truth.data).all() and dice(gray_found.data > 0.5, gray > 0.5) > 0.99
    assert np.allclose(white.data + gray_found.data, truth.data, atol=1e-6)


def test_dice_and_hausdorff_of_two_boxes():
    one, other = np.zeros((20, 20, 10), bool), np.zeros((20, 20, 10), bool)
    one[4:10, 4:10, 2:8] = True
    other[6:12, 4:10, 2:8] = True
    assert dice(one, other) == pytest.approx(2 / 3) and dice(one & False, one & False) == 1
    assert hausdorff(one, other, (0.5, 1, 3), 100) == pytest.approx(1)  # two voxels of 0.5 mm
    assert hausdorff(one, one & False, (1, 1, 1)) == float("inf")
