"""Smoothing along the cord: the Gaussian of a straight cord is the ordinary one, and a bent cord is smoothed along its bend."""

import numpy as np
import pytest
from cord.test_straightening import CASES, centerline, course, grid_of, tube
from scipy.ndimage import gaussian_filter1d

from neuraxis.cord.smoothing import smooth_along_cord
from neuraxis.table import Table
from neuraxis.volume import Volume


def straight_line(grid, x=0.0, y=0.0):
    z = grid.matrix[2, 3] + grid.voxel_size[2] * np.arange(grid.shape[2])
    return Table.of({"slice": np.arange(len(z)), "x_mm": 0 * z + x, "y_mm": 0 * z + y, "z_mm": z})


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0)])
def test_a_straight_cord_gets_the_ordinary_gaussian(size):
    grid = grid_of(size=size, lengths=(30, 30, 90))
    noise = np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    found = smooth_along_cord(Volume(noise, grid), straight_line(grid), sigma_is=3.0, width=20)
    expected = gaussian_filter1d(noise, 3.0 / size[2], axis=2, truncate=np.ceil(9 / size[2]) * size[2] / 3)
    middle = tuple(slice(n // 2 - 2, n // 2 + 2) for n in grid.shape[:2])
    inner = slice(int(12 / size[2]), -int(12 / size[2]))
    assert np.allclose(found.data[middle][..., inner], expected[middle][..., inner], atol=1e-3)


@pytest.mark.parametrize("knob, axis", [("sigma_rl", 0), ("sigma_ap", 1)])
def test_across_the_cord(knob, axis):
    grid = grid_of(lengths=(40, 40, 30))
    noise = np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    found = smooth_along_cord(Volume(noise, grid), straight_line(grid), sigma_is=0, **{knob: 1.0}, width=30)
    expected = gaussian_filter1d(noise, 1.0, axis=axis, truncate=3)
    assert np.allclose(found.data[18:22, 18:22, 5:-5], expected[18:22, 18:22, 5:-5], atol=1e-3)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bent_cord_keeps_its_edges(case):
    """A tube that is the same along its course stays what it is; smoothing along z alone would blur its walls."""
    image, table = tube(grid_of(**case))
    found = smooth_along_cord(image, table, sigma_is=5.0, width=22)
    upright, smoothed = image.oriented("LAS"), found.oriented("LAS")
    arc = np.arange(len(table))
    inner = table["slice"][(arc > len(arc) * 0.2) & (arc < len(arc) * 0.8)]
    difference = np.abs(smoothed.data[:, :, inner] - upright.data[:, :, inner])
    plain = gaussian_filter1d(upright.data, 5.0 / upright.grid.voxel_size[2], axis=2)[:, :, inner]
    wrong = np.abs(plain - upright.data[:, :, inner])
    assert np.sqrt((difference**2).mean()) < 0.4 * np.sqrt((wrong**2).mean())


def test_noise_falls_along_a_bent_cord():
    grid = grid_of("PSR")
    _, table = tube(grid)
    noise = Volume(np.random.default_rng(1).standard_normal(grid.shape).astype(np.float32), grid)
    found = smooth_along_cord(noise, table, sigma_is=3.0, width=26)
    x, y, _, _ = course(np.zeros(1))
    near = np.linalg.norm(
        np.indices(grid.shape).reshape(3, -1).T @ grid.matrix[:3, :3].T
        + grid.matrix[:3, 3]
        - np.array([x[0], y[0], 0]),
        axis=1,
    ).reshape(grid.shape)
    inside = near < 12
    expected = 1 / np.sqrt(2 * np.sqrt(np.pi) * 3)
    assert found.data[inside].std() == pytest.approx(expected, rel=0.15)


def test_outside_stays_and_a_constant_stays():
    grid = grid_of("RPI", turn=(5, 3, -4))
    table = centerline(grid)
    noise = Volume(np.random.default_rng(2).standard_normal(grid.shape).astype(np.float32), grid)
    found = smooth_along_cord(noise, table, width=16)
    same = found.data == noise.data
    assert 0.7 < same.mean() < 0.99 and found.grid == noise.grid
    flat = Volume(np.full(grid.shape, 3.5, np.float32), grid)
    assert np.allclose(smooth_along_cord(flat, table, sigma_rl=1, sigma_ap=1, width=12).data, 3.5, atol=1e-4)
    assert np.array_equal(smooth_along_cord(noise, table, sigma_is=0).data, noise.data)


def test_at_the_edge_of_the_field_of_view_no_zeros_come_in():
    grid = grid_of(lengths=(40, 40, 60))
    ones = Volume(np.ones(grid.shape, np.float32), grid)
    found = smooth_along_cord(ones, straight_line(grid, x=19.5), sigma_rl=2, sigma_is=4)
    assert np.allclose(found.data, 1, atol=1e-5)


@pytest.mark.parametrize("knobs", [{"sigma_is": -1}, {"sigma_rl": np.nan}, {"sigma_ap": np.inf}, {"width": 0}])
def test_knobs_outside_their_range(knobs):
    image, table = tube(grid_of(size=(3, 3, 3)))
    with pytest.raises(ValueError, match=next(iter(knobs))):
        smooth_along_cord(image, table, **knobs)
    with pytest.raises(ValueError, match="two"):
        smooth_along_cord(image, table.where(np.arange(1)))
