"""Relaxation around the cord, of decays that are known."""

import numpy as np
import pytest
import torch
from documented import check_documented

from neuraxis.qmri.cord_relaxometry import relaxation_around
from neuraxis.volume import Grid

TIMES = np.array([0.005, 0.010, 0.015, 0.020])
GRID = Grid.of((30, 24, 5), np.diag([0.5, 1.0, 5.0, 1]))


def _neck():
    rate = 15 + 20 * np.random.default_rng(0).random(GRID.shape)
    start = 100 + 50 * np.random.default_rng(1).random(GRID.shape)
    cord = np.zeros(GRID.shape, bool)
    cord[14:17, 11:13] = True
    return rate, start, cord, torch.from_numpy((start[..., None] * np.exp(-rate[..., None] * TIMES)).astype(np.float32))


def test_documented():
    check_documented(relaxation_around)


@pytest.mark.parametrize("fit", ["loglinear", "arlo", "nonlinear"])
def test_every_fit_finds_the_decay_within_reach_of_the_cord_and_none_farther_away(fit):
    rate, start, cord, magnitude = _neck()
    found = [one.numpy() for one in relaxation_around(magnitude, cord, GRID, TIMES, np.diff(TIMES), fit=fit, reach=4.0)]
    across, deep = np.meshgrid(np.arange(30), np.arange(24), indexing="ij")
    apart = np.hypot(np.maximum(0, np.maximum(14 - across, across - 16)) * 0.5, np.maximum(0, np.maximum(11 - deep, deep - 12)) * 1.0)
    near = np.broadcast_to((apart <= 4.0)[..., None], GRID.shape)
    assert near.any() and not near.all()
    for one, wanted in zip(found, (rate, 1 / rate, start), strict=True):
        assert one[near] == pytest.approx(wanted[near], rel=0.02) and not one[~near].any()


def test_what_cannot_be_fitted_is_refused():
    _, _, cord, magnitude = _neck()
    with pytest.raises(ValueError, match="empty"):
        relaxation_around(magnitude, np.zeros_like(cord), GRID, TIMES, np.diff(TIMES))
    with pytest.raises(ValueError, match="reach"):
        relaxation_around(magnitude, cord, GRID, TIMES, np.diff(TIMES), reach=-1.0)
    with pytest.raises(ValueError, match="three echoes"):
        relaxation_around(magnitude[..., :2], cord, GRID, TIMES[:2], np.diff(TIMES[:2]), fit="arlo")
