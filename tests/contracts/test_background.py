import functools

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, centred_grid, rotation, sphere_field, turned
from documented import Unchanged, check_documented

from neuraxis.engine import Method
from neuraxis.numerics.filters import wrap
from neuraxis.qsm.background import METHODS, ismv, pdf, resharp, sdf, sharp, smv, vsharp
from neuraxis.units import radians_per_ppm_second

each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
everywhere = pytest.mark.parametrize("name", list(GRIDS))
knobs = [
    pytest.param(one, knob.name, id=f"{one.__name__}-{knob.name}") for one in METHODS for knob in Method.of(one).knobs
]

AIR = dict(radius=5.0, chi=9.4, centre=(2.0, 24.0, -7.0))
TISSUE = dict(radius=4.0, chi=0.2, centre=(2.0, -3.0, 1.0))


@functools.cache
def _fields(name):
    grid = GRIDS[name]
    mask = torch.from_numpy(ball(grid, 17))
    outer, inner = (torch.from_numpy(sphere_field(grid, **one)) * mask for one in (AIR, TISSUE))
    return outer, inner, mask


def _problem(name="isotropic"):
    """Background, local field, mask and grid: air outside a ball of 17 mm, a sphere of tissue inside it."""
    return *(one.clone() for one in _fields(name)), GRIDS[name]


HIGH_PASS = {smv: 0.9, sdf: 0.9}
"""They take what varies slowly in the local field, too, and say so; the share of it that may be lost."""

RIM = {sharp: 6.0, resharp: 6.0, ismv: 5.0, smv: 10.0}
"""Depth of the rim that is lost by default, where it is more than 3 mm; mm."""

ECHO_TIMES, STRENGTH = np.array([0.001, 0.003]), 3.0
"""For the methods that start from the wrapped phase."""


def _remove(method, field, mask, grid, **knobs):
    """Local field and mask; methods that start from the phase get the phase of the same field."""
    if "phase" not in [need.name for need in Method.of(method).needs]:
        return method(field, mask, grid, **knobs)
    scale = radians_per_ppm_second(STRENGTH)
    phase = torch.stack([wrap(field * float(scale * time)) for time in ECHO_TIMES], -1)
    return method(phase, ECHO_TIMES, STRENGTH, mask, grid, **knobs)


def _rms(values):
    return float((values - values.mean()).square().mean().sqrt())


@each
def test_documented(method):
    check_documented(method)


@each
@everywhere
def test_the_field_of_outer_sources_goes(method, name):
    outer, _, mask, grid = _problem(name)
    local, kept = _remove(method, outer, mask, grid)
    assert _rms(local[kept]) < (0.15 if method is sdf else 0.03) * _rms(outer[mask])


@each
@everywhere
def test_the_field_of_inner_sources_stays(method, name):
    _, inner, mask, grid = _problem(name)
    local, kept = _remove(method, inner, mask, grid)
    deep = kept & torch.from_numpy(ball(grid, 13))
    slope = np.polyfit(inner[deep].numpy(), local[deep].numpy(), 1)[0]
    if method is sdf:  # no more than the fine parts
        assert np.corrcoef(local[deep], inner[deep])[0, 1] > 0.7 and 0.2 < slope < 1
        return
    assert np.corrcoef(local[deep], inner[deep])[0, 1] > 0.93
    assert slope == pytest.approx(1, abs=0.2)


@each
def test_both_are_told_apart(method):
    outer, inner, mask, grid = _problem()
    local, kept = _remove(method, outer + inner + 3.0, mask, grid)  # a constant is a background too
    deep = kept & torch.from_numpy(ball(grid, 13))
    assert _rms((local - inner)[deep]) < HIGH_PASS.get(method, 0.4) * _rms(inner[deep])
    assert _rms(outer[mask]) > 2 * _rms(inner[mask])


