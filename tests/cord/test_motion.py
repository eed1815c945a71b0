"""Motion correction: known slice-wise shifts are found again, across b-values, and what is lost is flagged."""

import contextlib

import nibabel
import numpy as np
import pytest
from conftest import SHARED
from cord.moving_slices import SHAPE, SIZE, around, drawn, noisy, rms, true_shifts

from neuraxis.cord.motion.confounds import confounds
from neuraxis.cord.motion.means import mean_b0, mean_diffusion
from neuraxis.cord.motion.outliers import outlying, shells
from neuraxis.cord.motion.quality import _length
from neuraxis.cord.motion.slicewise import slicewise
from neuraxis.cord.motion.volumes import around_path, check_axial, classes, volumes
from neuraxis.numerics.slice_shifts import shifted
from neuraxis.report.cord_motion import film
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

GRID = Grid.of(SHAPE, np.diag([*SIZE, 1.0]))
B_VALUES = np.array([0] + [800] * 9 + [5, 0])


def series(seed, amplitude, *, alone=False, ratio=10.0):
    """b = 0 and diffusion-weighted volumes of two contrasts, each moved; the truth (T, Z, 2) in mm to the right and front."""
    rng = np.random.default_rng(seed)
    truth = np.stack([true_shifts(1000 * seed + t, amplitude, alone=alone) for t in range(len(B_VALUES))])
    truth -= truth[B_VALUES > 100].mean(0)
    names = ["b0" if b < 100 else str(rng.choice(["diffusion", "diffusion, along"])) for b in B_VALUES]
    data = [noisy(drawn(name, one), ratio, 100 * seed + t) for t, (name, one) in enumerate(zip(names, truth, strict=True))]
    return Volume(np.stack(data, -1), GRID), truth


def found(table):
    return np.stack([table["x"], table["y"]], -1).reshape(-1, SHAPE[2], 2)


def centred(values):
    """Less what all diffusion-weighted volumes have in common in a slice: their mean is where the target lies."""
    return values - values[B_VALUES > 100].mean(0)


def warned_of(truth):
    """The warning of slices that lie further than is searched for from the mean of their kind, where there are any."""
    return pytest.warns(UserWarning, match="more than reach=4 mm") if np.abs(truth).max() > 4 else contextlib.nullcontext()


@pytest.mark.parametrize(("seed", "amplitude", "alone"), [
    (0, 0.2, False), (1, 1.0, False), (0, 3.0, False), (2, 0.5, True), (2, 1.5, True), (1, 2.0, True), (2, 3.0, True),
])  # fmt: skip
def test_known_shifts_are_found_across_b_values(seed, amplitude, alone):
    moving, truth = series(seed, amplitude, alone=alone)
    with warned_of(truth[B_VALUES > 100]):
        corrected, table, quality = slicewise(moving, Volume(around(), GRID), volumes(B_VALUES))
    apart = centred(found(table)) - centred(truth)
    assert rms(apart[B_VALUES > 100]) < 0.15 and rms(apart[B_VALUES < 100]) < 0.15
    diffusion = {name: values[0] for name, values in quality.columns.items()}
    assert diffusion["kind"] == "diffusion" and diffusion["shift_after"] < 0.1
    assert diffusion["shift_after"] < 0.4 * diffusion["shift_before"] and diffusion["sd_after"] < diffusion["sd_before"]
    assert corrected.grid == moving.grid and corrected.data.shape == moving.data.shape


def test_a_single_volume_at_b_0_is_found_where_its_slices_moved_by_themselves():
    moving, truth = series(1, 2.0, alone=True)
    chosen = np.flatnonzero((B_VALUES > 100) | (np.arange(len(B_VALUES)) == 0))
    with warned_of(truth[B_VALUES > 100]):
        _, table, _ = slicewise(Volume(moving.data[..., chosen], GRID), Volume(around(), GRID), volumes(B_VALUES[chosen]))
    apart = np.stack([table["x"], table["y"]], -1).reshape(-1, SHAPE[2], 2) - truth[chosen]
    assert rms(apart - apart[1:].mean(0)) < 0.15


