"""The sign of the phase, seen in veins and iron."""

import numpy as np
import pytest
import torch

from neuraxis.kinds import SIGN, _look_at_sign
from neuraxis.qsm.sign import sign_evidence
from neuraxis.volume import Grid, Volume


def _brain(voxel_size=(2.0, 2.0, 2.0)):
    """Noise, with veins and a nucleus that are paramagnetic and decay quickly, and myelin that is neither strong nor rare."""
    shape = (48, 52, 44)
    grid = Grid.of(shape, np.diag([*voxel_size, 1.0]))
    random = torch.Generator().manual_seed(0)
    chi = 0.02 * torch.randn(shape, generator=random)
    rate = 20 + 2 * torch.randn(shape, generator=random)
    chi[10:38, 10:20] -= 0.02
    rate[10:38, 10:20] += 5
    for at in range(12, 40, 9):
        chi[at, at + 1, 5:40] = 0.25
        rate[at, at + 1, 5:40] = 60
    chi[20:25, 30:35, 20:25] = 0.1
    rate[20:25, 30:35, 20:25] = 45
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[3:45, 3:49, 3:41] = True
    magnitude = torch.stack([100 * torch.exp(-rate * t) for t in (0.005, 0.025)], -1)
    return chi * mask, mask, grid, magnitude


@pytest.mark.parametrize("with_decay", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_veins_tell_the_sign(with_decay, sign):
    chi, mask, grid, magnitude = _brain()
    before = chi.clone()
    found = sign_evidence(sign * chi, mask, grid, magnitude if with_decay else magnitude[..., :1])
    assert (found.contrast is not None) == with_decay
    assert found.turned == (sign < 0) and found.clear == (sign > 0) and torch.equal(chi, before)


def test_noise_tells_nothing():
    chi, mask, grid, magnitude = _brain()
    noise = 0.05 * torch.randn(chi.shape, generator=torch.Generator().manual_seed(3)) * mask
    found = sign_evidence(noise, mask, grid, torch.ones_like(magnitude) + 0.1 * torch.rand(magnitude.shape))
    assert not found.turned and not found.clear
    small = torch.zeros_like(mask)
    small[20:24, 20:24, 20:24] = True
    assert sign_evidence(noise, small, grid) is None


def test_the_note_and_the_warning_hold_the_figures():
    chi, _, grid, magnitude = _brain()
    seen = {"chi": Volume(chi.numpy(), grid), "magnitude": Volume(magnitude.numpy(), grid)}
    (note,), warned = _look_at_sign(seen)
    assert note.startswith(SIGN) and "come out paramagnetic" in note and "standard deviations" in note and not warned
    (note,), (warning,) = _look_at_sign(seen | {"chi": Volume(-chi.numpy(), grid)})
    assert "diamagnetic" in note and "--phase-sign negative" in warning
    assert _look_at_sign({}) == ([], []) == _look_at_sign({"chi": Volume(0 * chi.numpy(), grid)})
