import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.qsm.b0 import METHODS
from neuraxis.units import radians_per_ppm_second

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
TIMES = np.array([0.004, 0.012, 0.02, 0.028])
WEIGHTINGS = ("phase_snr", "phase_var", "average", "tes", "magnitude")


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


@each
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("echoes", [1, 4])
def test_a_linear_phase_gives_its_field_in_ppm(method, weighting, echoes):
    field, phase, magnitude, mask, tesla = _object(echoes)
    with Unchanged(phase, magnitude, mask):
        found, noise = method(phase, mask, TIMES[:echoes], tesla, magnitude, weighting=weighting)
    assert torch.allclose(found[mask], field[mask], atol=1e-5)
    assert (noise[mask] > 0).all() and torch.isfinite(noise).all()
    assert (found[~mask] == 0).all() and (noise[~mask] == 0).all()


@each
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("echoes", [1, 2, 4])
@pytest.mark.parametrize("with_magnitude", [True, False])
def test_the_noise_is_honest(method, weighting, echoes, with_magnitude):
    field, phase, magnitude, mask, tesla = _object(echoes, noise=2.0)
    found, noise = method(
        phase, mask, TIMES[:echoes], tesla, magnitude if with_magnitude else None, weighting=weighting
    )
    score = ((found - field) / noise)[mask]
    if with_magnitude or echoes == 1:
        assert 0.6 < float(score.std()) < 1.3
    else:
        assert 0.2 < float(score.std()) < 2


@each
def test_bad_voxels_show(method):
    field, phase, magnitude, mask, tesla = _object(noise=0.5)
    usual = method(phase, mask, TIMES, tesla, magnitude)[1][mask].median()
    phase[10, 10, 10, 2] += 2 * np.pi
    magnitude[12, 12, 12] = 0
    noise = method(phase, mask, TIMES, tesla, magnitude)[1]
    assert noise[10, 10, 10] > 20 * usual and noise[12, 12, 12] > 20 * usual and torch.isfinite(noise).all()


@each
def test_wrong_values_are_named(method):
    _, phase, magnitude, mask, tesla = _object()
    with pytest.raises(ValueError, match="loud"):
        method(phase, mask, TIMES, tesla, magnitude, weighting="loud")
    with pytest.raises(ValueError, match="0"):
        method(phase, mask, TIMES, 0.0, magnitude)
    with pytest.raises(ValueError, match="empty"):
        method(phase, torch.zeros_like(mask), TIMES, tesla)
