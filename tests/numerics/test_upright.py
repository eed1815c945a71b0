import numpy as np
import pytest
from contracts.analytic import GRIDS, centred_grid, positions, rotation

from neuraxis.numerics.upright import signal_on, tilt, upright_grid, upright_of
from neuraxis.volume import Grid, Volume


def _turned(degrees, shape=(40, 36, 30), size=(1.0, 1.2, 2.0)):
    return centred_grid(shape, size, rotation(0, degrees) @ rotation(1, degrees / 2))


def test_tilt():
    assert tilt(GRIDS["isotropic"]) == pytest.approx(0, abs=1e-6)
    assert tilt(GRIDS["coronal"]) == pytest.approx(0, abs=1e-3)
    assert tilt(centred_grid((9, 9, 9), (1.0, 1.0, 1.0), rotation(0, 25))) == pytest.approx(25, abs=1e-6)


def test_only_oblique_grids_are_replaced():
    assert upright_of(GRIDS["isotropic"]) is None and upright_of(GRIDS["coronal"]) is None
    found = upright_of(_turned(20))
    assert found.voxel_size == pytest.approx((1.0, 1.2, 2.0)) and np.allclose(
        np.diag(np.diag(found.matrix[:3, :3])), found.matrix[:3, :3]
    )
    assert (np.diag(found.matrix[:3, :3]) > 0).all()


def test_voxel_sizes_go_with_the_axes():
    """Third voxel axis, of 2 mm, from left to right."""
    turn = rotation(0, 20) @ np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float)
    matrix = np.eye(4)
    matrix[:3, :3] = turn * (1.0, 1.2, 2.0)
    assert upright_of(Grid.of((30, 30, 20), matrix)).voxel_size == pytest.approx((2.0, 1.0, 1.2))


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR"])
def test_every_voxel_centre_is_inside(codes):
    grid = _turned(30)
    new = upright_grid(grid, (1.0, 1.0, 1.0), codes)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], [1], indexing="ij")).reshape(4, -1)
    at = (np.linalg.inv(new.matrix) @ grid.matrix @ corners)[:3]
    assert (at > -0.51).all() and (at < np.array(new.shape)[:, None] - 0.49).all()


def test_a_phase_that_wraps_and_a_smooth_magnitude_are_where_they_were():
    grid = _turned(20)
    new = upright_of(grid)

    def signal(on):
        x, y, z = np.moveaxis(positions(on), -1, 0)
        size = 100 * np.exp(-(x**2 + y**2 + z**2) / 800)
        angle = 0.9 * x + 0.7 * y - 0.4 * z  # rad per mm: wraps every few voxels
        return size, angle

    (size, angle), echoes = signal(grid), (0.5, 1.0)
    magnitude = Volume(np.stack([size / e for e in echoes], -1).astype(np.float32), grid)
    phase = Volume(np.stack([np.angle(np.exp(1j * angle * e)) for e in echoes], -1).astype(np.float32), grid)
    size2, angle2 = signal(new)
    at = (
        np.einsum("ij,...j->...i", np.linalg.inv(grid.matrix)[:3, :3], positions(new))
        + np.linalg.inv(grid.matrix)[:3, 3]
    )
    inside = ((at > 4) & (at < np.array(grid.shape) - 5)).all(-1)
    outside = ((at < -1) | (at > np.array(grid.shape))).any(-1)
    made, turned = signal_on(magnitude, phase, new)
    for n, echo in enumerate(echoes):
        assert np.abs(made.data[..., n] - size2 / echo)[inside].max() < 2
        off = np.angle(np.exp(1j * (turned.data[..., n] - angle2 * echo)))
        assert np.abs(off)[inside].max() < 0.02
        assert not made.data[..., n][outside].any()
    assert made.grid.same_as(new) and turned.data.dtype == np.float32 and inside.sum() > 1000
    alone, none = signal_on(magnitude, None, new)
    assert none is None and np.abs(alone.data[..., 1] - size2)[inside].max() < 1 and alone.data.min() >= 0
    none, alone = signal_on(None, phase, new)
    assert none is None and np.abs(np.angle(np.exp(1j * (alone.data[..., 0] - angle2 * 0.5))))[inside].max() < 0.02
