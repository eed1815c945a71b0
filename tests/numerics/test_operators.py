import numpy as np
import pytest
import torch

from neuraxis.numerics import operators
from neuraxis.numerics.fourier import irfftn, rfftn

SIZES = [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.6, 1.0, 2.0)]
sizes = pytest.mark.parametrize("voxel_size", SIZES, ids=str)


@sizes
def test_gradient_of_a_plane_is_its_slope(voxel_size):
    x, y, z = (np.arange(n) * h for n, h in zip((6, 7, 8), voxel_size, strict=True))
    plane = torch.from_numpy(2 * x[:, None, None] - 3 * y[None, :, None] + 0.5 * z[None, None, :]).float()
    inner = operators.gradient(plane, voxel_size)[:, :-1, :-1, :-1]
    assert torch.allclose(inner, torch.tensor([2.0, -3.0, 0.5])[:, None, None, None].expand_as(inner), atol=1e-4)


@sizes
def test_divergence_is_minus_the_adjoint_of_the_gradient(voxel_size):
    a, v = torch.randn(6, 7, 8, dtype=torch.float64), torch.randn(3, 6, 7, 8, dtype=torch.float64)
    left = (operators.gradient(a, voxel_size) * v).sum()
    assert float(left) == pytest.approx(-float((a * operators.divergence(v, voxel_size)).sum()))


@sizes
@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 8, 9)])
def test_eigenvalues_are_those_of_the_differences(voxel_size, shape):
    a = torch.randn(shape)
    values = operators.laplacian_eigenvalues(shape, voxel_size)
    expected = -operators.divergence(operators.gradient(a, voxel_size), voxel_size)
    assert values.dtype == torch.float32 and values.min() == values[0, 0, 0] == 0
    assert torch.allclose(irfftn(rfftn(a) * values, shape), expected, atol=1e-4)


@sizes
@pytest.mark.parametrize("radius", [1.0, 1.7, 4.0, 9.0])
def test_the_mean_of_harmonic_polynomials_over_a_sphere_is_their_centre_value(voxel_size, radius):
    radius *= max(voxel_size)
    ball = operators.sphere(radius, voxel_size).double()
    x, y, z = (
        ((torch.arange(n) - n // 2) * h).view([-1 if i == axis else 1 for i in range(3)])
        for axis, (n, h) in enumerate(zip(ball.shape, voxel_size, strict=True))
    )
    assert ball.min() >= 0 and float(ball.sum()) == pytest.approx(1, abs=1e-5)
    for harmonic in (x, y * z, x**2 - y**2, 2 * z**2 - x**2 - y**2, x**3 - 3 * x * y**2):
        assert abs(float((ball * harmonic).sum())) < 1e-4 * radius**2
    fourth = x**4 - 6 * x**2 * y**2 + y**4  # no longer exact, but small where the grid is fine
    if radius >= 4 * max(voxel_size):
        assert abs(float((ball * fourth).sum())) < 0.03 * float((ball * (x**2 + y**2) ** 2).sum())


def test_a_sphere_has_its_size():
    ball = operators.sphere(8.0, (1.0, 1.0, 2.0))
    volume = 2.0 / float(ball.max())
    assert volume == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.05)


def test_the_spectrum_is_that_of_the_mean_around_each_voxel():
    shape, voxel_size = (12, 14, 16), (1.0, 1.0, 1.5)
    spectrum = operators.sphere_spectrum(shape, voxel_size, 3.0)
    point = torch.zeros(shape)
    point[6, 7, 8] = 1.0
    ball = operators.sphere(3.0, voxel_size)
    spread = irfftn(rfftn(point) * spectrum, shape)
    around = tuple(slice(c - n // 2, c + n // 2 + 1) for c, n in zip((6, 7, 8), ball.shape, strict=True))
    assert torch.allclose(spread[around], ball, atol=1e-6)
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)


def test_spheres_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="0.9 mm does not reach"):
        operators.sphere(0.9, (1.0, 1.0, 2.0))
    with pytest.raises(ValueError, match="does not reach"):
        operators.sphere(float("nan"), (1.0, 1.0, 2.0))
    with pytest.raises(ValueError, match="does not fit"):
        operators.sphere_spectrum((8, 30, 30), (1.0, 1.0, 1.0), 6.0)