@each
def test_the_rim_alone_is_lost(method):
    outer, inner, mask, grid = _problem()
    _, kept = _remove(method, outer + inner, mask, grid)
    assert kept.dtype == torch.bool and not (kept & ~mask).any()
    assert kept[torch.from_numpy(ball(grid, 16 - RIM.get(method, 3.0)))].all()


@each
def test_nothing_wraps_around(method):
    """A mask that touches the edges of the field of view is treated as in a larger field of view."""
    large = centred_grid((48, 48, 48))
    cut = slice(10, 38)
    mask = torch.zeros(large.shape, dtype=torch.bool)
    mask[cut, cut, cut] = True
    field = torch.from_numpy(sphere_field(large, 4, 9.4, (0, 0, 20)) + sphere_field(large, 3, 0.2, (9, 0, 0))) * mask
    small = centred_grid((28, 28, 28))
    knobs = dict(rim=0.0) if "rim" in [knob.name for knob in Method.of(method).knobs] else {}  # its rim ends at the edge of the field of view
    expected, expected_mask = _remove(method, field, mask, large, **knobs)
    found, found_mask = _remove(method, field[cut, cut, cut], mask[cut, cut, cut], small, **knobs)
    assert torch.equal(found_mask, expected_mask[cut, cut, cut])
    assert torch.allclose(found, expected[cut, cut, cut], atol=1e-6)
    if method is vsharp:  # the rim is lost on every side
        assert not found_mask[0].any() and not found_mask[-1].any() and not found_mask[:, :, 0].any()


@each
def test_other_voxel_axes_give_the_same_numbers(method):
    outer, inner, mask, grid = _problem("anisotropic and tilted")
    field2, grid2 = turned((outer + inner).numpy(), grid)
    mask2, _ = turned(mask.numpy(), grid)
    local, kept = _remove(method, outer + inner, mask, grid)
    local2, kept2 = _remove(method, torch.from_numpy(field2), torch.from_numpy(mask2), grid2)
    assert np.array_equal(kept2.numpy(), turned(kept.numpy(), grid)[0])
    assert np.abs(local2.numpy() - turned(local.numpy(), grid)[0]).max() < 1e-3 * _rms(outer[mask])


@each
def test_what_lies_outside_the_mask_does_not_matter(method):
    outer, inner, mask, grid = _problem()
    spoiled = torch.where(mask, outer + inner, float("nan"))
    assert torch.equal(_remove(method, spoiled, mask, grid)[0], _remove(method, outer + inner, mask, grid)[0])


@each
def test_zero_gives_zero(method):
    outer, _, mask, grid = _problem()
    assert not _remove(method, torch.zeros_like(outer), mask, grid)[0].any()


@each
def test_finite_float_zero_outside_and_inputs_unchanged(method):
    outer, inner, mask, grid = _problem()
    total = outer + inner
    with Unchanged(total, mask):
        local, kept = _remove(method, total, mask, grid)
        assert kept.data_ptr() != mask.data_ptr()
    assert local.dtype == torch.float32 and local.shape == total.shape and torch.isfinite(local).all()
    assert not local[~kept].any()


@each
def test_an_empty_mask_is_refused(method):
    outer, _, mask, grid = _problem()
    with pytest.raises(ValueError, match="mask is empty"):
        _remove(method, outer, torch.zeros_like(mask), grid)


@pytest.mark.parametrize(("method", "knob"), knobs)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(method, knob, value):
    if knob == "iterations" and value == float("inf"):
        pytest.skip("a whole number is never infinite")
    outer, _, mask, grid = _problem()
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        _remove(method, outer, mask, grid, **{knob: value})


def test_pdf_uses_the_direction_of_the_field_and_not_its_sign():
    outer, inner, mask, grid = _problem()
    tilted, upside_down = (centred_grid(grid.shape, turn=rotation(0, degrees)) for degrees in (40, 180))
    # one step: at the end, dipoles of any direction span the same harmonic fields
    found, other, same = (pdf(outer + inner, mask, one, iterations=1)[0] for one in (grid, tilted, upside_down))
    assert _rms((found - other)[mask]) > 0.05 * _rms(found[mask])
    assert torch.allclose(found, same, atol=1e-5)


