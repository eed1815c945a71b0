"""Coils combined: their offsets leave no trace, no coil is held longer than it is needed."""

import gc
import weakref

import numpy as np
import pytest
import torch

from neuraxis.numerics.filters import wrap
from neuraxis.qsm.b0 import weighted_average
from neuraxis.qsm.offset import mcpc3ds
from neuraxis.qsm.offset.coils import combine_coils
from neuraxis.qsm.unwrapping import romeo
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Grid

SHAPE, EDGE, COILS = (44, 48, 40), 3.0, 8


def _scan(times, noise=0.01):
    """Coils around a ball of tissue: each sees what is near, with a phase of its own that winds; their signal, (C, E, X, Y, Z)."""
    x, y, z = ((np.indices(SHAPE) - np.array(SHAPE)[:, None, None, None] / 2) * EDGE).astype(np.float32)
    tissue = x**2 + y**2 + z**2 < 52**2
    field = 0.4 * np.exp(-(x**2 + (y - 10) ** 2 + z**2) / 900) + 0.002 * z
    random = np.random.default_rng(0)
    signals = []
    for coil in range(COILS):
        angle = 2 * np.pi * coil / COILS
        far = np.hypot(x - 75 * np.cos(angle), y - 75 * np.sin(angle)) + 0.3 * np.abs(z)
        sensitivity = np.exp(-far / 60 + 1j * (random.uniform(-3, 3) + 0.05 * x * np.sin(3 * angle) + 0.03 * y + 0.0002 * far**2))
        for time in times:
            signal = tissue * sensitivity * np.exp(-time / 0.03 + 1j * radians_per_ppm_second(3.0) * time * field)
            signals.append(signal + noise * (random.standard_normal(SHAPE) + 1j * random.standard_normal(SHAPE)))
    signals = np.stack(signals).astype(np.complex64).reshape(COILS, len(times), *SHAPE)
    return signals, torch.from_numpy(field), torch.from_numpy(tissue), Grid.of(SHAPE, np.diag([EDGE] * 3 + [1]))


@pytest.mark.parametrize("times", [(0.005, 0.012, 0.02), (0.006, 0.011), (0.004, 0.0053, 0.017)])
def test_the_field_is_that_of_all_coils_together(times):
    times = np.array(times)
    signals, truth, tissue, grid = _scan(times)
    magnitude, phase = combine_coils(lambda c: (np.abs(signals[c]), np.angle(signals[c])), COILS, times, grid)
    assert magnitude.shape == phase.shape == (len(times), *SHAPE) and np.abs(phase).max() < np.pi + 1e-5
    inside = tissue.numpy()
    whole = np.sqrt((np.abs(signals) ** 2).sum(0))
    assert np.abs(magnitude / whole - 1)[:, inside].mean() < 0.02  # nothing cancels
    phase, magnitude = (torch.from_numpy(np.moveaxis(one, 0, -1).copy()) for one in (phase, magnitude))
    offset = mcpc3ds(phase, tissue, times, np.diff(times), grid, magnitude)
    field, noise = weighted_average(romeo(phase, tissue, times, magnitude, offset), tissue, times, 3.0, magnitude)
    error = (field - truth)[tissue]
    error -= error.median()
    assert error.abs().median() < 0.004 and (error.abs() > 0.05).float().mean() < 0.003
    # as certain as the best that the coils hold: noise over the root sum of squares
    best = 0.01 / (radians_per_ppm_second(3.0) * np.sqrt((whole**2 * times[:, None, None, None] ** 2).sum(0))[inside])
    assert float(noise[tissue].median()) < 1.5 * float(np.median(best))


def test_one_coil_is_held_at_a_time():
    times = np.array([0.005, 0.012])
    signals, _, _, grid = _scan(times)
    alive, most = [], 0

    def read(coil):
        nonlocal most
        gc.collect(0)
        most = max(most, sum(one() is not None for one in alive))
        magnitude, phase = np.abs(signals[coil]), np.angle(signals[coil])
        alive.extend([weakref.ref(magnitude), weakref.ref(phase)])
        return magnitude, phase

    combine_coils(read, 3, times, grid)
    assert len(alive) == 12 and most == 0


def test_one_coil_is_its_own_image_but_for_a_smooth_phase():
    times = np.array([0.005, 0.012])
    signals, _, tissue, grid = _scan(times, noise=0.0)
    magnitude, phase = combine_coils(lambda c: (np.abs(signals[c]), np.angle(signals[c])), 1, times, grid)
    inside = tissue.numpy()
    assert np.allclose(magnitude[:, inside], np.abs(signals[0])[:, inside], rtol=1e-4)
    between = wrap(torch.from_numpy(phase[1] - phase[0] - np.angle(signals[0, 1] * np.conj(signals[0, 0]))))
    assert between[tissue].abs().max() < 1e-3


def test_wrong_values_are_named():
    grid = Grid.of(SHAPE, np.eye(4))
    with pytest.raises(ValueError, match="two echoes"):
        combine_coils(lambda c: None, 2, np.array([0.01]), grid)
    with pytest.raises(ValueError, match="smoothing.*-1"):
        combine_coils(lambda c: None, 2, np.array([0.01, 0.02]), grid, smoothing=-1.0)
