import pytest
import torch
from contracts.analytic import ball, centred_grid, positions, sphere_field
from documented import Unchanged, check_documented

from neuraxis.numerics.dipole import dipole_field
from neuraxis.qsm.inversion import tfi, tgv
from neuraxis.qsm.support import support

GRID = centred_grid((38, 36, 40))
each = pytest.mark.parametrize("method", [tgv, tfi], ids=lambda one: one.__name__)


def _problem():
    mask = torch.from_numpy(ball(GRID, 17))
    tissue = torch.from_numpy(sphere_field(GRID, 5, 0.3, (2, 0, 0)))
    air = torch.from_numpy(sphere_field(GRID, 5, 9.4, (0, 23, -6)))
    return tissue, air, mask


@each
def test_a_noisy_voxel_weighs_less(method):
    tissue, air, mask = _problem()
    field = (tissue + air) * mask
    noise = torch.full_like(field, 0.001)
    field[16, 21, 26], noise[16, 21, 26] = field[16, 21, 26] + 2.0, 1.0
    knobs = dict(start_iterations=10, iterations=5)
    good = method(torch.where(noise < 1, field, (tissue + air)), mask, GRID, **knobs)
    error = [float((method(field, mask, GRID, n, **knobs) - good).norm()) for n in (None, noise)]
    assert error[1] < 0.2 * error[0]


@each
def test_more_iterations_bring_the_sphere_nearer_to_the_truth(method):
    tissue, air, mask = _problem()
    inside, rest = ball(GRID, 4, (2, 0, 0)), ball(GRID, 14) & ~ball(GRID, 7, (2, 0, 0))
    found = []
    for iterations in (2, 30 if method is tgv else 6):
        chi = method((tissue + air) * mask, mask, GRID, iterations=iterations).numpy()
        found.append(abs(chi[inside].mean() - chi[rest].mean() - 0.3))
    assert found[1] < found[0] and found[1] < 0.06


@each
def test_noise_that_is_nowhere_known_is_refused(method):
    tissue, _, mask = _problem()
    with pytest.raises(ValueError, match="noise"):
        method(tissue, mask, GRID, torch.zeros_like(tissue))


@each
def test_a_rim_that_leaves_nothing_is_refused(method):
    tissue, _, mask = _problem()
    with pytest.raises(ValueError, match="rim of 30"):
        method(tissue, mask, GRID, rim=30.0)


def test_a_slope_stays_a_slope_in_tgv():
    """A ball whose susceptibility rises from one side to the other."""
    x, ramp = torch.from_numpy(positions(GRID)[..., 0]).float(), torch.from_numpy(ball(GRID, 8))
    truth = torch.where(ramp, 0.03 * x, 0.0)
    chi = tgv(
        dipole_field(truth, GRID.voxel_size, GRID.b0_direction), torch.from_numpy(ball(GRID, 17)), GRID, iterations=30
    )
    inside = torch.from_numpy(ball(GRID, 6))
    assert torch.corrcoef(torch.stack([chi[inside], truth[inside]]))[0, 1] > 0.95


def test_edges_of_the_magnitude_are_free_in_tfi():
    tissue, _, mask = _problem()
    magnitude = 1.0 + torch.from_numpy(ball(GRID, 5, (2, 0, 0))).float()
    field = tissue * mask
    knobs = dict(alpha=3e-3, start_iterations=10)
    with Unchanged(field, magnitude):
        found = [tfi(field, mask, GRID, None, m, **knobs) for m in (None, magnitude)]
    inside = torch.from_numpy(ball(GRID, 4, (2, 0, 0)))
    assert found[1][inside].mean() > found[0][inside].mean()


def test_support_is_where_there_are_values():
    check_documented(support, cites=False)
    chi = torch.zeros(4, 5, 6)
    chi[1:3, 2, 3] = torch.tensor([-0.1, 0.2])
    assert torch.equal(support(chi), chi != 0)
    with pytest.raises(ValueError, match="zero everywhere"):
        support(torch.zeros(4, 5, 6))
