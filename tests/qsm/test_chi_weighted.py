"""Weights from the susceptibility, and the projection over slabs with its header."""

import nibabel
import numpy as np
import pytest
import torch
from analytic import GRIDS

from neuraxis.qsm.swi.chi_weighted import smwi, true_swi
from neuraxis.qsm.swi.projection import minimum_intensity
from neuraxis.volume import Grid, Volume

CHI = torch.tensor([-2.0, -0.5, 0.0, 0.225, 0.45, 0.9]).reshape(6, 1, 1)
ONES, ALL = torch.full((6, 1, 1), 8.0), torch.ones((6, 1, 1), dtype=torch.bool)


def test_true_swi_is_a_ramp():
    assert torch.allclose(true_swi(CHI, ONES, ALL)[:, 0, 0], torch.tensor([8.0, 8, 8, 2, 0, 0]))
    assert torch.allclose(true_swi(CHI, ONES, ALL, power=1.0)[3], torch.tensor(4.0))


def test_smwi_darkens_one_sign_each():
    para, dia = smwi(CHI, ONES, ALL, threshold=1.0, power=2.0)
    assert torch.allclose(para[:, 0, 0], 8 * torch.tensor([1, 1, 1, 0.775, 0.55, 0.1]) ** 2)
    assert torch.allclose(dia[:, 0, 0], 8 * torch.tensor([0, 0.5, 1, 1, 1, 1]) ** 2)
    nothing = torch.zeros_like(ALL)
    assert not any(one.any() for one in smwi(CHI, ONES, nothing)) and not true_swi(CHI, ONES, nothing).any()


def test_wrong_values_are_named():
    for knobs in ({"low": 0.5}, {"power": 0.0}):
        with pytest.raises(ValueError, match="low|power"):
            true_swi(CHI, ONES, ALL, **knobs)
    for knobs in ({"threshold": 0.0}, {"power": -1.0}):
        with pytest.raises(ValueError, match="threshold|power"):
            smwi(CHI, ONES, ALL, **knobs)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("step", [1, 3])
def test_slabs_lie_where_their_header_says(grid, step):
    data = np.full(grid.shape, 5.0, np.float32)
    dark = tuple(n // 2 for n in grid.shape)
    data[dark] = 1
    mask = np.ones(grid.shape, bool)
    mask[0] = False
    slabs = minimum_intensity(Volume(data, grid), Volume(mask, grid), thickness=8.0, step=step)
    axis = next(a for a in range(3) if slabs.grid.shape[a] != grid.shape[a])
    slices = round(8.0 / grid.voxel_size[axis])
    assert nibabel.aff2axcodes(grid.matrix)[axis] in "SI"
    assert slabs.grid.shape[axis] == (grid.shape[axis] - slices) // step + 1
    assert slabs.grid.voxel_size[axis] == pytest.approx(step * grid.voxel_size[axis])
    assert np.allclose(np.delete(slabs.grid.voxel_size, axis), np.delete(grid.voxel_size, axis))
    for found in np.argwhere(slabs.data == 1):  # the dark voxel is seen by the slabs whose centre lies within half a thickness of it
        away = (slabs.grid.matrix @ [*found, 1] - grid.matrix @ [*dark, 1])[:3]
        assert np.linalg.norm(away) <= (slices - 1) / 2 * grid.voxel_size[axis] + 1e-3
    seen = (slabs.data == 1).sum()
    assert slices // step <= seen <= -(-slices // step)
    assert (slabs.data[0] == 0).all() if axis else True


def test_a_dark_rim_outside_the_mask_does_not_count():
    grid = Grid.of((4, 4, 10), np.eye(4))
    data, mask = np.full((4, 4, 10), 5.0, np.float32), np.ones((4, 4, 10), bool)
    data[0], mask[0] = 0, False
    mask[1, :, 5:] = False
    data[1, :, 5:] = 0
    slabs = minimum_intensity(Volume(data, grid), Volume(mask, grid), thickness=4.0)
    assert (slabs.data[0] == 0).all() and (slabs.data[1, :, :5] == 5).all() and (slabs.data[1, :, 5:] == 0).all()
    assert minimum_intensity(Volume(data, grid), Volume(mask, grid), thickness=1e3).grid.shape == (4, 4, 1)
    for knobs in ({"thickness": 0.0}, {"step": 0}):
        with pytest.raises(ValueError, match="thickness|step"):
            minimum_intensity(Volume(data, grid), Volume(mask, grid), **knobs)
    with pytest.raises(ValueError, match="one grid"):
        minimum_intensity(Volume(data, grid), slabs)
