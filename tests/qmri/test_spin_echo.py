"""Echo trains against an exponential and against spins that are turned one by one; T2 from echoes."""

import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.qmri.reversible import r2prime
from neuraxis.qmri.spin_echo import METHODS, epg_dictionary
from neuraxis.qmri.spin_echo.epg_dictionary import echo_train

SPACING = 0.010
TIMES = SPACING * np.arange(1, 9)


def spins(t2: float, angle: float, t1: float, echoes: int, number: int = 400) -> np.ndarray:
    """Bloch's equations for many spins that dephase once around in half a spacing; recovery crushed, as the graphs have it."""
    dephase = 2 * np.pi * np.arange(number) / number
    m = np.zeros((3, number))
    m[0] = np.sin(angle / 2)

    def turn_z(m):
        c, s = np.cos(dephase), np.sin(dephase)
        return np.stack([c * m[0] - s * m[1], s * m[0] + c * m[1], m[2]])

    def relax(m):
        return m * np.array([np.exp(-SPACING / 2 / t2)] * 2 + [np.exp(-SPACING / 2 / t1)])[:, None]

    found = []
    for _ in range(echoes):
        m = relax(turn_z(m))
        c, s = np.cos(angle), np.sin(angle)
        m = np.stack([m[0], c * m[1] - s * m[2], s * m[1] + c * m[2]])
        m = relax(turn_z(m))
        found.append(np.hypot(m[0].mean(), m[1].mean()))
    return np.array(found)


def measured(t2, b1, t1=1.0, noise=0.0):
    """A volume of echoes of different T2 (s) and transmit field, and its mask."""
    signal = 800 * echo_train(t2.double(), b1.double() * np.pi, t1, SPACING, len(TIMES)).float()
    if noise:
        signal = (signal + noise * torch.randn(signal.shape, generator=torch.Generator().manual_seed(1))).abs()
    mask = torch.ones(t2.shape, dtype=torch.bool)
    mask[0] = False
    return signal.permute(1, 2, 3, 0), mask


def test_documented():
    for method in METHODS:
        check_documented(method)


def test_perfect_pulses_give_an_exponential():
    t2 = torch.tensor([0.02, 0.08, 0.3], dtype=torch.float64)
    found = echo_train(t2, torch.full((3,), np.pi, dtype=torch.float64), 1.0, SPACING, 8)
    assert torch.allclose(found, torch.exp(-torch.from_numpy(TIMES)[:, None] / t2), atol=1e-12)


@pytest.mark.parametrize("degrees", [180, 150, 120, 90, 60])
def test_graphs_are_what_single_spins_do(degrees):
    angle = np.deg2rad(degrees)
    graphs = echo_train(torch.tensor(0.06, dtype=torch.float64), torch.tensor(angle, dtype=torch.float64), 0.9, SPACING, 8)
    assert np.allclose(graphs.numpy(), spins(0.06, angle, 0.9, 8), atol=1e-10)


def test_t2_is_found_whatever_the_transmit_field():
    t2 = torch.linspace(0.02, 0.2, 12)[:, None, None].expand(12, 9, 3)
    b1 = torch.linspace(0.65, 1.0, 9)[None, :, None].expand(12, 9, 3)
    signal, mask = measured(t2, b1)
    with Unchanged(signal, mask):
        rate, time = epg_dictionary(signal, mask, TIMES, np.diff(TIMES))
    assert torch.allclose(time[mask], t2[mask], rtol=0.02) and torch.allclose(rate[mask], 1 / time[mask])
    assert (time[~mask] == 0).all() and (rate[~mask] == 0).all() and time.dtype == torch.float32
    plain = -1 / np.polyfit(TIMES, np.log(signal[6, 0, 0].numpy()), 1)[0]
    assert plain > 1.1 * float(t2[6, 0, 0])  # what an exponential would have said


def test_t1_matters_little_and_noise_spreads():
    t2, b1 = torch.full((20, 20, 3), 0.07), torch.full((20, 20, 3), 0.8)
    signal, mask = measured(t2, b1, t1=1.5, noise=4.0)
    time = epg_dictionary(signal, mask, TIMES, np.diff(TIMES))[1][mask]
    assert float(time.mean()) == pytest.approx(0.07, rel=0.03) and float(time.std()) < 0.005
    late = epg_dictionary(signal, mask, TIMES, np.diff(TIMES), first_echo=2)[1][mask]
    assert float(late.mean()) == pytest.approx(0.07, rel=0.05)


def test_no_signal_gives_zero():
    signal = torch.zeros((2, 2, 2, 8))
    mask = torch.ones((2, 2, 2), dtype=torch.bool)
    assert not any(one.any() for one in epg_dictionary(signal, mask, TIMES, np.diff(TIMES)))
    assert not any(one.any() for one in epg_dictionary(signal, ~mask, TIMES, np.diff(TIMES)))


def test_wrong_trains_and_knobs_are_named():
    signal, mask = torch.ones((2, 2, 2, 8)), torch.ones((2, 2, 2), dtype=torch.bool)
    for times in (TIMES + 0.004, np.concatenate([TIMES[:-1], [0.1]])):
        with pytest.raises(ValueError, match="multiples"):
            epg_dictionary(signal, mask, times, np.diff(times))
    with pytest.raises(ValueError, match="three echoes"):
        epg_dictionary(signal[..., :2], mask, TIMES[:2], np.diff(TIMES[:2]))
    wrong = {"t1": 0.0, "t2_range": (0.1, 0.01), "b1_range": (0.1, 1.0), "refocusing_angle": 200.0, "first_echo": 7}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            epg_dictionary(signal, mask, TIMES, np.diff(TIMES), **{name: value})


def test_r2prime_is_a_difference_that_is_never_negative():
    r2star, r2 = torch.tensor([30.0, 10, 0, 20]).reshape(4, 1, 1), torch.tensor([12.0, 12, 12, 0]).reshape(4, 1, 1)
    assert torch.equal(r2prime(r2star, r2)[:, 0, 0], torch.tensor([18.0, 0, 0, 0]))
