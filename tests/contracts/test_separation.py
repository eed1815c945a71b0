import numpy as np
import pytest
import torch
from analytic import GRIDS, ball, sphere_field, turned
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.qsm.separation import METHODS, chi_sep_ilsqr, chi_sep_medi, r2prime_qsm, r2star_qsm
from neuraxis.volume import Grid

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
FROM_FIELD = [one for one in METHODS if Method.of(one).needs[0].name == "local_field"]
"""They invert the field themselves; the others are closed forms of a susceptibility that is known."""

STRENGTH = 3.0
SOURCES = {"iron": (0.20, -0.02), "myelin": (0.03, -0.15), "both": (0.12, -0.12)}
CENTRES = {"iron": (-8.0, 0, 0), "myelin": (8.0, 0, 0), "both": (0.0, 9.0, 0)}


def scene(grid: Grid):
    """Three balls that hold sources of both signs; truth, and what is measured of it."""
    plus, minus, field = (np.zeros(grid.shape, np.float32) for _ in range(3))
    for name, (para, dia) in SOURCES.items():
        inside = ball(grid, 4.0, CENTRES[name])
        plus[inside], minus[inside] = para, dia
        field += sphere_field(grid, 4.0, para + dia, CENTRES[name])
    mask = ball(grid, 19.0)
    given = {
        "local_field": field, "chi": plus + minus, "r2prime": 137 * (plus - minus), "r2star": 2 * 137 * (plus - minus),
        "combined_magnitude": 1000 - 2000 * (plus - minus),
    }  # fmt: skip
    return {k: torch.from_numpy(v.astype(np.float32)) for k, v in given.items()}, torch.from_numpy(mask), plus, minus


def run(method, given, mask, grid, strength=STRENGTH, **knobs):
    if method in FROM_FIELD:
        needs = (given["local_field"], given["r2prime"], given["combined_magnitude"], mask, strength, grid)
    else:
        needs = (given["chi"], given["r2prime" if method is r2prime_qsm else "r2star"], mask, strength)
    return method(*needs, **knobs)


@each
def test_documented(method):
    check_documented(method)


@each
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_sources_of_both_signs_are_told_apart(method, grid):
    given, mask, plus, minus = scene(grid)
    with Unchanged(*given.values(), mask):
        para, dia = run(method, given, mask, grid)
    for one in (para, dia):
        assert one.dtype == torch.float32 and torch.isfinite(one).all() and (one[~mask] == 0).all()
    assert (para >= 0).all() and (dia <= 0).all()
    tolerance = 0.025 if method in FROM_FIELD else 1e-5
    for name, (up, down) in SOURCES.items():
        core = torch.from_numpy(ball(grid, 3.0, CENTRES[name]))
        assert float(para[core].mean()) == pytest.approx(up, abs=tolerance)
        assert float(dia[core].mean()) == pytest.approx(down, abs=tolerance)


@each
def test_a_stronger_field_relaxes_more(method):
    grid = GRIDS["isotropic"]
    given, mask, *_ = scene(grid)
    more = given | {name: given[name] * 7 / 3 for name in ("r2prime", "r2star")}
    for one, two in zip(run(method, given, mask, grid), run(method, more, mask, grid, strength=7.0), strict=True):
        # the steepest of equal steps of R2' are chosen by rounding
        assert torch.allclose(one, two, atol=2e-3 if method is chi_sep_ilsqr else 1e-5)


@each
def test_the_order_of_the_axes_does_not_matter(method):
    grid = GRIDS["anisotropic and tilted"]
    given, mask, *_ = scene(grid)
    para, dia = run(method, given, mask, grid)
    other = {name: torch.from_numpy(turned(one.numpy(), grid)[0]) for name, one in given.items()}
    moved, place = turned(mask.numpy(), grid)
    again = run(method, other, torch.from_numpy(moved), place)
    for one, two in zip((para, dia), again, strict=True):
        assert np.corrcoef(turned(one.numpy(), grid)[0][moved], two.numpy()[moved])[0, 1] > 0.97


@each
def test_outside_may_hold_anything_and_nothing_gives_nothing(method):
    grid = GRIDS["isotropic"]
    given, mask, *_ = scene(grid)
    first = run(method, given, mask, grid)
    spoilt = {name: torch.where(mask, one, torch.nan) for name, one in given.items()}
    for one, two in zip(first, run(method, spoilt, mask, grid), strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    zero = {name: torch.zeros_like(one) for name, one in given.items()}
    assert not any(one.any() for one in run(method, zero, mask, grid))


@each
def test_wrong_knobs_are_named(method):
    grid = GRIDS["isotropic"]
    given, mask, *_ = scene(grid)
    wrong = {"relaxivity": 0.0, "baseline": -1.0} if method is r2star_qsm else {"relaxivity_para": 0.0, "relaxivity_dia": -3.0}
    if method in FROM_FIELD:
        wrong |= {"regularisation": 0.0, "r2prime_weight": -1.0, "edges": 1.0, "iterations": 0, "tolerance": -1.0, "padding": -1.0}
        wrong |= {"rho": 0.0} if method is chi_sep_medi else {"inner_iterations": 0}
    assert set(wrong) == {knob.name for knob in Method.of(method).knobs}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name) as error:
            run(method, given, mask, grid, **{name: value})
        assert str(value) in str(error.value)


def test_too_little_relaxation_keeps_the_sum():
    chi, rate = torch.tensor([0.1, -0.1, 0.0]).reshape(3, 1, 1), torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1)
    mask = torch.ones((3, 1, 1), dtype=torch.bool)
    para, dia = r2prime_qsm(chi, rate, mask, 3.0)
    assert torch.allclose(para[:, 0, 0], torch.tensor([0.1, 0, 0])) and torch.allclose(dia[:, 0, 0], torch.tensor([0, -0.1, 0]))
    para, dia = r2prime_qsm(torch.zeros_like(chi), rate + 10, mask, 3.0, relaxivity_para=100.0, relaxivity_dia=200.0)
    assert torch.allclose(100 * para - 200 * dia, rate + 10) and torch.allclose(para, -dia)


def test_the_baseline_is_taken_off():
    chi, mask = torch.full((1, 1, 1), 0.02), torch.ones((1, 1, 1), dtype=torch.bool)
    with_baseline = r2star_qsm(chi, torch.full((1, 1, 1), 30.0), mask, 3.0, baseline=8.0)
    assert torch.allclose(with_baseline[0], r2star_qsm(chi, torch.full((1, 1, 1), 22.0), mask, 3.0)[0])
