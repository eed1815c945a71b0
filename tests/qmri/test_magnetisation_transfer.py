"""Magnetisation transfer: MTR, MTsat and T1 against the signal equation and against the Spinal Cord Toolbox; slices laid on each other."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest
from conftest import SHARED
from cord.moving_slices import SHAPE, SIZE, drawn, noisy, rms, true_shifts

from neuraxis.cord.centerline.linear import linear
from neuraxis.qmri.magnetisation_transfer.alignment import (
    around,
    likeness,
    mt_off_as_it_is,
    mt_off_by_slice,
    t1w_by_slice,
)
from neuraxis.qmri.magnetisation_transfer.ratio import mtr
from neuraxis.qmri.magnetisation_transfer.saturation import b1_on_image, mtsat
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

MT = SHARED / "cord/sct-testing/mt"


def protocol(times=(0.030, 0.030, 0.015), degrees=(9, 9, 15)) -> Table:
    return Table.of({"image": ["mt_on", "mt_off", "t1w"], "repetition_time": times, "flip_angle": np.radians(degrees)})


def volume(name: str) -> Volume:
    image = nibabel.load(MT / f"{name}.nii.gz")
    data = np.asarray(image.dataobj, np.float32)
    return Volume(data, Grid.of(data.shape, image.affine))


def gradient_echo(t1, time, degrees, amplitude=1000.0, taken=0.0):
    """Steady state of a spoiled gradient echo whose saturation pulse takes a share of the magnetisation in every repetition."""
    left, angle = np.exp(-time / t1), np.radians(degrees)
    return amplitude * np.sin(angle) * (1 - left) / (1 - (1 - taken) * np.cos(angle) * left)


def small_angle(t1, time, angle, amplitude=1000.0, taken=0.0):
    """The same for small angles (rad) and times: the rational approximation."""
    return amplitude * angle * time / t1 / (time / t1 + angle**2 / 2 + taken)


# the ratio


def test_the_ratio_is_the_share_that_is_lost():
    off = np.array([20.0, 20, 50, 0, 5])
    on = np.array([10.0, 30, 50, 3, 0])
    assert np.allclose(mtr(on, off), [50, -50, 0, 0, 100])
    assert np.allclose(mtr(np.array([50.0]), np.array([10.0])), -100) and np.allclose(
        mtr(np.array([50.0]), np.array([10.0]), largest=2000), -400
    )


def test_images_that_are_exchanged_are_told_and_zero_denominators_too():
    cord = np.ones(4)
    on, off = np.array([5.0, 5, 5, 5]), np.array([10.0, 10, 10, 10])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mtr(on, off, cord)
    with pytest.warns(UserWarning, match="exchanged"):
        assert mtr(off, on, cord)[0] == -100
    with pytest.warns(UserWarning, match="zero in 25 % of the cord"):
        assert mtr(on, off * [0, 1, 1, 1], cord)[0] == 0
    with pytest.raises(ValueError, match="nowhere above zero"):
        mtr(on, np.zeros(4))
    with pytest.raises(ValueError, match="largest"):
        mtr(on, off, largest=0)


@pytest.mark.shared
def test_the_ratio_is_that_of_the_spinal_cord_toolbox():
    """Its file was made without a guard against zero: only where the MT-off image is above zero can both be compared."""
    off, on, golden = (volume(name).data for name in ("mt0_reg_slicereg_goldstandard", "mt1", "mtr"))
    known = off != 0
    assert np.isinf(golden[~known]).all() and np.isfinite(golden[known]).all()
    made = mtr(on, np.abs(off), largest=2000)[known]
    positive = off[known] > 0
    assert np.abs(made - golden[known])[positive].max() < 1e-3 and positive.mean() > 0.99


# saturation and T1


def test_saturation_and_t1_are_those_of_the_spinal_cord_toolbox_s_own_test():
    saturation, t1 = mtsat(*(np.array([value]) for value in (1500.0, 2000.0, 1500.0)), protocol())
    assert saturation[0] == pytest.approx(1.5327, abs=1e-4) and t1[0] == pytest.approx(0.8916, abs=1e-4)


@pytest.mark.shared
def test_saturation_and_t1_are_those_of_the_spinal_cord_toolbox():
    saturation, t1 = mtsat(volume("mt1").data, volume("mt0").data, volume("t1w").data, protocol())
    assert saturation.mean(dtype=float) == pytest.approx(1.952603, abs=5e-6)
    assert t1.mean(dtype=float) == pytest.approx(1.193746, abs=5e-6)


T1, TAKEN = np.array([0.7, 0.9, 1.2, 2.0]), np.array([0.0, 0.01, 0.03, 0.05])


def test_what_the_small_angle_signal_was_made_of_comes_back():
    table = protocol((0.032, 0.030, 0.015), (7, 9, 15))
    times, angles = table["repetition_time"], table["flip_angle"]
    on = small_angle(T1, times[0], angles[0], taken=TAKEN)
    off, t1w = (small_angle(T1, times[n], angles[n]) for n in (1, 2))
    saturation, t1 = mtsat(on, off, t1w, table)
    assert np.allclose(t1, T1, rtol=1e-5) and np.allclose(saturation, 100 * TAKEN, atol=1e-4)
    again, same = mtsat(7.3 * on, 7.3 * off, 7.3 * t1w, table)  # the receiving coils fall out
    assert np.allclose(again, saturation, atol=1e-4) and np.allclose(same, t1, rtol=1e-5)


def test_the_full_steady_state_comes_back_within_the_small_angle_s_error():
    on = gradient_echo(T1, 0.035, 9, taken=TAKEN)
    off, t1w = gradient_echo(T1, 0.035, 9), gradient_echo(T1, 0.015, 15)
    saturation, t1 = mtsat(on, off, t1w, protocol((0.035, 0.035, 0.015)))
    assert np.allclose(t1, T1, rtol=0.03) and np.allclose(saturation, 100 * TAKEN, rtol=0.04, atol=0.02)


@pytest.mark.parametrize("b1", [0.8, 1.0, 1.25])
def test_the_transmitted_field_is_taken_out(b1):
    """Angles scale with B1; the pulse takes B1^2 (1 - 0.4 B1) / (1 - 0.4) of what it takes at the nominal one."""
    table, c = protocol(), 0.4
    times, angles = table["repetition_time"], table["flip_angle"] * b1
    taken = TAKEN * b1**2 * (1 - c * b1) / (1 - c)
    on = small_angle(T1, times[0], angles[0], taken=taken)
    off, t1w = (small_angle(T1, times[n], angles[n]) for n in (1, 2))
    field = np.full(T1.shape, b1)
    saturation, t1 = mtsat(on, off, t1w, table, field)
    assert np.allclose(t1, T1, rtol=1e-5) and np.allclose(saturation, 100 * TAKEN, atol=1e-4)
    field[0] = 0
    saturation, t1 = mtsat(on, off, t1w, table, field)
    assert t1[0] == 0 and saturation[0] == 0 and (t1[1:] > 0).all()


def test_what_cannot_be_known_is_zero_and_finite():
    on, off, t1w = np.array([0.0, 5, 5, 0, 9]), np.array([0.0, 0, 5, 9, 9]), np.array([0.0, 5, 0, 9, 90])
    for made in mtsat(on, off, t1w, protocol()):
        assert np.isfinite(made).all()
    saturation, t1 = mtsat(on, off, t1w, protocol())
    assert saturation[0] == saturation[3] == 0 and t1[4] == 0 and (t1 >= 0).all()


def test_a_protocol_that_does_not_fit_is_refused():
    one = np.array([1.0])
    with pytest.raises(ValueError, match="no more T1 weighting"):
        mtsat(one, one, one, protocol(degrees=(9, 15, 9), times=(0.03, 0.015, 0.03)))
    with pytest.warns(UserWarning, match="not small"):
        mtsat(one, one, one, protocol(degrees=(9, 9, 40)))
    for wrong in ({"b1_dependence": 1.0}, {"least_r1": 0}, {"largest": -1}):
        with pytest.raises(ValueError):
            mtsat(one, one, one, protocol(), **wrong)


# B1


def test_a_coarse_b1_map_is_brought_onto_the_image():
    fine = Grid.of((20, 20, 8), np.diag([1, 1, 2, 1.0]))
    coarse = np.diag([4, 4, 4, 1.0])
    coarse[:3, 3] = (-6, -6, -4)
    place = np.indices((9, 9, 7)).reshape(3, -1).T @ coarse[:3, :3] + coarse[:3, 3]
    field = (0.9 + 0.01 * place[:, 0] - 0.005 * place[:, 2]).reshape(9, 9, 7)
    cord = Volume(np.ones(fine.shape), fine)
    made = b1_on_image(Volume(field, Grid.of(field.shape, coarse)), cord, cord)
    x, _, z = np.indices(fine.shape)
    assert np.allclose(made.data, 0.9 + 0.01 * x - 0.005 * 2 * z, atol=1e-5) and made.grid is fine


def test_a_b1_map_of_another_place_is_told():
    grid = Grid.of((10, 10, 10), np.diag([2, 2, 2, 1.0]))
    cord = Volume(np.ones(grid.shape), grid)
    moved = np.diag([2, 2, 2, 1.0])
    moved[0, 3] = 4
    with pytest.warns(UserWarning, match="covers 80 % of the cord"):
        assert (b1_on_image(Volume(np.ones((10, 10, 10)), Grid.of((10, 10, 10), moved)), cord, cord).data[:2] == 0).all()
    moved[0, 3] = 100
    with pytest.raises(ValueError, match="covers 0 % of the cord"):
        b1_on_image(Volume(np.ones((10, 10, 10)), Grid.of((10, 10, 10), moved)), cord, cord)


def lattice(shift: float) -> tuple[Grid, Grid]:
    """Two grids of 2 mm voxels, the second shifted along the first axis by a part of a voxel."""
    moved = np.diag([2, 2, 2, 1.0])
    moved[0, 3] = 2 * shift
    return Grid.of((10, 6, 6), np.diag([2, 2, 2, 1.0])), Grid.of((10, 6, 6), moved)


def test_what_is_not_known_of_b1_is_not_mixed_in():
    """Half a voxel off: a place between one voxel that is known and one that is not would have half of B1."""
    image, moved = lattice(0.5)
    field = np.full(image.shape, 0.9)
    field[:3] = 0
    cord = Volume(np.ones(image.shape), image)
    with pytest.warns(UserWarning, match="covers 60 % of the cord"):  # 4 to 9 of 10 lie between two that are known
        made = b1_on_image(Volume(field, moved), cord, cord).data
    assert (made[:4] == 0).all() and np.allclose(made[4:], 0.9)


@pytest.mark.parametrize("shift", [0.25, 0.5, 0.75])
def test_b1_is_its_own_value_or_not_known_wherever_the_map_has_holes(shift):
    image, moved = lattice(shift)
    field = np.where(np.random.default_rng(0).uniform(size=image.shape) < 0.95, 1.1, 0)
    made = b1_on_image(Volume(field, moved), Volume(field, image), Volume(np.zeros(image.shape), image)).data
    assert (made > 0).mean() > 0.5 and np.allclose(made[made > 0], 1.1)


def test_the_edge_of_b1_does_not_count_as_covered():
    image, moved = lattice(0.5)
    field = np.zeros(image.shape)
    field[4] = 0.9  # one voxel thick: no place lies between two that are known
    cord = np.zeros(image.shape)
    cord[4:6] = 1
    with pytest.raises(ValueError, match="covers 0 % of the cord"):
        b1_on_image(Volume(field, moved), Volume(cord, image), Volume(cord, image))


@pytest.mark.parametrize("value", [0.2, 2.5])
def test_a_b1_that_no_body_has_is_told(value):
    image, _ = lattice(0)
    cord = Volume(np.ones(image.shape), image)
    field = np.ones(image.shape)
    field[:2] = value
    with pytest.warns(UserWarning, match="below 0.3 or above 2 of its nominal value in 20 % of the cord"):
        b1_on_image(Volume(field, image), cord, cord)
    field[:6] = value
    with pytest.raises(ValueError, match=f"in 60 % of the cord .median {value}"):
        b1_on_image(Volume(field, image), cord, cord)


# slices laid on each other


GOLDEN = np.array([(1.00439, -0.15176), (1.04646, -0.62118), (0.90495, -0.86216), (0.78473, -0.89310), (0.89065, -0.73239)])
"""Shifts (mm) of the Spinal Cord Toolbox's file."""
TODAY = np.array([(1.099, -0.031), (1.028, -0.608), (0.968, -0.861), (0.917, -0.839), (0.875, -0.588)])
"""Those of its version 7.2; up to 0.13 mm away from its file."""


