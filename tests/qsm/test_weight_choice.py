import math

import pytest
import torch
from contracts.analytic import GRIDS, ball, sphere_field

from neuraxis.engine import Method
from neuraxis.numerics.dipole import dipole_field
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.inversion.hdqsm import hdqsm
from neuraxis.qsm.inversion.nonlinear_data import field_data
from neuraxis.qsm.inversion.tikhonov import tikhonov
from neuraxis.qsm.inversion.tv import tv
from neuraxis.qsm.inversion.weight_choice import check_weight, discrepancy_weight, inflection_weight

AUTO = [(tikhonov, "weight"), (tv, "alpha"), (hdqsm, "alpha")]
NOISE = 0.01


def _noisy(level=NOISE):
    """A sphere of 0.5 ppm, the noise of its field, and what is known of that."""
    grid = GRIDS["isotropic"]
    mask = torch.from_numpy(ball(grid, 19))
    noise = level * torch.ones(grid.shape)
    field = torch.from_numpy(sphere_field(grid, 6.0, 0.5))
    field += torch.randn(grid.shape, generator=torch.Generator().manual_seed(0)) * noise
    return field * mask, mask, grid, noise


def _made(chi, known):
    """The field of a map in the mask."""
    field, mask, grid, _ = known
    data = field_data(field, mask, grid, None, None, None, padding=10.0)
    return irfftn(rfftn(chi[data.box], data.padded).mul_(data.kernel), data.padded, data.size)[data.mask], data.field[data.mask]


def test_the_discrepancy_is_met_where_it_can_be():
    def measure(weight):
        return 2 * weight / (weight + 0.3), 1.0

    assert discrepancy_weight(measure, (1e-6, 1e2), 0.5) == pytest.approx(0.1, rel=0.05)
    assert discrepancy_weight(measure, (1e-6, 1e2), 5.0) == pytest.approx(1e2)
    assert discrepancy_weight(measure, (0.5, 1e2), 0.1) == pytest.approx(0.5)


def test_few_evaluations_find_it():
    seen = []

    def measure(weight):
        seen.append(weight)
        return 1e-3 + weight**0.3, 1.0

    discrepancy_weight(measure, (1e-8, 1.0), 0.1)
    assert len(seen) <= 10


def test_the_inflection_is_between_the_two_falls():
    """A penalty that falls least with the residual at weight 3, in logarithms."""

    def measure(weight):
        x = math.log(weight)
        return weight, math.exp(-0.2 * x - 0.02 * (x - math.log(3)) ** 3)

    assert inflection_weight(measure, (1e-3, 1e4)) == pytest.approx(3.0, rel=0.8)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf"), "automatic"])
def test_wrong_weights_are_named(wrong):
    with pytest.raises(ValueError, match=f"alpha.*{wrong}"):
        check_weight("alpha", wrong)


@pytest.mark.parametrize(("method", "knob"), AUTO, ids=lambda one: getattr(one, "__name__", one))
def test_the_command_line_can_ask_for_it(method, knob):
    one = next(k for k in Method.of(method).knobs if k.name == knob)
    assert one.read("auto") == "auto" and one.read("0.25") == 0.25
    with pytest.raises(ValueError, match="auto"):
        one.read("automatic")


def test_what_tv_leaves_over_equals_the_noise():
    known = _noisy()
    chosen = tv(*known, alpha="auto", iterations=15)
    made, field = _made(chosen, known)
    assert float((made - field).square().mean().sqrt()) == pytest.approx(NOISE, rel=0.15)


def test_more_noise_gives_a_smoother_tikhonov():
    steep = []
    for level in (0.003, 0.03):
        field, mask, grid, noise = _noisy(level)
        field = _noisy(0.003)[0]  # the same data: only what is said of the noise differs
        steep.append(float(tikhonov(field, mask, grid, noise, weight="auto").norm()))
    assert steep[1] < 0.9 * steep[0]


def test_the_l_curve_of_tikhonov_needs_no_noise():
    """Many sources of many sizes, as in tissue."""
    grid, generator = GRIDS["isotropic"], torch.Generator().manual_seed(1)
    mask, truth = torch.from_numpy(ball(grid, 19)), torch.zeros(grid.shape)
    for centre, size, chi in zip(torch.rand(60, 3, generator=generator), torch.rand(60, generator=generator),
                                 torch.randn(60, generator=generator), strict=True):  # fmt: skip
        truth[torch.from_numpy(ball(grid, 1 + 4 * float(size) ** 2, (centre * 26 - 13).tolist()))] = 0.2 * float(chi)
    field = dipole_field(truth, grid.voxel_size, grid.b0_direction)
    field += 0.002 * torch.randn(grid.shape, generator=generator)

    def error(weight):
        chi = tikhonov(field * mask, mask, grid, weight=weight)[mask]
        want = truth[mask] - truth[mask].mean()
        return float((chi - chi.mean() - want).norm() / want.norm())

    assert error("auto") < 1.2 * min(error(10.0**n) for n in range(-6, 1))
