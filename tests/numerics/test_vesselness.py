import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, centred_grid, positions, rotation

from neuraxis.numerics.vesselness import dark_vesselness

SCALES, CONTRAST = (1.0, 2.0), 0.1
TILTED = centred_grid((48, 48, 24), (0.9, 0.9, 1.8), rotation(0, 35) @ rotation(1, 20))


def _distance(grid, axis):
    """Distance of every voxel from a line through the middle; mm."""
    place = positions(grid)
    return np.sqrt((np.delete(place, axis, -1) ** 2).sum(-1))


def _seen(grid, image):
    mask = torch.from_numpy(ball(grid, 18))
    return dark_vesselness(torch.from_numpy(image.astype(np.float32)), mask, grid.voxel_size, SCALES, CONTRAST).numpy()


def _tube(grid, axis, depth=0.6):
    return 1 - depth * np.exp(-0.5 * (_distance(grid, axis) / 1.5) ** 2)


@pytest.mark.parametrize("grid", [*GRIDS.values(), TILTED], ids=[*GRIDS, "oblique"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_dark_tube_in_any_direction_and_nothing_else(grid, axis):
    near, inner = _distance(grid, axis), ball(grid, 12)
    found = _seen(grid, _tube(grid, axis))
    assert found[(near < 0.6) & inner].min() > 0.3
    assert found[(near > 6) & inner].max() < 0.02 and found.max() <= 1 and found.min() >= 0


def test_a_bright_tube_a_plate_and_a_ball_are_no_dark_tubes():
    grid = GRIDS["isotropic"]
    inner, place = ball(grid, 10), positions(grid)
    tube = _seen(grid, _tube(grid, 2))[inner].max()
    plate = 1 - 0.6 * np.exp(-0.5 * (place[..., 0] / 1.5) ** 2)
    blob = 1 - 0.6 * np.exp(-0.5 * (place**2).sum(-1) / 1.5**2)
    assert _seen(grid, 2 - _tube(grid, 2))[_distance(grid, 2) < 0.6].max() < 0.02
    assert _seen(grid, plate)[inner].max() < 0.1 * tube and _seen(grid, blob)[ball(grid, 0.6)].max() < 0.3 * tube


def test_the_edge_of_the_mask_is_no_tube_and_outside_may_hold_anything():
    grid = GRIDS["anisotropic"]
    mask = torch.from_numpy(ball(grid, 15))
    flat = torch.where(mask, torch.ones(grid.shape), torch.nan)
    assert dark_vesselness(flat, mask, grid.voxel_size, SCALES, CONTRAST).max() < 1e-3