@pytest.mark.shared
def test_slices_are_moved_as_the_spinal_cord_toolbox_moves_them():
    """ITK's translation is of the place where the value is found (LPS): content goes to the other side, and to the front for -y."""
    on, off = volume("mt1"), volume("mt0")
    made, table = mt_off_by_slice(on, off, linear(volume("mt1_seg")))
    found = np.column_stack([-table["shift_left"], table["shift_front"]])
    assert np.abs(found - TODAY).max() < 0.13 and np.abs(found - GOLDEN).max() < 0.13 + 0.13
    assert (table["likeness"] > table["likeness_before"] + 0.05).all() and made.grid is on.grid


def moved_pair(codes="LAS"):
    """A cord in fluid with saturation and without, of which the second is moved by what is known; its centerline; the shifts."""
    shifts = true_shifts(3, 0.8, alone=False)
    grid = Grid.of(SHAPE, np.diag([-SIZE[0], SIZE[1], SIZE[2], 1]))
    on, off = noisy(drawn("mt", 0 * shifts), 30, 1), noisy(drawn("b0", shifts), 30, 2)
    middle = np.full(SHAPE[2], 0.5)
    line = Table.of({"slice": np.arange(SHAPE[2]), "x": middle * (SHAPE[0] - 1), "y": middle * (SHAPE[1] - 1)})
    fixed, moving = (Volume(one, grid).oriented(codes) for one in (on, off))
    return fixed, moving, line, shifts


