"""The nonlinear data term, its steps, and what sets its methods apart."""

import math

import numpy as np
import pytest
import torch
from contracts.analytic import ball, centred_grid, positions, sphere_field

from neuraxis.numerics.dipole import dipole_field
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.operators import divergence, gradient
from neuraxis.qsm.inversion.fansi_tgv import _GeneralisedVariation
from neuraxis.qsm.inversion.fansi_tv import fansi_tv
from neuraxis.qsm.inversion.l1qsm import l1qsm
from neuraxis.qsm.inversion.medi import medi
from neuraxis.qsm.inversion.ndi import ndi
from neuraxis.qsm.inversion.nonlinear_data import (
    absolute_step,
    data_weight,
    field_data,
    least_squares_step,
    phase_scale,
)
from neuraxis.qsm.inversion.whqsm import whqsm
from neuraxis.units import radians_per_ppm_second

GRID = centred_grid((36, 36, 36))
MASK = torch.from_numpy(ball(GRID, 15))
SPHERE = ball(GRID, 4)
REST = ball(GRID, 13) & ~ball(GRID, 6)


def _field(chi=0.1):
    return torch.from_numpy(sphere_field(GRID, 5, chi)) * MASK


def _contrast(chi):
    return float(chi.numpy()[SPHERE].mean() - chi.numpy()[REST].mean())


def _error(chi, expected):
    return float((chi - expected)[MASK].norm() / expected[MASK].norm())


def test_the_phase_is_that_of_the_first_echo_while_no_wrap_is_near():
    field, times = torch.linspace(-0.02, 0.02, 1001), np.array([0.004, 0.012])
    assert phase_scale(field, 7.0, times) == pytest.approx(radians_per_ppm_second(7.0) * 0.004)
    assert phase_scale(50 * field, 7.0, times) == pytest.approx(math.pi / 2, rel=0.01)
    assert (
        phase_scale(50 * field, None, times)
        == phase_scale(50 * field, 3.0, None)
        == phase_scale(50 * field, 7.0, times)
    )
    assert phase_scale(torch.zeros(9), None, None) > 0


def test_weights_have_mean_one_and_none_rules_alone():
    mask = torch.ones(4, 4, 4, dtype=torch.bool)
    mask[0] = False
    noise = torch.full(mask.shape, 0.01)
    noise[1, 0, 0], noise[1, 0, 1], noise[1, 0, 2], noise[0] = 1e-9, 0.02, float("nan"), 5.0
    weight = data_weight(mask, noise, 2)
    assert weight[mask].mean() == pytest.approx(1) and not weight[~mask].any()
    assert weight[1, 0, 0] == pytest.approx(10 * weight[2, 2, 2]) and weight[1, 0, 2] == 0
    assert weight[1, 0, 1] == pytest.approx(weight[2, 2, 2] / 4)
    assert torch.equal(data_weight(mask, None, 2), mask.float())
    with pytest.raises(ValueError, match="noise"):
        data_weight(mask, torch.zeros(mask.shape), 1)


@pytest.mark.parametrize("power", [1, 2])
def test_a_step_finds_the_minimum(power):
    """Against a search over all values."""
    x = torch.linspace(-0.3, 0.3, 61)
    weight, scale, mu = torch.full_like(x, 1.5), 4.0, 7.0
    z = torch.linspace(-0.4, 0.4, 8001)[:, None]
    signal = torch.exp(1j * scale * z) - 1
    term = signal.abs() ** 2 / (2 * scale**2) if power == 2 else signal.abs() / scale
    best = z[(1.5 * term + mu / 2 * (z - x) ** 2).argmin(0), 0]
    step = (least_squares_step if power == 2 else absolute_step)(weight, scale, mu)
    found = torch.zeros_like(x)
    for _ in range(8):
        found = step(x, found)
    assert torch.allclose(found, best, atol=0.002)


def test_chi_and_slope_solve_their_equations():
    """The closed form of total generalised variation, against the equations in image space."""
    grid = centred_grid((12, 10, 9), (1.0, 1.5, 2.0))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    data = field_data(torch.randn(grid.shape, generator=generator), mask, grid, None, None, None, padding=3.0)
    alpha, rho, alpha_curvature, rho_curvature, mu = 0.2, 1.3, 0.3, 0.7, 0.9
    regulariser = _GeneralisedVariation(data, alpha, rho, alpha_curvature, rho_curvature)
    chi = torch.randn(data.padded, generator=generator)
    pull, fidelity = rfftn(torch.randn(data.padded, generator=generator)).mul_(data.kernel), mu * data.kernel**2
    h = grid.voxel_size
    v = gradient(chi, h)
    target = v - 2 * v.clamp(-alpha / rho, alpha / rho)
    spectrum = regulariser.solve(chi, pull.clone(), fidelity)
    found, slope = irfftn(spectrum, data.padded), regulariser.slope
    rest = gradient(found, h) - slope - target
    first = irfftn(spectrum * fidelity - pull, data.padded) - rho * divergence(rest, h)
    assert (first - first.mean()).abs().max() < 1e-4
    rows = torch.stack([gradient(slope[i], h) for i in range(3)])
    bent = (rows + rows.transpose(0, 1)) / 2
    second = -rho * rest - rho_curvature * torch.stack([divergence(bent[i], h) for i in range(3)])
    assert second.abs().max() < 1e-4