def test_the_order_of_the_axes_does_not_matter():
    moving, _ = series(4, 1.0)
    _, table, _ = slicewise(moving, Volume(around(), GRID), volumes(B_VALUES), rounds=1)
    turned, weights = (one.oriented("PIL") for one in (moving, Volume(around(), GRID)))
    corrected, same, _ = slicewise(turned, weights, volumes(B_VALUES), rounds=1)
    assert np.allclose(same["x"], table["x"], atol=1e-3) and np.allclose(same["y"], table["y"], atol=1e-3)
    assert corrected.grid == turned.grid


def test_slices_that_lost_their_signal_are_flagged_and_follow_their_neighbours():
    moving, truth = series(5, 0.6)
    data = moving.data.copy()
    data[..., 4, 3] *= 0.3
    data[..., 9, 6] = noisy(np.zeros(SHAPE[:2]), 10, 7)
    _, table, _ = slicewise(Volume(data, GRID), Volume(around(), GRID), volumes(B_VALUES))
    flagged = {(int(v), int(z)) for v, z, bad in zip(table["volume"], table["slice"], table["outlier"], strict=True) if bad}
    assert {(3, 4), (6, 9)} <= flagged and len(flagged) <= 5
    assert rms((centred(found(table)) - centred(truth))[[3, 6], [4, 9]]) < 0.6


def test_what_does_not_move_stays():
    still = np.zeros((SHAPE[2], 2))
    data = np.stack([noisy(drawn("b0", still), 15, t) for t in range(8)], -1)
    _, table, quality = slicewise(Volume(data, GRID), Volume(around(), GRID))
    assert rms(np.stack([table["x"], table["y"]])) < 0.05 and quality["kind"][0] == "all" and not table["outlier"].any()


STILL = np.zeros((SHAPE[2], 2))


def resting(number, seed=0):
    return np.stack([noisy(drawn("b0", STILL), 20, seed + t) for t in range(number)], -1)


def test_a_volume_that_is_lost_as_a_whole_is_counted_and_its_motion_is_not_known():
    data = resting(6)
    data[..., 3] = noisy(drawn("b0", STILL + (8.0, 0)), 20, 3)
    weights = Volume(around(), GRID)
    with pytest.warns(UserWarning, match="more than reach=4 mm: volume 3"):
        corrected, table, quality = slicewise(Volume(data, GRID), weights)
    made = confounds(corrected.data, table, weights.data, np.ones(SHAPE, np.float32))
    assert made["outlier_slices"].tolist() == [0, 0, 0, SHAPE[2], 0, 0]
    assert np.isnan(made["trans_x"]).tolist() == np.isnan(made["trans_y"]).tolist() == [False] * 3 + [True] + [False] * 2
    assert np.isnan(made["framewise_displacement"]).tolist() == [True, False, False, True, True, False]
    assert quality["lost"][0] == 1 and quality["outliers"][0] == SHAPE[2] and quality["shift_before"][0] < 0.1


def test_what_is_too_bright_is_flagged_and_leaves_the_mean():
    data = resting(8)
    data[..., 0] *= 2.5
    data[..., 7, 5] *= 1.8
    _, table, quality = slicewise(Volume(data, GRID), Volume(around(), GRID))
    bad = table["outlier"].reshape(8, -1) == 1
    assert bad[0].all() and bad[5, 7] and bad[1:].sum() == 1
    assert quality["lost"][0] == 1 and quality["tsnr_before"][0] > 10 and quality["tsnr_after"][0] > 10


def test_a_spike_in_a_diffusion_weighted_volume_is_flagged():
    moving, _ = series(6, 0.3)
    data = moving.data.copy()
    data[..., 4, 3] *= 2.5
    _, table, _ = slicewise(Volume(data, GRID), Volume(around(), GRID), volumes(B_VALUES))
    assert [(v, z) for v, z, bad in zip(table["volume"], table["slice"], table["outlier"], strict=True) if bad] == [(3, 4)]