@pytest.mark.parametrize("codes", ["LAS", "PSR"])
def test_known_shifts_are_found_whatever_the_order_of_the_axes(codes):
    fixed, moving, line, shifts = moved_pair(codes)
    made, table = mt_off_by_slice(fixed, moving, line)
    found = np.column_stack([table["shift_left"], table["shift_front"]])
    assert rms(found + shifts) < 0.06
    assert made.grid.same_as(fixed.grid)
    assert moving.data.min() <= made.data.min() and made.data.max() <= moving.data.max()
    same, _ = t1w_by_slice(fixed, moving, line)
    assert np.array_equal(same.data, made.data)


def test_what_does_not_move_stays_and_as_it_is_means_that():
    fixed, moving, line, _ = moved_pair()
    _, table = mt_off_by_slice(fixed, Volume(fixed.data * 2 + 0.1, fixed.grid), line)
    assert np.abs(table["shift_left"]).max() < 0.04 and np.abs(table["shift_front"]).max() < 0.04
    same, still = mt_off_as_it_is(fixed, moving, line)
    assert same is moving and not still["shift_left"].any() and np.array_equal(still["likeness"], still["likeness_before"])


def test_one_slice_is_enough():
    fixed, moving, line, shifts = moved_pair()
    one, other = (Volume(v.data[..., 4:5], Grid.of((*v.grid.shape[:2], 1), v.grid.matrix)) for v in (fixed, moving))
    _, table = mt_off_by_slice(one, other, Table.of({"slice": [0], "x": [29.5], "y": [21.5]}))
    assert abs(table["shift_left"][0] + shifts[4, 0]) < 0.1 and abs(table["shift_front"][0] + shifts[4, 1]) < 0.1


