import numpy as np
import pytest
import torch
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.numerics.filters import wrap
from neuraxis.qsm.unwrapping import METHODS, laplacian, reliability_sorting, romeo
from neuraxis.volume import Grid

TIMES = np.array([0.004, 0.011, 0.02])
each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)


def _object(voxel_size=(1.0, 1.0, 1.0), shape=(32, 36, 30)):
    """Phase per second of a smooth field, strongest in the middle, in a ball of voxels; rad/s."""
    grid = Grid.of(shape, np.diag([*voxel_size, 1.0]))
    centre = (np.array(shape) - 1) / 2
    squared = ((np.stack(np.indices(shape), -1) - centre) ** 2).sum(-1)
    radius = min(centre) - 2
    rate = 900 * np.exp(-squared / (0.5 * radius**2))
    return torch.from_numpy(rate).float(), torch.from_numpy(squared < radius**2), grid


def _phases(rate, times):
    return torch.stack([wrap(rate * t) for t in times], -1)


def _call(method, phase, mask, grid, times, **more):
    known = {"phase": phase, "mask": mask, "grid": grid, "echo_times": np.asarray(times)} | more
    names = {need.name for need in Method.of(method).needs}
    knobs = {knob.name for knob in Method.of(method).knobs}
    return method(**{name: value for name, value in known.items() if name in names | knobs})


def _errors(found, rate, mask, times):
    """Departure of each echo from the truth, less its own constant."""
    error = torch.stack([(found[..., e] - rate * t)[mask] for e, t in enumerate(times)])
    return error - error.median(dim=1, keepdim=True).values


@each
def test_documented(method):
    check_documented(method)


@each
@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.7, 1.0, 2.0)])
def test_wraps_are_taken_out(method, voxel_size):
    rate, mask, grid = _object(voxel_size)
    phase = _phases(rate, TIMES)
    with Unchanged(phase, mask):
        found = _call(method, phase, mask, grid, TIMES, phase_offset=torch.zeros(grid.shape))
    assert found.shape == phase.shape and found.dtype == torch.float32
    assert (found[~mask] == 0).all() and torch.isfinite(found).all()
    error = _errors(found, rate, mask, TIMES)
    if method is not laplacian:
        assert error.abs().max() < 1e-3
    else:
        size = torch.stack([rate[mask] * t - (rate[mask] * t).median() for t in TIMES])
        assert error.norm() < 0.1 * size.norm()


@each
def test_one_echo_and_permuted_memory(method):
    rate, mask, grid = _object()
    phase = _phases(rate, TIMES[1:2]).permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    found = _call(method, phase, mask, grid, TIMES[1:2])
    assert _errors(found, rate, mask, TIMES[1:2]).abs().max() < (1.5 if method is laplacian else 1e-3)


@each
def test_the_offset_is_taken_off(method):
    rate, mask, grid = _object()
    offset = torch.linspace(-3, 3, grid.shape[0])[:, None, None].expand(grid.shape).contiguous()
    shifted = wrap(_phases(rate, TIMES) + offset[..., None])
    with Unchanged(shifted, offset):
        found = _call(method, shifted, mask, grid, TIMES, phase_offset=offset)
    clean = _call(method, _phases(rate, TIMES), mask, grid, TIMES, phase_offset=torch.zeros(grid.shape))
    assert torch.allclose(found, clean, atol=1e-3)


@each
def test_an_offset_of_each_echo_is_taken_off(method):
    rate, mask, grid = _object()
    ramp = torch.linspace(-3, 3, grid.shape[1])[None, :, None].expand(grid.shape)
    offset = torch.stack([ramp, -ramp, ramp], -1)
    found = _call(method, wrap(_phases(rate, TIMES) + offset), mask, grid, TIMES, phase_offset=offset)
    clean = _call(method, _phases(rate, TIMES), mask, grid, TIMES, phase_offset=torch.zeros(grid.shape))
    assert torch.allclose(found, clean, atol=1e-3)


@each
def test_numbers_outside_the_mask_do_not_matter(method):
    rate, mask, grid = _object()
    phase = _phases(rate, TIMES) * mask[..., None]
    plain = _call(method, phase, mask, grid, TIMES, phase_offset=torch.zeros(grid.shape))
    phase[~mask] = float("nan")
    assert torch.equal(plain, _call(method, phase, mask, grid, TIMES, phase_offset=torch.zeros(grid.shape)))


@each
@pytest.mark.parametrize("times", [(0.02,), (0.004, 0.0055), (0.003, 0.011, 0.013, 0.03), tuple(np.linspace(0.002, 0.04, 64))])
def test_any_number_and_spacing_of_echoes(method, times):
    rate, mask, grid = _object(shape=(20, 22, 18))
    rate = 0.5 * rate
    found = _call(method, _phases(rate, times), mask, grid, times, phase_offset=torch.zeros(grid.shape))
    error = _errors(found, rate, mask, times)
    assert error.abs().max() < (4.0 if method is laplacian else 1e-3)