@pytest.mark.parametrize(
    "b_values", [[1000.0] * 18, [2000.0] * 18, [400.0] * 3 + [2000.0] * 15, [700.0] * 9 + [2500.0] * 9], ids=["1000", "2000", "few low", "half"]
)
@pytest.mark.parametrize("scheme", ["spread", "six"])
def test_contrast_of_directions_and_b_values_is_no_outlier(b_values, scheme):
    number = len(b_values)
    height = (2 * np.arange(number) + 1) / number - 1 if scheme == "spread" else np.array([0.7071, 0, 0.7071, 0.7071, 0, 0.7071] * 3)
    rates = {"cord": 0.35e-3 + 1.35e-3 * height**2, "rest": np.full(number, 1.1e-3)}
    weights = around(radius=6.0)
    inside = weights > 0.8
    clean = np.where(inside[..., None], np.exp(-np.array(b_values) * rates["cord"]), 0.6 * np.exp(-np.array(b_values) * rates["rest"]))
    data = np.abs(clean + np.random.default_rng(0).normal(0, 0.02, clean.shape))
    bad = outlying(data, data.mean(-1), weights, 6.0, np.array(b_values))
    assert not bad.any()
    data[..., 3, 1] *= 8
    data[..., 5, 2] *= 0.1
    assert [tuple(one) for one in np.argwhere(outlying(data, data.mean(-1), weights, 6.0, np.array(b_values)))] == [(3, 1), (5, 2)]


def test_shells_are_told_by_gaps():
    b_values = np.array([1000, 0, 995, 2000, 5, 1005, 2010])
    assert [one.tolist() for one in shells(b_values)] == [[1, 4], [2, 0, 5], [3, 6]]


def test_slices_that_moved_further_than_was_searched_are_said():
    data = resting(6)
    data[..., 4] = noisy(drawn("b0", STILL + (0, 2.2)), 20, 4)
    with pytest.warns(UserWarning, match=r"more than reach=1 mm: volume 4 throughout \(numbers"):
        slicewise(Volume(data, GRID), Volume(around(), GRID), reach=1.0)


def test_half_a_volume_still_tells_its_motion():
    bad = np.zeros((4, 10), bool)
    bad[1, :5], bad[2, :6] = True, True
    motion = Table.of({
        "volume": np.repeat(np.arange(4), 10), "slice": np.tile(np.arange(10), 4), "x": np.where(bad, 9.0, 1.0).ravel(),
        "y": np.zeros(40), "outlier": bad.ravel(),
    })  # fmt: skip
    made = confounds(np.ones((3, 3, 10, 4)), motion, np.ones((3, 3, 10)), np.ones((3, 3, 10)))
    assert made["trans_x"][:2].tolist() == [1, 1] and np.isnan(made["trans_x"][2]) and made["outlier_slices"].tolist() == [0, 5, 6, 0]


def test_what_stands_askew_but_still_is_no_motion():
    shifts = np.tile(np.linspace(-3, 3, 5)[None, :, None], (6, 1, 2))
    assert _length(shifts, np.ones((6, 5), bool)) < 1e-9
    shifts[2, 4] += 50
    assert _length(shifts, np.arange(5) != 4 * np.ones((6, 1))) < 1e-9 and np.isnan(_length(shifts, np.zeros((6, 5), bool)))


