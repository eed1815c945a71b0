import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.numerics.filters import wrap
from neuraxis.qsm.offset import METHODS
from neuraxis.volume import Grid

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)


def _object(voxel_size=(2.0, 2.0, 2.0), shape=(40, 44, 36), strength=6.0):
    grid = Grid.of(shape, np.diag([*voxel_size, 1.0]))
    x, y, z = (torch.from_numpy(a).float() / n - 0.5 for a, n in zip(np.indices(shape), shape, strict=True))
    mask = x**2 + y**2 + z**2 < 0.2
    offset = strength * (0.5 * x - 0.4 * y + x * y + z**2)
    rate = 400 * torch.exp(-((x - 0.1) ** 2 + y**2 + z**2) / 0.05) - 100
    return rate, offset, mask, grid


@each
def test_documented(method):
    check_documented(method)


@each
@pytest.mark.parametrize("times", [(0.004, 0.012, 0.02), (0.005, 0.0083), (0.01, 0.02, 0.05)])
@pytest.mark.parametrize("voxel_size", [(2.0, 2.0, 2.0), (1.0, 1.0, 3.0)])
def test_a_known_offset_is_found(method, times, voxel_size):
    rate, offset, mask, grid = _object(voxel_size)
    noise = 0.02 * torch.randn((*grid.shape, len(times)), generator=torch.Generator().manual_seed(0))
    phase = wrap(torch.stack([rate * t + offset for t in times], -1) + noise)
    with Unchanged(phase, mask):
        found = method(phase, mask, np.array(times), np.diff(times), grid, smoothing=4.0)
    assert found.shape == mask.shape and (found[~mask] == 0).all()
    error = wrap(found - offset)[mask]
    ratio = times[0] / (times[1] - times[0])
    # another branch of the phase difference is a constant of 2 pi times the ratio, and no harm to the field's shape
    error = min((wrap(error - 2 * np.pi * ratio * n) for n in range(-2, 3)), key=lambda one: one.abs().mean())
    assert error.abs().mean() < 0.05 and error.abs().max() < 0.4


@each
def test_islands_share_one_offset(method):
    rate, offset, mask, grid = _object()
    mask[:, 24:27] = False
    times = np.array([0.004, 0.012])
    phase = wrap(torch.stack([rate * t + offset for t in times], -1))
    magnitude = torch.ones_like(phase)
    found = method(phase, mask, times, np.diff(times), grid, magnitude, smoothing=4.0)
    error = wrap(found - offset)[mask]
    error = min((wrap(error - np.pi * n) for n in range(2)), key=lambda one: one.abs().mean())
    assert error.abs().mean() < 0.05


@each
@pytest.mark.parametrize("times", [(0.004, 0.012, 0.02), (0.005, 0.0088, 0.017, 0.021), tuple(np.linspace(0.003, 0.045, 64))])
@pytest.mark.parametrize("with_magnitude", [True, False])
def test_alternating_read_outs_are_seen_in_the_data(method, times, with_magnitude):
    rate, offset, mask, grid = _object()
    n = grid.shape
    ramp = 0.02 * (torch.arange(n[1])[None, :, None] - 20.0) + 0.1
    noise = 0.02 * torch.randn((*n, len(times)), generator=torch.Generator().manual_seed(0))
    signs = [1 if e % 2 == 0 else -1 for e in range(len(times))]
    magnitude = torch.stack([torch.full(n, float(np.exp(-t / 0.03))) for t in times], -1) if with_magnitude else None
    phase = wrap(torch.stack([rate * t + offset + s * ramp for s, t in zip(signs, times, strict=True)], -1) + noise)
    with pytest.warns(RuntimeWarning, match="bipolar.*axis 2"):
        found = method(phase, mask, np.array(times), np.diff(times), grid, magnitude, smoothing=4.0)
    assert found.shape == phase.shape and (found[~mask] == 0).all()
    # what is left over after the offset must be a line through zero in each voxel, up to whole turns of echo spacing
    free = wrap(phase - found)
    if len(set(np.round(np.diff(times), 6))) == 1:
        bend = wrap(free[..., 0] - 2 * free[..., 1] + free[..., 2])
        assert bend[mask].abs().median() < 0.1 and bend[mask].mean().abs() < 0.02
    slope = (found[..., 0] - found[..., 1])[mask]
    expected = 2 * ramp.expand(n)[mask]
    assert wrap(slope - expected - wrap(slope - expected).median()).abs().max() < 0.05
    plain = method(phase, mask, np.array(times), np.diff(times), grid, magnitude, smoothing=4.0, bipolar="ignore")
    assert plain.shape == mask.shape


@each
def test_monopolar_read_outs_are_left_alone(method):
    """Also where the phase does not grow as a line, and noise is strong: warnings are errors here."""
    rate, offset, mask, grid = _object()
    times = np.array([0.004, 0.012, 0.02, 0.028])
    random = torch.Generator().manual_seed(5)
    bend = 3e5 * torch.rand(grid.shape, generator=random).sub_(0.5)
    phase = torch.stack([rate * t + bend * t**2 + offset for t in times], -1)
    phase = wrap(phase + 0.3 * torch.randn(phase.shape, generator=random))
    assert method(phase, mask, times, np.diff(times), grid, smoothing=4.0).shape == mask.shape


@each
def test_numbers_outside_the_mask_do_not_matter(method):
    rate, offset, mask, grid = _object()
    times = np.array([0.004, 0.012, 0.02])
    phase = wrap(torch.stack([rate * t + offset for t in times], -1))
    size = torch.ones_like(phase)
    plain = method(phase, mask, times, np.diff(times), grid, size)
    phase[~mask], size[~mask] = float("nan"), float("nan")
    assert torch.allclose(method(phase, mask, times, np.diff(times), grid, size), plain, atol=1e-5)


@each
def test_wrong_values_are_named(method):
    rate, offset, mask, grid = _object()
    phase, times = torch.zeros((*grid.shape, 2)), np.array([0.004, 0.012])
    for knobs in ({"smoothing": 0.0}, {"rounds": 0}):
        with pytest.raises(ValueError, match="0"):
            method(phase, mask, times, np.diff(times), grid, **knobs)
    with pytest.raises(ValueError, match="always"):
        method(phase, mask, times, np.diff(times), grid, bipolar="always")
    with pytest.raises(ValueError, match="two echoes"):
        method(phase[..., :1], mask, times[:1], np.diff(times[:1]), grid)
    with pytest.raises(ValueError, match="empty"):
        method(phase, torch.zeros_like(mask), times, np.diff(times), grid)