@each
def test_a_single_slice(method):
    rate, mask, grid = _object()
    rate, mask = rate[..., 14:15].contiguous(), mask[..., 14:15].contiguous()
    grid = Grid.of(mask.shape, grid.matrix)
    found = _call(method, _phases(rate, TIMES), mask, grid, TIMES, phase_offset=torch.zeros(grid.shape))
    assert torch.isfinite(found).all() and (method is laplacian or _errors(found, rate, mask, TIMES).abs().max() < 1e-3)


@each
def test_an_empty_mask_is_refused(method):
    rate, mask, grid = _object()
    with pytest.raises(ValueError, match="empty"):
        _call(method, _phases(rate, TIMES), torch.zeros_like(mask), grid, TIMES)


@pytest.mark.parametrize("mode", ["template", "individual"])
@pytest.mark.parametrize("magnitude", [True, False])
def test_romeo_is_congruent_and_right_in_noise(mode, magnitude):
    rate, mask, grid = _object()
    noise = 0.1 * torch.randn((*grid.shape, 3), generator=torch.Generator().manual_seed(0))
    phase = wrap(_phases(rate, TIMES) + noise)
    size = torch.ones_like(phase) if magnitude else None
    found = romeo(phase, mask, TIMES, size, torch.zeros(grid.shape), mode=mode)
    assert wrap(found - phase)[mask].abs().max() < 1e-3
    assert _errors(found, rate, mask, TIMES).abs().max() < 0.6


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_echoes_settle_the_branches_of_islands(noise):
    """Six islands, none seeing another, each with a field of its own: their difference from the main one is known."""
    _, _, grid = _object()
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    rate = torch.zeros(grid.shape)
    fields = (100.0, 700.0, -500.0, 300.0, -200.0, 900.0)
    for number, field in enumerate(fields):
        part = slice(5 * number + 1, 5 * number + (5 if number == 0 else 4))
        mask[part, 2:34, 2:28] = True
        rate[part] = field
    phase = wrap(_phases(rate, TIMES) + noise * torch.randn((*grid.shape, 3), generator=torch.Generator().manual_seed(3)))
    found = romeo(phase, mask, TIMES, None, torch.zeros(grid.shape))
    for number in range(len(fields)):
        part = torch.zeros_like(mask)
        part[5 * number + 1 : 5 * number + 4] = mask[5 * number + 1 : 5 * number + 4]
        for echo, time in enumerate(TIMES):
            assert abs(float((found[..., echo] - rate * time)[part].median())) < 0.1


@pytest.mark.parametrize("mode", ["template", "individual"])
def test_romeo_finds_the_true_branch_of_every_island(mode):
    rate, mask, grid = _object()
    rate = rate + 500  # beyond pi at the second echo
    mask[:, 17:19] = False
    mask[:, :, 14] = False
    found = romeo(_phases(rate, TIMES), mask, TIMES, None, torch.zeros(grid.shape), mode=mode)
    slope = torch.stack([found[..., e][mask] / t for e, t in enumerate(TIMES)])
    turns = (slope[0] - rate[mask]) * TIMES[0] / (2 * np.pi)
    assert (turns - turns.round()).abs().max() < 1e-3 and turns.round().unique().numel() == 1
    if mode == "template":
        assert (slope - rate[mask]).abs().max() < 1


def test_romeo_survives_single_voxels_and_any_template():
    rate, mask, grid = _object()
    mask &= torch.rand(grid.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    for echo in (1, 2, 3):
        found = romeo(_phases(rate, TIMES), mask, TIMES, None, torch.zeros(grid.shape), template_echo=echo)
        assert torch.isfinite(found).all() and (found[~mask] == 0).all()


def test_sorting_by_reliability_is_congruent_and_its_islands_follow_the_echoes():
    rate, mask, grid = _object()
    rate = 0.3 * rate
    mask[:, 17:19] = False
    noise = 0.1 * torch.randn((*grid.shape, 3), generator=torch.Generator().manual_seed(0))
    phase = wrap(_phases(rate, TIMES) + noise)
    found = reliability_sorting(phase, mask, TIMES)
    assert wrap(found - phase)[mask].abs().max() < 1e-3
    assert torch.equal(found, reliability_sorting(phase, mask, TIMES))
    for echo, time in enumerate(TIMES):
        assert (found[..., echo] - rate * time)[mask].abs().max() < 0.6


def test_wrong_values_are_named():
    rate, mask, grid = _object()
    phase = _phases(rate, TIMES)
    with pytest.raises(ValueError, match="sideways"):
        romeo(phase, mask, TIMES, mode="sideways")
    with pytest.raises(ValueError, match="4"):
        romeo(phase, mask, TIMES, template_echo=4)
    with pytest.raises(ValueError, match="0"):
        laplacian(phase, mask, grid, margin=0)
    with pytest.raises(ValueError, match="-1"):
        reliability_sorting(phase, mask, TIMES, seed=-1)
