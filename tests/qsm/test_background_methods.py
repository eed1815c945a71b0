"""What single methods of background removal promise, and the solvers below them."""

import numpy as np
import pytest
import torch
from contracts.analytic import ball, centred_grid, sphere_field

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.numerics.filters import wrap
from neuraxis.numerics.multigrid import negative_laplacian, solve_poisson
from neuraxis.qsm.background import iharperella, ismv, lbv, sharp
from neuraxis.units import radians_per_ppm_second


def _problem():
    grid = centred_grid((40, 40, 40))
    mask = torch.from_numpy(ball(grid, 16))
    outer = torch.from_numpy(sphere_field(grid, 5, 9.4, (2.0, 23.0, -7.0))) * mask
    inner = torch.from_numpy(sphere_field(grid, 4, 0.2, (2.0, -3.0, 1.0))) * mask
    return outer, inner, mask, grid


def test_conjugate_gradients_solve_what_a_direct_solver_solves():
    generator = torch.Generator().manual_seed(0)
    root, right = torch.randn(20, 20, generator=generator), torch.randn(20, generator=generator)
    matrix = root @ root.T + 5 * torch.eye(20)
    found, done = conjugate_gradients(lambda x: matrix @ x, right, tolerance=1e-6)
    assert done <= 30
    assert torch.allclose(found, torch.linalg.solve(matrix, right), atol=1e-5)
    assert conjugate_gradients(lambda x: matrix @ x, torch.zeros(20)) == (pytest.approx(torch.zeros(20)), 0)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.6, 0.6, 3.0)])
@pytest.mark.parametrize("shape", [(40, 47, 33), (70, 64, 61)])
def test_multigrid_converges_in_a_few_steps_whatever_the_size(voxel_size, shape):
    mask = torch.from_numpy(ball(centred_grid(shape), 0.48 * min(shape)))
    mask[: shape[0] // 2, : shape[1] // 2] &= torch.rand(shape[2], generator=torch.Generator().manual_seed(1)) < 0.9
    truth = torch.randn(shape, generator=torch.Generator().manual_seed(2)) * mask
    source = negative_laplacian(truth, voxel_size)
    found, done = solve_poisson(source, mask, voxel_size, tolerance=1e-5)
    assert done <= 15
    assert float((found - truth).norm() / truth.norm()) < 1e-3
    assert not found[~mask].any()


def test_lbv_is_exact_for_a_harmonic_polynomial_and_zero_at_its_edge():
    grid = centred_grid((32, 30, 28), (1.0, 1.2, 1.5))
    x, y, z = np.moveaxis(np.stack(np.indices(grid.shape), -1) * grid.voxel_size - 16, -1, 0)
    field = torch.from_numpy((x**2 - y**2 + 3 * x * z - z).astype(np.float32)) * 0.01
    mask = torch.from_numpy(ball(grid, 14))
    local, kept = lbv(field, mask, grid, tolerance=1e-5)
    assert float(local.abs().max()) < 1e-4 * float(field[mask].abs().max())
    assert not (kept & ~mask).any()


def test_lbv_and_ismv_keep_less_where_more_is_asked():
    outer, inner, mask, grid = _problem()
    sizes = [lbv(outer + inner, mask, grid, rim=rim)[1].sum() for rim in (0, 2, 4)]
    assert sizes[0] > sizes[1] > sizes[2]
    sizes = [ismv(outer + inner, mask, grid, radius=radius)[1].sum() for radius in (2, 4, 6)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_more_iterations_take_ismv_to_its_fixed_point():
    outer, inner, mask, grid = _problem()
    fixed, _ = ismv(outer + inner, mask, grid, iterations=200, tolerance=1e-6)
    far, near = (ismv(outer + inner, mask, grid, tolerance=one)[0] for one in (1e-1, 1e-3))
    assert (near - fixed).norm() < 0.2 * (far - fixed).norm()
    assert (near - fixed).norm() < 0.02 * fixed.norm()


def test_a_sphere_that_does_not_fit_is_named():
    outer, _, mask, grid = _problem()
    with pytest.raises(ValueError, match="no sphere of 30"):
        sharp(outer, mask, grid, radius=30.0)


@pytest.mark.parametrize("strength", [1.5, 7.0])
def test_the_result_of_iharperella_is_ppm_whatever_strength_and_echoes(strength):
    """Wraps within and between echoes, an offset, and echoes of unequal magnitude leave the field what it is."""
    _, inner, mask, grid = _problem()
    inner = inner * 10
    scale = radians_per_ppm_second(strength)
    expected, kept = None, None
    for times in ([0.002], [0.002, 0.009, 0.02]):
        offset = torch.linspace(-2, 2, 40)[:, None, None].expand(40, 40, 40)
        phase = torch.stack([wrap(inner * float(scale * t) + offset) for t in times], -1)
        magnitude = torch.stack([torch.full_like(inner, 100 * float(np.exp(-t / 0.03))) for t in times], -1)
        found, kept = iharperella(phase, np.array(times), strength, mask, grid, magnitude, offset)
        assert expected is None or torch.allclose(found, expected, atol=0.02 * float(inner.abs().max()))
        expected = found
    deep = kept & torch.from_numpy(ball(grid, 11))
    slope = np.polyfit(inner[deep].numpy(), found[deep].numpy(), 1)[0]
    assert slope == pytest.approx(1, abs=0.2)
