import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, centred_grid, rotation, sphere_field

from neuraxis.numerics.dipole import dipole_field, dipole_kernel
from neuraxis.volume import Grid

TILT = (0.3, -0.4, 0.8)


def _whole(shape, voxel_size, direction):
    """The equation on the whole spectrum, in double precision, term by term."""
    k = np.meshgrid(*[np.fft.fftfreq(n, h) for n, h in zip(shape, voxel_size, strict=True)], indexing="ij")
    b = np.array(direction) / np.linalg.norm(direction)
    squared = sum(axis**2 for axis in k)
    squared[0, 0, 0] = 1
    taper = [np.cos(np.pi * axis * h) for axis, h in zip(k, voxel_size, strict=True)]
    product = sum((k[i] * b[i]) ** 2 for i in range(3))
    product += sum(2 * k[i] * b[i] * taper[i] * k[j] * b[j] * taper[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    kernel = 1 / 3 - product / squared
    kernel[0, 0, 0] = 0
    return kernel


@pytest.mark.parametrize("shape", [(7, 9, 11), (8, 10, 6)])
@pytest.mark.parametrize("direction", [(0, 0, 1), TILT, (0, -2, 0)])
def test_kernel_is_its_equation(shape, direction):
    voxel_size = (1.0, 0.7, 2.0)
    found = dipole_kernel(shape, voxel_size, direction)
    assert found.dtype == torch.float32
    assert np.allclose(found, _whole(shape, voxel_size, direction)[..., : shape[2] // 2 + 1], atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 10, 6), (8, 9, 6), (7, 10, 12)])
def test_kernel_is_even_even_at_the_nyquist_frequency(shape):
    """So the kernel is the spectrum of a real field, whichever half of the spectrum is kept."""
    kernel = dipole_kernel(shape, (1.0, 1.5, 2.0), TILT)
    there_and_back = torch.fft.rfftn(torch.fft.irfftn(kernel.to(torch.complex64), s=shape))
    assert torch.allclose(there_and_back.real, kernel, atol=1e-6) and there_and_back.imag.abs().max() < 1e-6


def test_kernel_is_that_of_the_papers_along_the_axes_and_where_k_is_small():
    b = np.array(TILT) / np.linalg.norm(TILT)
    k = np.array([0.02, -0.01, 0.03])  # 2, -1 and 3 of 100 voxels of 1 mm
    assert float(dipole_kernel((100, 100, 100), (1, 1, 1), TILT)[2, -1, 3]) == pytest.approx(
        1 / 3 - (k @ b) ** 2 / (k @ k), abs=3e-3
    )
    x, y, z = np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8), np.fft.rfftfreq(8), indexing="ij")
    expected = 1 / 3 - z**2 / np.where(x**2 + y**2 + z**2 == 0, np.inf, x**2 + y**2 + z**2)
    expected[0, 0, 0] = 0
    assert np.allclose(dipole_kernel((8, 8, 8), (1, 1, 1), (0, 0, 1)), expected, atol=1e-6)


def test_kernel_has_no_mean_and_ignores_sign_and_length_of_the_direction():
    kernel = dipole_kernel((8, 8, 8), (1, 1, 1), TILT)
    assert kernel[0, 0, 0] == 0 and kernel.min() >= -2 / 3 - 1e-6 and kernel.max() <= 1 / 3 + 1e-6
    assert torch.allclose(kernel, dipole_kernel((8, 8, 8), (1, 1, 1), tuple(-5 * b for b in TILT)), atol=1e-6)
    with pytest.raises(ValueError, match="direction"):
        dipole_kernel((8, 8, 8), (1, 1, 1), (0, 0, 0))


@pytest.mark.parametrize("name", list(GRIDS))
def test_field_of_a_sphere(name):
    grid: Grid = GRIDS[name]
    chi = torch.from_numpy(ball(grid, 8).astype(np.float32))
    found = dipole_field(chi, grid.voxel_size, grid.b0_direction).numpy()
    expected = sphere_field(grid, 8)
    far = ball(grid, 21) & ~ball(grid, 10.5)
    deep = ball(grid, 4)
    assert np.corrcoef(found[far], expected[far])[0, 1] > 0.99
    assert np.polyfit(expected[far], found[far], 1)[0] == pytest.approx(1, abs=0.05)
    assert abs(found[deep].mean()) < 0.02 and found[deep].std() < 0.03


def test_field_does_not_wrap_around():
    """A source at one end makes at the other end no more than its distant field, and not that of a near image."""
    grid = centred_grid((12, 12, 30))
    chi = torch.zeros(grid.shape)
    chi[5:8, 5:8, :3] = 1.0
    near = dipole_field(chi, (1, 1, 1), centred_grid(turn=rotation(0, 20)).b0_direction)
    assert near[:, :, 20:].abs().max() < 5e-3  # an image three voxels from the end would make more than 0.02


@pytest.mark.parametrize("degrees", [0, 10, 25, 45])
def test_edges_do_not_ring_when_the_main_field_is_tilted(degrees):
    grid = centred_grid((56, 56, 80), turn=rotation(0, degrees))
    chi = torch.from_numpy(ball(grid, 6).astype(np.float32))
    far = ball(grid, 40) & ~ball(grid, 20)
    expected = sphere_field(grid, 6)[far]
    error = dipole_field(chi, grid.voxel_size, grid.b0_direction).numpy()[far] - expected
    assert error.std() < 0.05 * expected.std()
