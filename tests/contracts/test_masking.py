import os
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.numerics.morphology import dilate, erode
from neuraxis.qsm.masking import (
    METHODS,
    bet,
    bet_and_phase_quality,
    combined,
    deepbet,
    deepbet_and_phase_quality,
    hd_bet,
    magnitude_threshold,
    phase_quality_threshold,
)
from neuraxis.qsm.masking.deepbet import brain_probability
from neuraxis.qsm.quality import phase_quality
from neuraxis.volume import Grid

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
LEARNED = (deepbet, deepbet_and_phase_quality)
WHOLE_HEAD = (bet, bet_and_phase_quality)
"""Look for a brain in a head, so a ball alone is beyond them; they have tests of their own, as have those below."""
BY_THRESHOLD = (phase_quality_threshold, magnitude_threshold)
thresholds = pytest.mark.parametrize("method", BY_THRESHOLD, ids=lambda one: one.__name__)


def _dice(a, b):
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _call(method, known, **knobs):
    return method(**{need.name: known[need.name] for need in Method.of(method).needs}, **knobs)


def _ball():
    """A ball of signal with a small hole, a speck beside it, in noise."""
    shape, random = (44, 48, 40), np.random.default_rng(0)
    x, y, z = np.indices(shape) - np.array(shape)[:, None, None, None] / 2
    ball = x**2 + y**2 + z**2 < 16**2
    signal = ball & ~(x**2 + y**2 + z**2 < 2**2)
    signal[2:4, 2:4, 2:4] = True
    times = np.array([0.005, 0.012])
    echoes = []
    for time in times:
        noise = random.standard_normal(shape) + 1j * random.standard_normal(shape)
        echoes.append(signal * np.exp(-time / 0.03 + 1j * time * (20 * x + 10 * y)) + 0.02 * noise)
    echoes = np.stack(echoes, -1)
    magnitude, phase = (torch.from_numpy(f(echoes)).float() for f in (np.abs, np.angle))
    grid = Grid.of(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    quality = phase_quality(phase, times, magnitude)
    known = {"magnitude": magnitude, "homogeneous_magnitude": magnitude, "phase_quality": quality, "grid": grid}
    return known, torch.from_numpy(ball)


def _head():
    """Magnitude like that of a gradient echo: the T1-weighted template in nilearn's wheel, with a scalp around it."""
    import nilearn

    folder = os.path.join(nilearn.__path__[0], "datasets", "data")
    parts = [
        nib.load(os.path.join(folder, f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"))
        for name in ("t1", "gm", "wm")
    ]
    t1, grey, white = (torch.from_numpy(np.asarray(one.dataobj, np.float32))[::2, ::2, ::2] for one in parts)
    brain = erode(dilate(grey + white > 40, 4), 4)
    scalp = dilate(brain, 9) & ~dilate(brain, 5)
    noise = torch.randn(t1.shape, generator=torch.Generator().manual_seed(0)).abs()
    magnitude = torch.where(brain, t1, 100.0 * scalp) + 2 * noise
    affine = parts[0].affine @ np.diag([2, 2, 2, 1])
    quality = torch.where(brain | scalp, 0.8, 0.2) + 0.02 * noise.clamp(max=1)
    return magnitude[..., None], quality, Grid.of(t1.shape, affine), brain


@pytest.fixture(scope="module")
def head():
    return _head()


@pytest.fixture(scope="module")
def straight(head):
    """What the network says of the head, once for all tests."""
    return brain_probability(head[0][..., 0], head[2])


@each
def test_documented(method):
    check_documented(method)


def test_every_method_is_in_a_suite():
    assert set(METHODS) == {*LEARNED, *WHOLE_HEAD, *BY_THRESHOLD, hd_bet, combined}


@thresholds
def test_a_ball_in_noise_is_found_whole(method):
    known, ball = _ball()
    with Unchanged(known["magnitude"], known["phase_quality"]):
        found = _call(method, known)
    assert found.dtype == torch.bool and found.shape == ball.shape
    assert _dice(found, ball) > 0.95 and found[22, 24, 20] and not found[2:4, 2:4, 2:4].any()
    assert _call(method, known, erosion=2).sum() < found.sum()
    assert not _call(method, known, largest_hole=0, closing=0)[22, 24, 20]


@thresholds
def test_wrong_values_are_named(method):
    known, _ = _ball()
    for knobs in (
        {"threshold": 2.0},
        {"threshold": "best"},
        {"percentile": 100.0},
        {"factor": -1.0},
        {"separation": 21},
        {"closing": -1},
        {"largest_hole": -5},
        {"erosion": 25},
    ):
        with pytest.raises(ValueError, match=str(next(iter(knobs.values())))):
            _call(method, known, **knobs)
    with pytest.raises(ValueError, match="empty"):
        _call(method, known, threshold=1.0, factor=1.5)


def test_tissue_everywhere_gives_a_mask_everywhere():
    quality = 0.6 + 0.3 * torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(0))
    assert phase_quality_threshold(quality).all()


@pytest.mark.parametrize("method", (*LEARNED, *WHOLE_HEAD), ids=lambda one: one.__name__)
def test_a_brain_is_found(method, head, straight, monkeypatch):
    magnitude, quality, grid, brain = head
    monkeypatch.setattr(sys.modules[deepbet.__module__], "brain_probability", lambda *_: straight)
    known = {"magnitude": magnitude, "homogeneous_magnitude": magnitude, "phase_quality": quality, "grid": grid}
    with Unchanged(magnitude, quality):
        found = _call(method, known)
    assert found.dtype == torch.bool and found.shape == brain.shape and _dice(found, brain) > 0.9


def test_a_brain_is_found_in_any_orientation(head, straight):
    magnitude, _, grid, brain = head
    # axes permuted, one flipped: voxel (a, b, c) of the new grid is voxel (c, n - 1 - a, b) of the old
    n = grid.shape[1]
    turn = np.array([[0, 0, 1, 0], [-1, 0, 0, n - 1], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    turned = magnitude.permute(1, 2, 0, 3).flip(0)
    found = brain_probability(turned[..., 0], Grid.of(turned.shape, grid.matrix @ turn))
    assert torch.allclose(found, straight.permute(1, 2, 0).flip(0), atol=1e-3) and _dice(straight > 0.5, brain) > 0.9


def test_no_brain_is_said_in_a_sentence():
    grid = Grid.of((24, 24, 24), np.eye(4))
    for image in (torch.zeros(24, 24, 24, 1), torch.rand(24, 24, 24, 1, generator=torch.Generator().manual_seed(0))):
        with pytest.raises(ValueError, match="whole head"):
            deepbet(image, grid)
    for knobs in ({"threshold": 1.5}, {"erosion": -1}, {"dilation": 30}):
        with pytest.raises(ValueError, match=str(next(iter(knobs.values())))):
            deepbet(torch.zeros(24, 24, 24, 1), grid, **knobs)