def test_acceleration_keeps_the_fixed_point():
    field = _field()
    expected = ndi(field, MASK, GRID, iterations=200, damping=0.05)
    assert _error(ndi(field, MASK, GRID, iterations=60, damping=0.05), expected) < 0.01
    assert _error(ndi(field, MASK, GRID, iterations=5, damping=0.05), expected) > 0.03
    early = ndi(field, MASK, GRID, iterations=200, damping=0.05, tolerance=0.05)
    assert 0.001 < _error(early, expected) < 0.3


def test_bad_voxels_make_no_streaks_in_l1():
    field = _field()
    clean = l1qsm(field, MASK, GRID, alpha=0.1)
    generator = torch.Generator().manual_seed(1)
    bad = MASK & (torch.rand(field.shape, generator=generator) < 0.01)
    spoiled = torch.where(bad, field + 0.2 * torch.randn(field.shape, generator=generator).sign(), field)
    times = np.array([0.004])
    assert _error(l1qsm(spoiled, MASK, GRID, None, 7.0, times, alpha=0.1), clean) < 0.3
    assert _error(fansi_tv(spoiled, MASK, GRID, None, 7.0, times), clean) > 1


@pytest.mark.parametrize("method", [ndi, fansi_tv, medi])
def test_quiet_voxels_are_trusted_more(method):
    generator = torch.Generator().manual_seed(0)
    noise = torch.where(torch.rand(MASK.shape, generator=generator) < 0.2, 0.1, 0.001)
    field = _field() + noise * torch.randn(noise.shape, generator=generator) * MASK
    expected = method(_field(), MASK, GRID)
    assert _error(method(field, MASK, GRID, noise), expected) < 0.7 * _error(method(field, MASK, GRID), expected)


def _left_over():
    x, y, z = (torch.from_numpy(positions(GRID)[..., axis]).float() for axis in range(3))
    return (0.02 + 0.002 * x - 0.001 * y + 1e-4 * (x**2 - z**2)) * MASK


def test_a_harmonic_field_is_told_apart():
    field, background = _field(), _left_over()
    clean = whqsm(field, MASK, GRID)
    assert _contrast(clean) == pytest.approx(0.1, rel=0.2)
    found = _error(whqsm(field + background, MASK, GRID), clean)
    assert found < 0.2 * _error(fansi_tv(field + background, MASK, GRID), fansi_tv(field, MASK, GRID))


def test_spherical_means_take_the_background_off_and_leave_chi():
    """With the mean taken off the field alone, or in the wrong space off the kernel, chi would be far off."""
    field, background = _field(), _left_over()
    knobs = dict(smv_radius=3.0, iterations=8, alpha=1e-5)
    found = medi(field + background, MASK, GRID, **knobs)
    assert not found[~torch.from_numpy(ball(GRID, 13))].any()
    assert _contrast(found) == pytest.approx(0.1, rel=0.2)
    assert _error(found, medi(field, MASK, GRID, **knobs)) < 0.05
    with pytest.raises(ValueError, match="smv_radius 30"):
        medi(field, MASK, GRID, smv_radius=30.0, padding=60.0)


def test_edges_of_the_magnitude_keep_edges_of_chi():
    chi = torch.from_numpy(0.1 * ball(GRID, 5)).float()
    field = dipole_field(chi, GRID.voxel_size, GRID.b0_direction) * MASK
    magnitude = torch.from_numpy(1.0 + ball(GRID, 5)).float()
    inside, around = torch.from_numpy(ball(GRID, 5)), torch.from_numpy(ball(GRID, 6) & ~ball(GRID, 5))

    def step(found):
        return float(found[inside].mean() - found[around].mean())

    with_edges = medi(field, MASK, GRID, None, None, None, magnitude, alpha=3e-3, edges=0.02)
    without = medi(field, MASK, GRID, alpha=3e-3)
    assert step(with_edges) > step(without) + 0.005


def test_voxels_that_fit_badly_weigh_less():
    field = _field()
    bad = torch.zeros_like(MASK)
    bad[14:16, 24:26, 20:22] = True
    spoiled = torch.where(bad, field + 0.3, field)
    clean = medi(field, MASK, GRID)
    assert _error(medi(spoiled, MASK, GRID, merit=4.0), clean) < 0.6 * _error(medi(spoiled, MASK, GRID), clean)


def test_ventricles_are_uniform_and_zero():
    generator = torch.Generator().manual_seed(0)
    field = _field() + 0.003 * torch.randn(MASK.shape, generator=generator) * MASK
    fluid = torch.from_numpy(ball(GRID, 7, (9, 0, 0)))
    r2star = torch.where(fluid, 1.0, 25.0)
    r2star[~MASK] = float("nan")
    plain = medi(field, MASK, GRID)
    found = medi(field, MASK, GRID, None, None, None, None, r2star, csf_weight=0.1)
    core = torch.from_numpy(ball(GRID, 3, (9, 0, 0)))
    assert (
        found[core].abs().max() < 0.01
        and abs(found[core].mean()) < 0.001
        and found[core].std() < 0.4 * plain[core].std()
    )
    assert _contrast(found) == pytest.approx(_contrast(plain), rel=0.05)
    with pytest.raises(ValueError, match="0 mm³ of fluid"):
        medi(field, MASK, GRID, None, None, None, None, r2star, csf_weight=1.0, csf_r2star=0.5)
    with pytest.raises(ValueError, match=r"R2\*"):
        medi(field, MASK, GRID, csf_weight=1.0)


def test_edges_has_a_range():
    with pytest.raises(ValueError, match="edges.*1.0"):
        medi(_field(), MASK, GRID, edges=1.0)
