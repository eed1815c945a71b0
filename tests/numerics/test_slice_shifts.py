"""In-plane shifts of slices: known ones are found again below a voxel, across contrasts and in noise."""

import numpy as np
import pytest
from cord.moving_slices import SHAPE, SIZE, around, drawn, noisy, rms, true_shifts

from neuraxis.numerics.slice_shifts import shifted, slice_shifts

STILL = np.zeros((SHAPE[2], 2))
CASES = [(amplitude, alone) for amplitude in (0.1, 1.0) for alone in (False, True)] + [(2.5, False), (2.0, True)]


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [("diffusion", "diffusion"), ("diffusion", "diffusion, along"), ("diffusion", "b0"), ("b0", "mt")],
)
def test_known_shifts_are_found_again(fixed, moving):
    for seed, (amplitude, alone) in enumerate(CASES):
        truth = true_shifts(seed, amplitude, alone=alone)
        target, image = noisy(drawn(fixed, STILL), 40, seed), noisy(drawn(moving, truth), 10, seed + 100)
        found = slice_shifts(image, target, around(), SIZE)
        assert rms(found + truth) < 0.12, (amplitude, alone)


def test_an_empty_slice_follows_its_neighbours():
    truth = np.tile([1.2, -0.8], (SHAPE[2], 1))
    image = noisy(drawn("diffusion", truth), 15, 0)
    image[..., 6] = noisy(np.zeros(SHAPE[:2]), 15, 1)
    found = slice_shifts(image, noisy(drawn("diffusion", STILL), 60, 2), around(), SIZE)
    assert np.abs(found + truth).max() < 0.6


def test_a_jump_between_slices_stays():
    truth = np.zeros((SHAPE[2], 2))
    truth[8:] = (2.0, -1.5)
    found = slice_shifts(noisy(drawn("diffusion", truth), 15, 0), noisy(drawn("diffusion", STILL), 60, 1), around(), SIZE)
    assert rms(found + truth) < 0.1


def test_what_is_found_lays_the_slices_on_each_other():
    truth = true_shifts(3, 1.0, alone=True)
    image, target = drawn("diffusion", truth), drawn("diffusion", STILL)
    back = shifted(image, slice_shifts(image, target, around(), SIZE), SIZE)
    inner = np.s_[10:-10, 8:-8]
    assert rms((back - target)[inner]) < 0.15 * rms((image - target)[inner])


def test_a_view_that_ends_near_the_cord():
    truth = np.tile([0.7, 0.5], (SHAPE[2], 1))
    cut = np.s_[20:40, 12:32]
    found = slice_shifts(drawn("diffusion", truth)[cut], drawn("diffusion", STILL)[cut], around()[cut], SIZE)
    assert rms(found + truth) < 0.15


def test_whole_pixels_are_moved_exactly():
    image = np.random.default_rng(0).random((12, 10, 3)).astype(np.float32)
    moved = shifted(image, np.array([[0.9, 0], [0, 0], [0, -1.8]]), SIZE)
    assert np.allclose(moved[1:, :, 0], image[:-1, :, 0], atol=1e-5)
    assert np.array_equal(moved[..., 1], image[..., 1])
    assert np.allclose(moved[:, :-2, 2], image[:, 2:, 2], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "what"),
    [({"smoothness": 0.0}, "greater than 0"), ({"reach": -1.0}, "greater than 0"), ({"weights": np.zeros(SHAPE)}, "no voxel"),
     ({"fixed": np.zeros((3, 3, 3))}, "one 3-D shape")],
)  # fmt: skip
def test_what_cannot_be_is_said(change, what):
    image = drawn("b0", STILL)
    with pytest.raises(ValueError, match=what):
        slice_shifts(image, **{"fixed": image, "weights": around(), "voxel_size": SIZE, **change})
