import math

import numpy as np
import pytest

from neuraxis.numerics import metrics


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.05, (14, 15, 16)).astype(np.float32)
    mask = np.zeros(truth.shape, bool)
    mask[2:12, 1:13, 3:15] = True
    return truth, truth + rng.normal(0, 0.02, truth.shape).astype(np.float32), mask


def test_truth_is_perfect(maps):
    truth, _, mask = maps
    assert metrics.nrmse(truth, truth, mask) == 0
    assert metrics.nrmse_detrended(truth, truth, mask) == pytest.approx(0, abs=1e-6)
    assert metrics.correlation(truth, truth, mask) == pytest.approx(1)
    assert metrics.xsim(truth, truth, mask) == pytest.approx(1)
    assert metrics.hfen(truth, truth, mask) == 0


def test_nrmse_is_blind_to_a_constant_and_sees_a_scale(maps):
    truth, _, mask = maps
    assert metrics.nrmse(truth + 3, truth, mask) == pytest.approx(0, abs=1e-3)
    assert metrics.nrmse(0.7 * truth, truth, mask) == pytest.approx(30, rel=1e-5)
    assert metrics.nrmse_detrended(0.7 * truth + 3, truth, mask) == pytest.approx(0, abs=1e-3)


def test_detrended_is_a_function_of_correlation(maps):
    truth, found, mask = maps
    r = metrics.correlation(found, truth, mask)
    assert metrics.nrmse_detrended(found, truth, mask) == pytest.approx(100 * math.sqrt(1 / r**2 - 1))
    assert r == pytest.approx(np.corrcoef(found[mask], truth[mask])[0, 1])


def test_nothing_found_is_all_wrong(maps):
    truth, _, mask = maps
    nothing = np.zeros_like(truth)
    assert metrics.nrmse(nothing, truth, mask) == pytest.approx(100)
    assert metrics.hfen(nothing, truth, mask) == pytest.approx(100)
    assert math.isinf(metrics.nrmse_detrended(nothing, truth, mask))


def test_xsim_agrees_with_its_definition_voxel_by_voxel(maps):
    truth, found, mask = maps
    c1, c2 = 1e-4, 1e-6
    a, b = found.astype(float) * mask, truth.astype(float) * mask
    values = []
    for i, j, k in np.argwhere(mask):
        window = tuple(slice(max(n - 2, 0), n + 3) for n in (i, j, k))
        u, v = a[window], b[window]
        both = np.mean((u - u.mean()) * (v - v.mean()))
        values.append(
            (2 * u.mean() * v.mean() + c1)
            * (2 * both + c2)
            / ((u.mean() ** 2 + v.mean() ** 2 + c1) * (u.var() + v.var() + c2))
        )
    assert metrics.xsim(found, truth, mask) == pytest.approx(np.mean(values), rel=1e-6)


def test_hfen_of_a_masked_truth_ignores_the_skull(maps):
    truth, found, mask = maps
    skull = np.where(mask, truth, -2).astype(np.float32)
    inside = np.where(mask, truth, 0)
    assert metrics.hfen(inside, skull, mask) > 50
    assert metrics.hfen(inside, skull, mask, mask_truth=True) == 0


def test_region_slope():
    labels = np.repeat(np.arange(4), 5).reshape(4, 5, 1)
    truth = labels * 0.1
    assert metrics.region_slope(0.9 * truth + 0.3, truth, labels) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="two regions"):
        metrics.region_slope(truth, truth, labels, regions=(1, 9))


def test_empty_mask_is_refused(maps):
    truth, found, mask = maps
    with pytest.raises(ValueError, match="mask is empty"):
        metrics.xsim(found, truth, np.zeros_like(mask))
