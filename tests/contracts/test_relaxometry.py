import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.qmri.relaxometry import METHODS, arlo, loglinear, nonlinear

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
TIMES = np.arange(1, 7) * 0.005


def _decay(times=TIMES, noise=0.0):
    rate = torch.linspace(5, 120, 24)[:, None, None].expand(24, 20, 20).contiguous()
    start = torch.linspace(50, 2000, 20)[None, :, None].expand(24, 20, 20)
    signal = torch.stack([start * torch.exp(-rate * float(t)) for t in times], -1)
    if noise:
        random = torch.Generator().manual_seed(0)
        signal = torch.hypot(*(part + noise * torch.randn(signal.shape, generator=random) for part in (signal, 0)))
    mask = torch.ones(24, 20, 20, dtype=torch.bool)
    mask[:2] = mask[:, :, -1] = False
    return rate, start, signal, mask


@each
def test_documented(method):
    check_documented(method)


@each
def test_a_decay_gives_its_rate(method):
    rate, start, signal, mask = _decay()
    with Unchanged(signal, mask):
        r2star, t2star, s0 = method(signal, mask, TIMES, np.diff(TIMES))
    tolerance = 1e-3 if method is loglinear else 0.01  # Simpson's rule errs by (spacing R2*)^4 / 180
    assert torch.allclose(r2star[mask], rate[mask], rtol=tolerance)
    assert torch.allclose(s0[mask], start[mask], rtol=2 * tolerance)
    assert torch.allclose(t2star[mask], 1 / r2star[mask])
    for one in (r2star, t2star, s0):
        assert one.dtype == torch.float32 and (one[~mask] == 0).all()


@each
def test_noise_makes_little_bias(method):
    rate, start, signal, mask = _decay(noise=2.0)
    strong = mask & (start > 400) & (rate < 60)
    r2star = method(signal, mask, TIMES, np.diff(TIMES))[0]
    assert abs(float((r2star - rate)[strong].mean())) < 0.5 and float((r2star - rate)[strong].std()) < 3


@each
def test_odd_signals_give_finite_maps(method):
    _, _, signal, mask = _decay()
    signal[5] = 0
    signal[6] = 1
    signal[7] = torch.linspace(1, 2, 6)
    signal[8, ..., 1:] = 0
    maps = method(signal, mask, TIMES, np.diff(TIMES), max_r2star=300.0)
    assert all(torch.isfinite(one).all() and (one >= 0).all() for one in maps)
    assert maps[0].max() <= 300 and (maps[1][maps[0] == 0] == 0).all() and (maps[0][5:8] == 0).all()


def test_the_noise_floor_is_in_the_model():
    """Where late echoes are noise, a straight line sees too slow a decay; the mean of the Rice distribution does not."""
    random = torch.Generator().manual_seed(2)
    rate = torch.full((30, 30, 30), 80.0)
    signal = torch.stack([100 * torch.exp(-rate * float(t)) for t in TIMES], -1)
    real, imaginary = (6 * torch.randn(signal.shape, generator=random) for _ in range(2))
    signal, mask = torch.hypot(signal + real, imaginary), torch.ones(rate.shape, dtype=torch.bool)
    off = {
        name: float((method(signal, mask, TIMES, np.diff(TIMES), **knobs)[0] - rate).median())
        for name, method, knobs in (
            ("line", loglinear, {}), ("plain", nonlinear, {"noise": "none"}), ("told", nonlinear, {"noise": 6.0}), ("found", nonlinear, {}),
        )
    }  # fmt: skip
    assert off["line"] < off["plain"] < -2 and abs(off["told"]) < 1 and abs(off["found"]) < 2.5
    for knobs in ({"noise": -1.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match=next(iter(knobs))):
            nonlinear(signal, mask, TIMES, np.diff(TIMES), **knobs)


def test_unequal_spacing():
    times = np.array([0.003, 0.008, 0.02])
    rate, _, signal, mask = _decay(times)
    for method in (loglinear, nonlinear):
        assert torch.allclose(method(signal, mask, times, np.diff(times))[0][mask], rate[mask], rtol=1e-3)
    with pytest.raises(ValueError, match="loglinear"):
        arlo(signal, mask, times, np.diff(times))


def test_too_few_echoes_and_wrong_values_are_named():
    _, _, signal, mask = _decay()
    with pytest.raises(ValueError, match="three echoes"):
        arlo(signal[..., :2], mask, TIMES[:2], np.diff(TIMES[:2]))
    for method in (loglinear, nonlinear):
        with pytest.raises(ValueError, match="two echoes"):
            method(signal[..., :1], mask, TIMES[:1], np.diff(TIMES[:1]))
    for method in METHODS:
        with pytest.raises(ValueError, match="-1"):
            method(signal, mask, TIMES, np.diff(TIMES), max_r2star=-1.0)
