import pytest
import torch
from contracts.analytic import GRIDS, ball, sphere_field

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.inversion.hdqsm import hdqsm
from neuraxis.qsm.inversion.ilsqr import ilsqr
from neuraxis.qsm.inversion.linear_data import HOLD, BoundedVariation, quadratic_step
from neuraxis.qsm.inversion.lsqr import lsqr
from neuraxis.qsm.inversion.nltv import nltv
from neuraxis.qsm.inversion.nonlinear_data import field_data, split_minimum
from neuraxis.qsm.inversion.star import star
from neuraxis.qsm.inversion.tsvd import tsvd
from neuraxis.qsm.inversion.tv import tv

WEIGHTED = [tv, nltv, hdqsm, star, lsqr]


def _sphere(chi=0.5, radius=6.0, centre=(0.0, 0.0, 0.0)):
    grid = GRIDS["isotropic"]
    mask = torch.from_numpy(ball(grid, 17))
    return torch.from_numpy(sphere_field(grid, radius, chi, centre)) * mask, mask, grid


def _error(chi, mask, truth):
    found, want = chi[mask], truth[mask]
    return float(((found - found.mean()) - (want - want.mean())).norm() / (want - want.mean()).norm())


@pytest.mark.parametrize("method", WEIGHTED, ids=lambda one: one.__name__)
def test_even_noise_changes_nothing(method):
    field, mask, grid = _sphere()
    even = method(field, mask, grid, torch.full(grid.shape, 0.003))
    assert torch.allclose(even, method(field, mask, grid), atol=1e-4)


@pytest.mark.parametrize("method", WEIGHTED, ids=lambda one: one.__name__)
def test_noisy_voxels_count_less(method):
    field, mask, grid = _sphere()
    truth = 0.5 * torch.from_numpy(ball(grid, 6.0))
    generator = torch.Generator().manual_seed(1)
    noise = torch.where(torch.rand(grid.shape, generator=generator) < 0.2, 0.1, 0.002)
    spoiled = field + noise * torch.randn(grid.shape, generator=generator)
    weighted, even = (method(spoiled, mask, grid, one) for one in (noise, None))
    assert _error(weighted, mask, truth) < 0.8 * _error(even, mask, truth)


@pytest.mark.parametrize("method", WEIGHTED, ids=lambda one: one.__name__)
def test_noise_that_is_nowhere_known_is_refused(method):
    field, mask, grid = _sphere()
    with pytest.raises(ValueError, match="nowhere above 0"):
        method(field, mask, grid, torch.zeros(grid.shape))


def test_tv_is_at_its_minimum():
    """No smooth change of the map lowers what is minimised, and another way (other penalties) ends at the same map."""
    alpha = 3e-4
    field, mask, grid = _sphere()
    data = field_data(field, mask, grid, None, None, None, padding=10.0)

    def solved(mu, rho):
        smooth = BoundedVariation(data, alpha, rho, HOLD * mu)
        return split_minimum(data, smooth, quadratic_step, mu=mu, iterations=100, tolerance=0.0)

    def cost(chi):
        rest = (irfftn(rfftn(chi).mul_(data.kernel), data.padded, data.size) - data.field)[data.mask]
        steep = sum(float(torch.diff(chi, dim=axis).abs().sum()) for axis in range(3))
        return 0.5 * float(rest.square().sum()) + alpha * steep

    one, other = solved(1.0, 5e-3), solved(0.5, 2e-2)
    assert _error(data.crop(other), data.mask, data.crop(one)) < 0.05
    least = cost(one)
    wave = torch.sin(torch.arange(data.size[0]) / 3.0)[:, None, None] * data.mask
    for change in (0.1 * one, 0.02 * torch.nn.functional.pad(wave, [0, data.padded[2] - data.size[2], 0, data.padded[1] - data.size[1],
                                                                    0, data.padded[0] - data.size[0]])):  # fmt: skip
        assert cost(one + change) > least and cost(one - change) > least


def test_larger_alpha_is_smoother():
    field, mask, grid = _sphere()
    deep = torch.from_numpy(ball(grid, 13))
    steep = []
    for alpha in (1e-4, 1e-3, 1e-2):
        chi = tv(field, mask, grid, alpha=alpha)
        steep.append(float((torch.diff(chi, dim=2).abs() * deep[..., 1:]).sum()))
    assert steep[0] > 1.2 * steep[1] and steep[1] > 1.02 * steep[2]


def test_reweighting_darkens_less():
    field, mask, grid = _sphere()
    inside = torch.from_numpy(ball(grid, 4.0))
    plain, reweighted = (nltv(field, mask, grid, alpha=3e-3, edge=edge)[inside].mean() for edge in (1e3, 0.02))
    assert plain < reweighted <= 0.55


def test_hybrid_data_survive_voxels_that_are_wrong():
    field, mask, grid = _sphere()
    truth = 0.5 * torch.from_numpy(ball(grid, 6.0))
    spoiled = field.clone()
    wrong = mask & (torch.rand(grid.shape, generator=torch.Generator().manual_seed(2)) < 0.005)
    spoiled[wrong] += 0.5
    assert _error(hdqsm(spoiled, mask, grid), mask, truth) < 0.8 * _error(tv(spoiled, mask, grid), mask, truth)


def test_star_separates_the_strong_from_the_weak():
    strong, mask, grid = _sphere(-3.0, 3.0, (8.0, 0.0, 0.0))
    field = strong + _sphere(0.1, 6.0, (-7.0, 0.0, 0.0))[0]
    chi = star(field, mask, grid)
    weak = torch.from_numpy(ball(grid, 5.0, (-7.0, 0.0, 0.0)))
    rest = mask & ~torch.from_numpy(ball(grid, 5.0, (8.0, 0.0, 0.0))) & ~torch.from_numpy(ball(grid, 8.0, (-7.0, 0.0, 0.0)))
    assert float(chi[weak].mean() - chi[rest].mean()) == pytest.approx(0.1, rel=0.2)
    assert float(chi[torch.from_numpy(ball(grid, 1.5, (8.0, 0.0, 0.0)))].mean()) == pytest.approx(-3.0, rel=0.15)
    assert float(chi[rest].std()) < 0.06


def test_more_iterations_of_lsqr_fit_better():
    field, mask, grid = _sphere()
    truth = 0.5 * torch.from_numpy(ball(grid, 6.0))
    few, many = (_error(lsqr(field, mask, grid, iterations=n, tolerance=0.0), mask, truth) for n in (2, 20))
    assert many < 0.7 * few


def test_ilsqr_takes_off_streaks():
    """Of a noisy field, the first map alone (a cone that holds next to nothing) has more of them."""
    field, mask, grid = _sphere()
    truth = 0.5 * torch.from_numpy(ball(grid, 6.0))
    field = field + 0.01 * mask * torch.randn(grid.shape, generator=torch.Generator().manual_seed(3))
    with_streaks = ilsqr(field, mask, grid, cone=1e-4)
    assert _error(ilsqr(field, mask, grid), mask, truth) < 0.9 * _error(with_streaks, mask, truth)


def test_tsvd_leaves_out_what_is_badly_known():
    field, mask, grid = _sphere()
    dark, bright = (float(tsvd(field, mask, grid, threshold=t)[22, 24, 23]) for t in (0.3, 0.02))
    assert dark < 0.6 * bright