def test_a_sagittal_series_and_a_single_volume_are_said():
    data = np.ones((4, 30, 40, 3), np.float32)
    grid = Grid.of((4, 30, 40), np.diag([4.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="slices are not axial"):
        slicewise(Volume(data, grid), Volume(data[..., 0], grid))
    with pytest.raises(ValueError, match="one volume"):
        slicewise(Volume(drawn("b0", np.zeros((SHAPE[2], 2)))[..., None], GRID), Volume(around(), GRID))


@pytest.mark.parametrize(("size", "axial"), [
    ((0.9, 0.9, 5), True), ((1.4, 1.4, 1.4), True), ((1.5, 1.5, 1.4), True), ((2, 2, 1.5), True), ((2, 1.4, 1.4), False), ((1.4, 2, 1.4), False),
])  # fmt: skip
def test_the_longest_edge_is_the_thickness_of_a_slice(size, axial):
    with contextlib.nullcontext() if axial else pytest.raises(ValueError, match="slices are not axial"):
        check_axial(size)


def test_b_values_tell_the_volumes():
    assert volumes(np.array([0, 5, 99, 100, 800]))["weighted"].tolist() == [0, 0, 0, 1, 1]
    assert list(classes(volumes(np.array([0, 5])), 2)) == ["b0"] and list(classes(volumes(np.array([800, 900])), 2)) == ["diffusion"]
    with pytest.raises(ValueError, match="bvalmin"):
        volumes(np.array([0, 800]), bvalmin=0)


@pytest.mark.parametrize(("b_value", "kind"), [(0.0, "b0"), (800.0, "diffusion")])
def test_a_series_of_one_kind_is_brought_to_rest(b_value, kind):
    data = resting(5)
    data[..., 2] = noisy(drawn("b0", STILL + (1.0, 0)), 20, 2)
    moving, weights, kinds = Volume(data, GRID), Volume(around(), GRID), volumes(np.full(5, b_value))
    corrected, table, quality = slicewise(moving, weights, kinds)
    assert quality["kind"].tolist() == [kind] and found(table)[2, :, 0].mean() == pytest.approx(0.8, abs=0.1)
    assert mean_diffusion(corrected, table, kinds).data.shape == SHAPE
    assert film(moving, corrected, weights, table, kinds)
    if kind == "b0":
        assert np.allclose(mean_b0(corrected, table, kinds).data, mean_diffusion(corrected, table, kinds).data)
    else:
        with pytest.warns(UserWarning, match="no volume is at b = 0"):
            assert mean_b0(corrected, table, kinds) is None


def real(name):
    image = nibabel.load(SHARED / "cord" / name)
    return Volume(np.asarray(image.dataobj, np.float32), Grid.of(image.shape, image.affine))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["tutorial/single_subject/dmri", "sct-testing/dmri", "sct-testing/fmri"])
def test_real_series_vary_less_than_before(name):
    diffusion = name.endswith("dmri")
    moving = real(f"{name}/{name[-4:]}.nii.gz")
    kinds = volumes(np.loadtxt(SHARED / "cord" / name / "bvals.txt")) if diffusion else None
    weights = around_path(moving, kinds)
    corrected, table, quality = slicewise(moving, weights, kinds)
    assert quality["shift_after"][0] < 0.3 * quality["shift_before"][0] and quality["shift_after"][0] < 0.06
    assert quality["sd_after"][0] < 0.97 * quality["sd_before"][0]
    assert quality["tsnr_after"][0] > 1.03 * quality["tsnr_before"][0]
    # interpolation alone lowers the noise: the same shifts at other times must not do as well
    chosen = np.arange(moving.data.shape[3]) if kinds is None else np.flatnonzero(kinds["weighted"])
    upright, inside = moving.oriented("RAS"), weights.oriented("RAS").data > 0.5
    shifts = -np.stack([table["x"], table["y"]], -1).reshape(moving.data.shape[3], -1, 2)[chosen]
    other = np.random.default_rng(0).permutation(len(chosen))
    pairs = zip(chosen, shifts[other], strict=True)
    shuffled = np.stack([shifted(upright.data[..., t], one, upright.grid.voxel_size) for t, one in pairs], -1)
    spread = [one[inside].std(-1, ddof=1).mean() for one in (corrected.oriented("RAS").data[..., chosen], shuffled)]
    assert spread[0] < 0.99 * spread[1]
