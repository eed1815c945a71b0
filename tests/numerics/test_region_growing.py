import numpy as np
import pytest

from neuraxis.numerics.region_growing import edge_weights, follow_echoes, grow, voxel_quality


def _wrap(angle):
    return np.angle(np.exp(1j * angle)).astype(np.float32)


def _ramp(shape=(20, 22, 24)):
    x, y, z = np.indices(shape).astype(np.float32)
    return 0.9 * x - 0.7 * y + 0.5 * z + 0.02 * (x - 10) ** 2


def test_edge_weight_is_the_product_of_its_parts():
    phase = np.zeros((4, 1, 1), np.float32)
    phase[:, 0, 0] = (0.0, 0.1, 0.3, 0.4)
    magnitude = np.ones_like(phase)
    magnitude[2] = 0.5
    weight = edge_weights(phase, None, magnitude, 2 * phase + 0.0, 1.0)[1, 0, 0, 0]
    parts = (1 - 0.2 / np.pi, 1 - 0.2, (1 - 0.1 / 2) ** 2, 0.25)
    assert weight == pytest.approx(254 * np.prod([0.1 + 0.9 * part for part in parts]) + 1, abs=1)


def test_no_edges_leave_the_mask_or_the_grid():
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    weights = edge_weights(np.zeros((5, 5, 5), np.float32), mask)
    assert np.count_nonzero(weights) == 3 * 2 * 9
    assert edge_weights(np.zeros((3, 3, 3), np.float32))[-1, :, :, 0].max() == 0


def test_quality_parts_signal_from_noise():
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, (20, 22, 24)).astype(np.float32)
    assert voxel_quality(edge_weights(noise)).mean() < 0.35
    smooth = voxel_quality(edge_weights(_wrap(_ramp() / 10)))
    assert smooth.min() > 0.7 and smooth.max() <= 1


def test_growing_takes_the_wraps_out_and_changes_nothing_else():
    true, mask = _ramp(), np.ones((20, 22, 24), bool)
    wrapped = _wrap(true)
    weights = edge_weights(wrapped, mask)
    before = weights.copy()
    found, island = grow(wrapped, weights, mask)
    turns = (found - true) / (2 * np.pi)
    assert np.allclose(turns, np.round(turns[0, 0, 0]), atol=1e-4)
    assert island.min() == island.max() == 1 and np.array_equal(weights, before)


def test_islands_have_their_own_seeds():
    true, mask = _ramp(), np.zeros((20, 22, 24), bool)
    mask[2:8, 2:20, 2:20] = mask[10:18, 2:20, 2:20] = mask[0, 0, 0] = True
    found, island = grow(_wrap(true), edge_weights(_wrap(true), mask), mask)
    assert island.max() == 3 and (found[~mask] == 0).all() and (island[~mask] == 0).all()
    for number in (1, 2, 3):
        turns = ((found - true) / (2 * np.pi))[island == number]
        assert np.ptp(turns) < 1e-4


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2]])
def test_other_echoes_follow(order):
    times, mask = np.array([0.004, 0.0093, 0.02]), np.ones((20, 22, 24), bool)
    true = np.stack([_ramp() * t / 0.02 for t in times]).astype(np.float32)
    unwrapped = np.zeros_like(true)
    unwrapped[order[0]] = true[order[0]]
    follow_echoes(_wrap(true), mask, times, np.array(order), unwrapped)
    assert np.allclose(unwrapped, true, atol=1e-4)