def test_the_soft_mask_follows_the_cord():
    line = Table.of({"slice": [2, 0], "x": [10.0, 20.0], "y": [5.0, 5.0]})
    mask = around(line, (30, 12, 4), (1, 1, 5), 3.0)
    assert [int(mask[:, 5, z].argmax()) for z in range(4)] == [20, 15, 10, 10] and mask.max() == 1
    assert mask[28, 5, 0] == 0 and mask[23, 5, 0] == pytest.approx(np.exp(-0.5))


def test_likeness_is_the_weighted_correlation():
    rng = np.random.default_rng(1)
    one, other, weights = rng.normal(size=(3, 40, 30, 2))
    weights = weights**2
    expected = [np.cov(one[..., z].ravel(), other[..., z].ravel(), aweights=weights[..., z].ravel()) for z in range(2)]
    assert np.allclose(likeness(one, other, weights), [c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) for c in expected])
    assert likeness(one, 0 * one, weights).tolist() == [0, 0]


def test_wrong_input_is_refused():
    fixed, moving, line, _ = moved_pair()
    elsewhere = Volume(moving.data, Grid.of(moving.grid.shape, np.diag([-0.9, 0.9, 4.0, 1])))
    with pytest.raises(ValueError, match="different grids"):
        mt_off_by_slice(fixed, elsewhere, line)
    with pytest.raises(ValueError, match="centerline is empty"):
        mt_off_by_slice(fixed, moving, line.where(np.zeros(len(line), bool)))
    for wrong in ({"width": 0.0}, {"reach": -1.0}, {"smoothness": 0.0}):
        with pytest.raises(ValueError):
            mt_off_by_slice(fixed, moving, line, **wrong)
