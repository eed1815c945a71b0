"""Two stages, and the filter that they share."""

import numpy as np
import pytest
import torch
from contracts.analytic import ball, centred_grid, positions, sphere_field

from neuraxis.numerics.dipole import dipole_field
from neuraxis.qsm.background import sdf
from neuraxis.qsm.background.spatially_dependent import local_part, proximity
from neuraxis.qsm.inversion import qsmart

GRID = centred_grid((44, 44, 44))
MASK = torch.from_numpy(ball(GRID, 20))
FROM_AXIS = np.hypot(positions(GRID)[..., 1] - 4, positions(GRID)[..., 2] - 3)
"""Distance from the middle of a vein; mm."""
TUBE = FROM_AXIS < 1.6
NUCLEUS = ball(GRID, 3, (0, -8, 0))


def test_proximity_is_a_half_at_a_flat_edge_and_one_in_the_depth():
    half = torch.zeros((40, 40, 40), dtype=torch.bool)
    half[:20] = True
    near = proximity(half, 3.0, (1.0, 1.0, 2.0))
    assert float(near[19:21, 20, 20].mean()) == pytest.approx(0.5, abs=0.01)
    assert float(near[9, 20, 20]) == pytest.approx(1.0, abs=0.01)


def test_a_constant_is_all_background():
    field = MASK * 3.0
    near = proximity(MASK, 10.0, GRID.voxel_size)
    local = local_part(field, MASK, near, GRID.voxel_size, edge_width=1.0, width=8.0)
    assert local.abs().max() < 1e-4


def test_a_wider_filter_keeps_more_of_a_wide_field():
    field = torch.from_numpy(sphere_field(GRID, 5, 0.2)) * MASK
    kept = [float(sdf(field, MASK, GRID, width=width)[0].norm()) for width in (3.0, 6.0, 12.0)]
    assert kept[0] < kept[1] < kept[2]


@pytest.fixture(scope="module")
def scene():
    """A vein of 0.4 ppm that is dark in the magnitude, and a small nucleus that is not; with the map of one stage, and of two."""
    chi = torch.from_numpy(0.4 * (TUBE & ball(GRID, 15)) + 0.1 * NUCLEUS).float()
    field = dipole_field(chi, GRID.voxel_size, GRID.b0_direction) * MASK
    magnitude = torch.from_numpy(np.where(TUBE, 400.0, 1000.0).astype(np.float32))
    return field, magnitude, qsmart(field, MASK, GRID), qsmart(field, MASK, GRID, magnitude)


def test_vessels_come_from_the_first_stage_and_all_else_from_the_second(scene):
    *_, one, two = scene
    core = torch.from_numpy((FROM_AXIS < 0.6) & ball(GRID, 12))
    apart = (two - one)[core]
    assert apart.numel() > 10 and two[core].mean() > 0.15
    assert apart.std() < 1e-5  # what is kept of the first stage is moved as a whole
    assert (two - one)[torch.from_numpy(~TUBE & ball(GRID, 12))].std() > 1e-4


def test_without_dark_tubes_there_is_one_stage(scene):
    field, magnitude, one, _ = scene
    assert torch.equal(qsmart(field, MASK, GRID, torch.full_like(magnitude, 500.0)), one)


def test_the_unit_of_the_magnitude_and_what_lies_outside_do_not_matter(scene):
    field, magnitude, _, two = scene
    other = torch.where(MASK, magnitude * 8, torch.nan)
    assert torch.allclose(qsmart(field, MASK, GRID, other), two, atol=1e-5)


def test_small_things_keep_most_of_their_susceptibility(scene):
    chi = scene[-1].numpy()
    around = ball(GRID, 7, (0, -8, 0)) & ~ball(GRID, 5, (0, -8, 0))
    assert 0.04 < chi[NUCLEUS].mean() - chi[around].mean() < 0.12
