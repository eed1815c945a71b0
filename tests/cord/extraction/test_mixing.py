import numpy as np
import pytest
from cord.extraction.tract_phantom import TRUTH, atlas, mixed

from neuraxis.cord.extraction.estimators import binary_mean
from neuraxis.cord.extraction.mixing import Sums, expected, maximum_a_posteriori, ml, sums
from neuraxis.cord.tracts import CLUSTERS


def _voxels(noise=0.0, seed=1):
    shares = atlas()
    inside = shares.data.any(axis=3)
    return mixed(shares, noise=noise, seed=seed).data[inside], shares.data[inside].astype(float)


def test_least_squares_finds_the_truth_that_a_mean_cannot():
    values, weights = _voxels()
    fit = ml(sums(values, weights))
    assert fit.value == pytest.approx(TRUTH, abs=1e-6) and (fit.inflation >= 1).all()
    assert np.abs(fit.error).max() < 1e-5
    assert binary_mean(values, weights)[:30].mean() < TRUTH[:30].mean() - 0.8


def test_it_is_numpy_s_least_squares_and_many_systems_are_solved_at_once():
    draws = [_voxels(2.0, seed) for seed in range(3)]
    many = Sums(*(np.stack(parts) for parts in zip(*(sums(*one) for one in draws), strict=True)))
    fits = ml(many)
    for number, (values, weights) in enumerate(draws):
        plain, rest, *_ = np.linalg.lstsq(weights, values, rcond=None)
        assert fits.value[number] == pytest.approx(plain, abs=1e-8)
        spread = np.linalg.inv(weights.T @ weights).diagonal() * rest[0] / (len(values) - 37)
        assert fits.error[number] == pytest.approx(np.sqrt(spread))


def test_the_standard_error_is_the_scatter_over_repetitions():
    found = [ml(sums(*_voxels(3.0, seed))) for seed in range(300)]
    scatter = np.std([one.value for one in found], axis=0)
    assert np.mean([one.error for one in found], axis=0) == pytest.approx(scatter, rel=0.15)


def test_regions_that_share_every_voxel_are_not_determined_and_the_others_are():
    values, weights = _voxels()
    weights = np.column_stack([weights[:, 0] / 2, weights[:, 0] / 2, weights[:, 1:]])
    fit = ml(sums(values, weights))
    assert np.isinf(fit.inflation[:2]).all() and np.isfinite(fit.inflation[2:]).all()
    assert np.isnan(fit.error[:2]).all() and fit.value[:2] == pytest.approx(TRUTH[0]) and fit.value[2:] == pytest.approx(TRUTH[1:])


def test_fewer_voxels_than_regions_are_not_determined_where_they_share_them():
    """The last two regions have one voxel, and it is the same: the smallest solution, told as not determined."""
    weights = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.2, 0.5, 0.3]])
    fit = ml(sums(weights @ [4.0, 3, 2, 1], weights))
    assert fit.value[:2] == pytest.approx([4, 3]) and np.isfinite(fit.inflation[:2]).all()
    assert np.isinf(fit.inflation[2:]).all() and weights @ fit.value == pytest.approx(weights @ [4, 3, 2, 1])
    assert np.isnan(fit.error).all()


def test_an_empty_region_changes_nothing():
    values, weights = _voxels(1.0)
    more = np.insert(weights, 4, 0, axis=1)
    fit, plain = ml(sums(values, more)), ml(sums(values, weights))
    assert np.isnan(fit.value[4]) and np.isnan(fit.error[4])
    assert np.delete(fit.value, 4) == pytest.approx(plain.value, abs=1e-9)
    likely = maximum_a_posteriori(sums(values, more), np.zeros(38))
    assert np.isnan(likely.value[4]) and np.isfinite(np.delete(likely.value, 4)).all()


def test_voxels_that_add_up_slice_by_slice_are_one_system():
    values, weights = _voxels(1.0)
    half = len(values) // 2
    added = Sums(*(a + b for a, b in zip(sums(values[:half], weights[:half]), sums(values[half:], weights[half:]), strict=True)))
    assert ml(added).value == pytest.approx(ml(sums(values, weights)).value, abs=1e-8)


@pytest.mark.parametrize(("noise", "label", "share"), [(1, 1, 4 / 5), (1, 4, 4 / 4.25), (9, 1, 4 / 13), (2, 2, 4 / 5)])
def test_what_is_known_before_draws_by_the_ratio_of_the_variances(noise, label, share):
    """Four voxels of one region alone at 44, where 40 is expected: beta = 40 + 4 / (4 + ratio) 4."""
    system = sums(np.full(4, 44.0), np.ones((4, 1)))
    fit = maximum_a_posteriori(system, np.array([40.0]), noise, label)
    assert fit.value[0] == pytest.approx(40 + share * 4)


def test_what_is_expected_is_the_value_of_the_tissue():
    values, weights = _voxels()
    system = sums(values, weights)
    before = expected(system, CLUSTERS)
    assert len(set(before[:30])) == 1 and before[0] == pytest.approx(TRUTH[:30].mean(), abs=0.1)
    assert before[30] == pytest.approx(TRUTH[30:36].mean(), abs=0.1) and before[36] == pytest.approx(5, abs=0.3)
    without = np.where(np.arange(37) == 36, 0, weights)
    assert expected(sums(values, without), CLUSTERS)[36] == 0


def test_a_priori_knowledge_helps_where_regions_are_small_and_noise_is_large():
    """Regions of 9 voxels, noise of 6: ml is free of bias and scatters, map scatters less."""
    off = {"ml": [], "map": [], "bin": []}
    for seed in range(60):
        values, weights = _voxels(6.0, seed)
        system = sums(values, weights)
        off["ml"].append(ml(system).value[:30] - TRUTH[:30])
        off["map"].append(maximum_a_posteriori(system, expected(system, CLUSTERS)).value[:30] - TRUTH[:30])
        off["bin"].append(binary_mean(values, weights)[:30] - TRUTH[:30])
    bias = {name: abs(np.mean(one)) for name, one in off.items()}
    spread = {name: np.std(one) for name, one in off.items()}
    assert bias["ml"] < 0.3 and bias["map"] < 0.3 and bias["bin"] > 0.8
    assert spread["map"] < 0.95 * spread["ml"]
    errors = [ml(sums(*_voxels(6.0, seed))).error[:30].mean() for seed in range(5)]
    assert spread["ml"] == pytest.approx(np.mean(errors), rel=0.15)
