import numpy as np
import pytest
import torch
from contracts.analytic import ball, centred_grid
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.pipelines import QSM
from neuraxis.qsm.reference import csf, mean, none

each = pytest.mark.parametrize(
    "method", [one.function for step in QSM.steps if step.by.name == "reference" for one in step.by.methods], ids=lambda one: one.__name__
)
GRID = centred_grid((20, 21, 22), (2.0, 2.0, 2.0))
FLUID = torch.from_numpy(ball(GRID, 10))
R2STAR = torch.where(FLUID, 1.0, 20.0)


def call(method, chi, mask, **knobs):
    """With the grid and R2* for those that ask for them: fluid is a ball in the middle."""
    needs = {"grid": GRID, "r2star": R2STAR, "regions": np.where(FLUID.numpy(), 4, 3)}
    more = {need.name: needs[need.name] for need in Method.of(method).needs if need.name in needs}
    return method(chi, mask, **more, **knobs)


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    chi = torch.randn((20, 21, 22), generator=generator) * 0.05 + 0.3
    mask = torch.zeros(chi.shape, dtype=torch.bool)
    mask[3:15, 4:18, 5:20] = True
    return chi, mask


@each
def test_documented(method):
    check_documented(method, cites=method not in (mean, none))


@each
def test_finite_float_zero_outside_and_inputs_unchanged(method, given):
    chi, mask = given
    with Unchanged(chi, mask):
        found = call(method, chi, mask)
        assert found.data_ptr() != chi.data_ptr()
    assert found.dtype == torch.float32 and found.shape == chi.shape and torch.isfinite(found).all()
    assert not found[~mask].any()


@each
def test_contrast_does_not_change(method, given):
    chi, mask = given
    found = call(method, chi, mask)[mask] - chi[mask]
    assert float(found.max() - found.min()) < 1e-6


@each
def test_what_lies_outside_the_mask_does_not_matter(method, given):
    chi, mask = given
    assert torch.equal(call(method, torch.where(mask, chi, float("nan")), mask), call(method, chi, mask))


@each
def test_an_empty_mask_is_refused(method, given):
    chi, mask = given
    with pytest.raises(ValueError, match="mask is empty"):
        call(method, chi, torch.zeros_like(mask))


def test_mean_is_the_mean_over_the_mask_alone(given):
    chi, mask = given
    found = mean(chi, mask)
    assert abs(float(found[mask].double().mean())) < 1e-7
    expected = chi[mask].numpy().astype(np.float64)
    assert np.allclose(found[mask].numpy(), expected - expected.mean(), atol=1e-6)


def test_mean_counts_voxels_that_are_exactly_zero(given):
    chi, mask = given
    chi[5, 5, 6] = 0.0
    assert float(mean(chi, mask)[5, 5, 6]) == pytest.approx(-float(chi[mask].double().mean()), rel=1e-5)


def test_none_changes_nothing_inside(given):
    chi, mask = given
    assert torch.equal(none(chi, mask)[mask], chi[mask])


def test_csf_is_the_mean_over_the_fluid(given):
    chi, mask = given
    chi = torch.where(FLUID, chi + 0.5, chi)
    found = call(csf, chi, mask)
    inner = torch.from_numpy(ball(GRID, 6))
    assert abs(float(found[FLUID & mask].mean())) < 0.01 and abs(float(found[inner].mean())) < 0.02
    assert torch.allclose(found[mask] - chi[mask], found[mask][:1] - chi[mask][:1], atol=1e-6)


def test_csf_far_from_the_middle_or_too_little_is_none(given):
    chi, mask = given
    with pytest.raises(ValueError, match="mm³ of fluid.*another reference"):
        call(csf, chi, mask, least=20000.0)
    with pytest.raises(ValueError, match="mm³ of fluid"):
        call(csf, chi, mask, max_r2star=0.5)
    far = torch.roll(R2STAR, 9, 0)
    with pytest.raises(ValueError, match="mm³ of fluid"):
        csf(chi, mask, GRID, far, radius=5.0)


@pytest.mark.parametrize("knob", ["max_r2star", "radius", "least"])
@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(given, knob, value):
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        call(csf, *given, **{knob: value})
