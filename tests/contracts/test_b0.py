import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.qsm.b0 import METHODS, linear_fit, nonlinear_fit, weighted_average
from neuraxis.units import radians_per_ppm_second


def _knobs(method):
    return {knob.name for knob in Method.of(method).knobs}


each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
TIMES = np.array([0.004, 0.012, 0.02, 0.028])
WEIGHTINGS = ("phase_snr", "phase_var", "average", "tes", "magnitude", "t2star")
WEIGHTED = [(method, weighting) for method in METHODS for weighting in WEIGHTINGS if "weighting" in _knobs(method)]
SETTINGS = [
    *((method, {"weighting": weighting}) for method, weighting in WEIGHTED),
    *((method, {"intercept": free}) for method in METHODS for free in (False, True) if "intercept" in _knobs(method)),
]
"""Every method with every weighting and intercept that it knows."""
every = pytest.mark.parametrize(
    ("method", "knobs"), SETTINGS, ids=lambda one: one.__name__ if callable(one) else "-".join(map(str, one.values()))
)


def _object(echoes=4, noise=0.0, tesla=3.0):
    random = torch.Generator().manual_seed(0)
    mask = torch.zeros(24, 26, 28, dtype=torch.bool)
    mask[2:22, 3:23, 4:24] = True
    x = torch.linspace(-0.5, 0.5, 24)[:, None, None]
    field = (x + x**2).expand(mask.shape)
    magnitude = torch.stack(
        [100 * torch.exp(torch.tensor(-t / 0.03)).expand(mask.shape) for t in TIMES[:echoes]], -1
    ).float()
    k = radians_per_ppm_second(tesla)
    phase = torch.stack([float(k * t) * field for t in TIMES[:echoes]], -1)
    phase = phase + noise / magnitude * torch.randn(phase.shape, generator=random)
    return field, phase * mask[..., None], magnitude.contiguous(), mask, tesla


@each
def test_documented(method):
    check_documented(method)


@every
@pytest.mark.parametrize("echoes", [1, 2, 4])
def test_a_linear_phase_gives_its_field_in_ppm(method, knobs, echoes):
    field, phase, magnitude, mask, tesla = _object(echoes)
    with Unchanged(phase, magnitude, mask):
        found, noise = method(phase, mask, TIMES[:echoes], tesla, magnitude, **knobs)
    assert torch.allclose(found[mask], field[mask], atol=1e-5)
    assert (noise[mask] > 0).all() and torch.isfinite(noise).all()
    assert (found[~mask] == 0).all() and (noise[~mask] == 0).all()


@every
@pytest.mark.parametrize("echoes", [1, 2, 4])
@pytest.mark.parametrize("with_magnitude", [True, False])
def test_the_noise_is_honest(method, knobs, echoes, with_magnitude):
    field, phase, magnitude, mask, tesla = _object(echoes, noise=2.0)
    found, noise = method(phase, mask, TIMES[:echoes], tesla, magnitude if with_magnitude else None, **knobs)
    score = ((found - field) / noise)[mask]
    if with_magnitude or echoes == 1:
        assert 0.6 < float(score.std()) < 1.3
    else:
        assert 0.2 < float(score.std()) < 2


@each
def test_bad_voxels_show(method):
    field, phase, magnitude, mask, tesla = _object(noise=0.5)
    usual = method(phase, mask, TIMES, tesla, magnitude)[1][mask].median()
    phase[10, 10, 10, 2] += 2.5
    magnitude[12, 12, 12] = 0
    noise = method(phase, mask, TIMES, tesla, magnitude)[1]
    assert noise[10, 10, 10] > 20 * usual and noise[12, 12, 12] > 20 * usual and torch.isfinite(noise).all()


@each
def test_numbers_outside_the_mask_do_not_matter(method):
    field, phase, magnitude, mask, tesla = _object(noise=0.5)
    plain = method(phase, mask, TIMES, tesla, magnitude)
    phase[~mask], magnitude[~mask] = float("nan"), float("nan")
    for one, two in zip(plain, method(phase, mask, TIMES, tesla, magnitude), strict=True):
        assert torch.equal(one, two)


@each
def test_the_noise_is_that_of_the_most_certain_estimate_for_many_echoes(method):
    field, _, _, mask, tesla = _object()
    times = np.linspace(0.002, 0.05, 64)
    random = torch.Generator().manual_seed(1)
    k = radians_per_ppm_second(tesla)
    phase = torch.stack([float(k * t) * field for t in times], -1)
    phase += 0.05 * torch.randn(phase.shape, generator=random)
    found, noise = method(phase, mask, times, tesla)
    best = 0.05 / float(np.sqrt(((k * times) ** 2).sum()))
    assert (found - field)[mask].std() < 2.5 * best and 0.8 < float(((found - field) / noise)[mask].std()) < 1.2


def test_the_line_without_intercept_is_the_weighted_average():
    field, phase, magnitude, mask, tesla = _object(noise=2.0)
    for weighting in WEIGHTINGS:
        plain = weighted_average(phase, mask, TIMES, tesla, magnitude, weighting=weighting)
        line = linear_fit(phase, mask, TIMES, tesla, magnitude, weighting=weighting, intercept=False)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(plain, line, strict=True))


@pytest.mark.parametrize("method", [linear_fit, nonlinear_fit])
def test_an_intercept_takes_up_what_offset_is_left(method):
    field, phase, magnitude, mask, tesla = _object(noise=0.2)
    offset = 0.4 * torch.randn(mask.shape, generator=torch.Generator().manual_seed(2))
    found = {free: method(phase + offset[..., None], mask, TIMES, tesla, magnitude, intercept=free) for free in (True, False)}
    error = {free: float((one[0] - field)[mask].std()) for free, one in found.items()}
    assert error[True] < 0.1 * error[False]
    # an offset that the model has no place for shows in the noise
    assert found[False][1][mask].median() > 3 * found[True][1][mask].median()


def test_a_wrap_in_one_echo_does_no_harm_to_the_complex_fit():
    field, phase, magnitude, mask, tesla = _object(noise=0.5)
    plain = nonlinear_fit(phase, mask, TIMES, tesla, magnitude)
    phase[10:14, 10:14, 10:14, 3] += 2 * np.pi
    for one, two in zip(plain, nonlinear_fit(phase, mask, TIMES, tesla, magnitude), strict=True):
        assert torch.allclose(one, two, atol=1e-4)
    assert (weighted_average(phase, mask, TIMES, tesla, magnitude)[0] - field)[10:14, 10:14, 10:14].abs().min() > 0.1


def test_wrong_knobs_are_named():
    _, phase, magnitude, mask, tesla = _object()
    for method in {method for method, _ in WEIGHTED}:
        with pytest.raises(ValueError, match="loud"):
            method(phase, mask, TIMES, tesla, magnitude, weighting="loud")
        with pytest.raises(ValueError, match="t2star.*-1"):
            method(phase, mask, TIMES, tesla, magnitude, t2star=-1.0)
    for knobs in ({"iterations": 0}, {"tolerance": 0.0}):
        with pytest.raises(ValueError, match=next(iter(knobs))):
            nonlinear_fit(phase, mask, TIMES, tesla, magnitude, **knobs)


@each
def test_wrong_values_are_named(method):
    _, phase, magnitude, mask, tesla = _object()
    with pytest.raises(ValueError, match="0"):
        method(phase, mask, TIMES, 0.0, magnitude)
    with pytest.raises(ValueError, match="empty"):
        method(phase, torch.zeros_like(mask), TIMES, tesla)
