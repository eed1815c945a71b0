"""Every method that finds the path of the cord: any contrast, orientation and voxel; no cord, no path."""

from __future__ import annotations

import numpy as np
import pytest
from contracts.cord_phantom import CONTRASTS, T2, VIEWS, grid_of, neck, path_error
from documented import check_documented

from neuraxis.cord import path as family
from neuraxis.engine import Method
from neuraxis.volume import Volume

METHODS = [
    one for one in family.METHODS if Method.of(one).needs[0].name == "image"
]  # not those that take a cord that is known
each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
everywhere = pytest.mark.parametrize("view", list(VIEWS))
contrasts = pytest.mark.parametrize("contrast", list(CONTRASTS))
knobs = [
    pytest.param(one, knob.name, id=f"{one.__name__}-{knob.name}") for one in METHODS for knob in Method.of(one).knobs
]


@each
def test_documented(method):
    check_documented(method)


@each
@everywhere
@contrasts
def test_the_path_follows_the_cord(method, view, contrast):
    image, truth = neck(VIEWS[view], CONTRASTS[contrast], noise=8.0)
    path = method(image)
    mean, largest = path_error(path, truth)
    assert mean < 1.5 and largest < 4
    assert len(path) == image.oriented().data.shape[2]
    assert (np.diff(path["slice"]) == 1).all() and ((path["score"] >= 0) & (path["score"] <= 1)).all()


@each
def test_other_voxel_axes_give_the_same_path(method):
    image, _ = neck(VIEWS["sagittal PSR"], T2, noise=8.0)
    one, other = method(image), method(image.oriented("RAI"))
    assert all(np.array_equal(one[name], other[name]) for name in ("slice", "x", "y", "score"))


@each
@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_unit_of_the_image_does_not_matter(method, scale):
    image, _ = neck(VIEWS["crop"], T2, noise=8.0)
    one, other = method(image), method(Volume(image.data * np.float32(scale), image.grid))
    assert np.allclose(one["x"], other["x"], atol=0.1) and np.allclose(one["y"], other["y"], atol=0.1)


@each
def test_one_slice_is_enough(method):
    image, truth = neck(grid_of("LAS", (0.7, 0.7, 5), (100, 120, 5)), T2, noise=8.0)
    path = method(image)
    assert len(path) == 1 and path_error(path, truth)[1] < 2


@each
def test_slices_without_signal_at_the_ends_are_left_off(method):
    image, truth = neck(VIEWS["isotropic LAS"], T2, noise=2.0)
    data = image.data.copy()
    data[:, :, :20] = np.abs(np.random.default_rng(1).normal(size=(*data.shape[:2], 20)))
    path = method(Volume(data, image.grid))
    assert 8 <= path["slice"][0] <= 26 and path["slice"][-1] == data.shape[2] - 1


@each
@pytest.mark.parametrize("shape", [(60, 60, 40), (120, 120, 10), (40, 40, 1)])
def test_noise_holds_no_cord(method, shape):
    numbers = 100 + 20 * np.random.default_rng(0).normal(size=shape)
    grid = grid_of("LAS", (1, 1, 3), (shape[0], shape[1], 3 * shape[2]))
    with pytest.raises(ValueError, match="no cord"):
        method(Volume(numbers.astype(np.float32), grid))


@each
def test_an_empty_image_holds_no_cord(method):
    image, _ = neck(VIEWS["crop"], T2)
    for value in (0.0, 7.0):
        with pytest.raises(ValueError, match="no cord"):
            method(Volume(np.full_like(image.data, value), image.grid))


@each
def test_numbers_that_are_not_finite_are_refused(method):
    image, _ = neck(VIEWS["crop"], T2)
    data = image.data.copy()
    data[3, 3, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        method(Volume(data, image.grid))


@each
def test_inputs_are_not_changed(method):
    image, _ = neck(VIEWS["crop"], T2, noise=8.0)
    before = image.data.copy()
    method(image)
    assert np.array_equal(image.data, before)


@pytest.mark.parametrize(("method", "knob"), knobs)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(method, knob, value):
    image, _ = neck(VIEWS["crop"], T2)
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        method(image, **{knob: value})
