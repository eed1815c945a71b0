"""Grids: voxel sizes, B0 direction and sameness for any orientation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from neuraxis.volume import Grid, Volume


def affine(angles, sizes, flips=(1, 1, 1)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(np.multiply(sizes, flips))
    return matrix


def test_b0_lies_along_z_of_an_axial_grid_whatever_the_voxel_size():
    assert Grid.of((4, 5, 6), np.diag([0.5, 1, 3, 1])).b0_direction == (0, 0, 1)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_b0_of_an_oblique_anisotropic_grid_is_the_bore_seen_from_the_voxels(flips):
    matrix = affine((20, -10, 35), (0.5, 1, 3), flips)
    grid = Grid.of((4, 5, 6), matrix)
    assert np.allclose(grid.voxel_size, (0.5, 1, 3)) and np.isclose(np.linalg.norm(grid.b0_direction), 1)
    world = matrix[:3, :3] / np.array(grid.voxel_size) @ np.array(grid.b0_direction)
    assert np.allclose(world, (0, 0, 1))


def test_b0_of_a_sagittal_acquisition():
    matrix = np.zeros((4, 4))
    matrix[1, 0], matrix[2, 1], matrix[0, 2], matrix[3, 3] = 1, -2, 4, 1
    assert np.allclose(Grid.of((4, 5, 6), matrix).b0_direction, (0, -1, 0))


def test_sameness_allows_what_nifti_rounds_and_no_more():
    grid = Grid.of((100, 100, 100), np.eye(4))
    near, far = np.eye(4), np.eye(4)
    near[0, 3], far[0, 0] = 5e-4, 1 + 1e-3
    assert grid.same_as(Grid.of(grid.shape, near)) and not grid.same_as(Grid.of(grid.shape, far))
    assert not grid.same_as(Grid.of((100, 100, 99), np.eye(4)))


def test_volumes_are_laid_onto_a_near_grid_only_where_that_is_allowed():
    volume = Volume(np.arange(24.0).reshape(2, 3, 4), Grid.of((2, 3, 4), affine((5, 0, 10), (1, 2, 3))))
    matrix = volume.grid.matrix.copy()
    matrix[0, 3] += 0.2
    near = Grid.of(volume.grid.shape, matrix)
    turned = volume.oriented("PSR")
    assert np.isclose(volume.grid.apart(near), 0.2) and volume.grid.apart(turned.grid) == float("inf")
    laid = turned.onto(near, slack=0.25)
    assert laid.grid is near and np.array_equal(laid.data, volume.data)
    with pytest.raises(ValueError, match="axes"):
        turned.onto(near)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="affine"):
        Grid.of((2, 2, 2), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="grid"):
        Volume(np.zeros((2, 2, 3)), Grid.of((2, 2, 2), np.eye(4)))


def test_a_part_of_a_grid_is_cut_out_and_nothing_else():
    grid = Grid.of((5, 6, 7), [[0, -2, 0, 1], [1.5, 0, 0, 2], [0, 0, 3, -4], [0, 0, 0, 1]])
    data = np.arange(2 * 5 * 6 * 7).reshape(5, 6, 7, 2)
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [1, 2, 3]
    part = Grid.of((3, 4, 2), matrix)
    assert np.array_equal(Volume(data, grid).cut(part).data, data[1:4, 2:6, 3:5])
    assert Volume(data, grid).cut(grid).data is data
    between = matrix.copy()
    between[:3, 3] += 0.3
    for wrong in (Grid.of((5, 4, 2), matrix), Grid.of((3, 4, 2), between), Grid.of((3, 4, 2), matrix @ np.diag([2, 1, 1, 1]))):
        with pytest.raises(ValueError, match="voxels"):
            Volume(data, grid).cut(wrong)