def test_pdf_takes_off_its_rim_on_every_side_but_the_edge_of_the_view():
    grid = centred_grid((30, 30, 30))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[4:26, 4:26, 6:] = True
    zero = torch.zeros(grid.shape)
    _, kept = pdf(zero, mask, grid, rim=3.0)
    expected = torch.zeros_like(mask)
    expected[7:23, 7:23, 9:] = True
    assert torch.equal(kept, expected)
    assert torch.equal(pdf(zero, mask, grid, rim=0.0)[1], mask)
    with pytest.raises(ValueError, match="deeper than the rim of 30"):
        pdf(zero, mask, grid, rim=30.0)


def test_pdf_trusts_quiet_voxels_more():
    """Bad voxels pull the fit everywhere, unless their noise says that they are bad."""
    outer, inner, mask, grid = _problem()
    generator = torch.Generator().manual_seed(0)
    bad = mask & (torch.rand(outer.shape, generator=generator) < 0.1)
    noise = torch.where(bad, 1.0, 0.002)
    noisy = (outer + inner + noise * torch.randn(outer.shape, generator=generator)) * mask
    weighted, plain = (pdf(noisy, mask, grid, weight) for weight in (noise, None))
    quiet = plain[1] & ~bad
    assert _rms((weighted[0] - inner)[quiet]) < 0.7 * _rms((plain[0] - inner)[quiet])


def test_pdf_leaves_out_voxels_without_a_noise():
    outer, inner, mask, grid = _problem()
    noise = torch.full_like(outer, 0.01)
    total = outer + inner
    noise[20:23, 20:23, 20:23], total[20:23, 20:23, 20:23] = float("nan"), 50.0
    local, kept = pdf(total, mask, grid, noise)
    assert torch.isfinite(local).all()
    rest = kept.clone()
    rest[20:23, 20:23, 20:23] = False
    assert _rms((local - inner)[rest]) < 0.1 * _rms(outer[mask])
    with pytest.raises(ValueError, match="noise"):
        pdf(total, mask, grid, torch.zeros_like(noise))


def test_vsharp_is_free_of_direction():
    outer, inner, mask, grid = _problem()
    other = centred_grid(grid.shape, turn=rotation(1, 40))
    assert torch.equal(vsharp(outer + inner, mask, grid)[0], vsharp(outer + inner, mask, other)[0])


def test_vsharp_keeps_what_is_as_deep_as_its_smallest_sphere():
    outer, inner, mask, grid = _problem()
    sizes = [vsharp(outer + inner, mask, grid, smallest_radius=r)[1].sum() for r in (0, 2, 4)]
    assert sizes[0] > sizes[1] > sizes[2]
    _, kept = vsharp(outer + inner, mask, grid, smallest_radius=4)
    assert kept[torch.from_numpy(ball(grid, 12))].all() and not kept[~torch.from_numpy(ball(grid, 14))].any()


def test_vsharp_refuses_a_mask_too_thin_for_any_sphere():
    outer, _, mask, grid = _problem()
    thin = torch.zeros_like(mask)
    thin[20:22] = True
    with pytest.raises(ValueError, match="no sphere"):
        vsharp(outer, thin, grid)


def test_a_vein_that_the_mask_leaves_out_has_no_rim():
    grid = centred_grid((30, 30, 30))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[3:27, 3:27, 3:27] = True
    mask[15, 15, 8:22] = False
    _, kept = pdf(torch.zeros(grid.shape), mask, grid, rim=3.0)
    expected = torch.zeros_like(mask)
    expected[6:24, 6:24, 6:24] = True
    assert torch.equal(kept, expected & mask)
