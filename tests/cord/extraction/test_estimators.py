import numpy as np
import pytest

from neuraxis.cord.extraction.estimators import binary_mean, maximum, weighted_mean, weighted_median, weighted_sd

WEIGHTS = np.array([[1, 1, 0.75, 0.25, 0, 0], [0, 0, 0.25, 0.75, 1, 1], [0] * 6]).T
VALUES = WEIGHTS @ [40.0, 10.0, 0.0]
"""Two regions of 40 and 10 side by side, sharing two voxels: 40, 40, 32.5, 17.5, 10, 10; and an empty region."""


def test_averages_by_hand():
    assert binary_mean(VALUES, WEIGHTS)[:2] == pytest.approx([112.5 / 3, 37.5 / 3])
    assert weighted_mean(VALUES, WEIGHTS)[:2] == pytest.approx([108.75 / 3, 41.25 / 3])
    away = np.array([3.75, 3.75, -3.75, -18.75])
    assert weighted_sd(VALUES, WEIGHTS)[0] == pytest.approx(np.sqrt(np.dot([1, 1, 0.75, 0.25], away**2) / 3))
    assert maximum(VALUES, WEIGHTS)[:2] == pytest.approx([40, 32.5])


@pytest.mark.parametrize("estimator", [binary_mean, weighted_mean, weighted_sd, maximum, weighted_median])
def test_an_empty_region_has_no_value_and_the_inputs_stay(estimator):
    values, weights = VALUES.copy(), WEIGHTS.copy()
    assert np.isnan(estimator(values, weights)[2])
    assert np.isnan(estimator(values[:0], weights[:0])).all()
    assert np.array_equal(values, VALUES) and np.array_equal(weights, WEIGHTS)


def test_no_voxel_is_half_filled():
    assert np.isnan(binary_mean(np.array([3.0, 4.0]), np.array([[0.49], [0.3]])))[0]


def test_median_of_equal_weights_is_the_median():
    values = np.random.default_rng(0).normal(size=(2, 9))
    for one in (values[0], values[0, :8]):
        assert weighted_median(one, np.ones((len(one), 1)))[0] == pytest.approx(np.median(one))


def test_weighted_median_by_hand():
    """Weights 1, 2, 1 of 0, 10, 20 stand at P = 1/8, 1/2, 7/8; weights 3, 1 of 0, 10 at 3/8 and 7/8."""
    found = weighted_median(np.array([20.0, 0, 10]), np.array([[1.0, 0], [1, 3], [2, 1]]))
    assert found == pytest.approx([10, 10 * (1 / 2 - 3 / 8) / (7 / 8 - 3 / 8)])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([3, 1], 4 * (0.5 - 3 / 8) / (6 / 8 - 3 / 8)),  # 4 stands at 6/8: between 0 and 4
        ([1, 3], 6 + 4 * (0.5 - 2 / 8) / (5 / 8 - 2 / 8)),  # 6 stands at 2/8: between 6 and 10
    ],
)
def test_values_of_no_weight_between_two_bend_the_line(weights, expected):
    values, weights = np.array([0.0, 10.0]), np.array(weights, float)[:, None]
    around = [np.array([-50.0, 4, 99]), np.array([]), np.array([5.0, 6.0])]
    assert weighted_median(values, weights, around)[0] == pytest.approx(expected)
    assert weighted_median(values, weights, [np.array([-50.0, 99])]) == weighted_median(values, weights)


def test_one_voxel_is_its_own_median():
    assert weighted_median(np.array([7.0]), np.array([[0.2]]), [np.array([1.0, 9.0])])[0] == 7
