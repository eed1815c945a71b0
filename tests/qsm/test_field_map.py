"""From phase to field, on a small object with air beside it and on real data."""

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import SHARED

from neuraxis.numerics.filters import wrap
from neuraxis.qsm.b0 import METHODS as B0
from neuraxis.qsm.b0 import weighted_average
from neuraxis.qsm.masking import phase_quality_threshold
from neuraxis.qsm.offset import mcpc3ds
from neuraxis.qsm.quality import phase_quality
from neuraxis.qsm.reliability import consistency
from neuraxis.qsm.unwrapping import reliability_sorting, romeo
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Grid


def _scan(times, with_magnitude=True, every=1):
    """Field of a ball of air below a ball of tissue, 3 T, 2 mm; offset, decay and noise."""
    shape, h = tuple(n // every for n in (56, 60, 52)), 2.0 * every
    x, y, z = ((np.indices(shape) - np.array(shape)[:, None, None, None] / 2) * h).astype(np.float32)
    tissue = (x**2 + y**2 + z**2 < 48**2) & (x**2 + (y - 20) ** 2 + (z + 44) ** 2 > 18**2)
    distance = np.sqrt(x**2 + (y - 20) ** 2 + (z + 44) ** 2)
    field = 9.4 / 3 * (14 / np.maximum(distance, 14)) ** 3 * (3 * ((z + 44) / np.maximum(distance, 1)) ** 2 - 1)
    offset = 0.03 * x - 0.02 * y + 0.0004 * z**2
    random = np.random.default_rng(0)
    signal = [
        tissue * np.exp(-t / 0.03 + 1j * (radians_per_ppm_second(3.0) * t * field + offset))
        + 0.01 * (random.standard_normal(shape) + 1j * random.standard_normal(shape))
        for t in times
    ]
    signal = np.stack(signal, -1)
    magnitude, phase = (torch.from_numpy(f(signal)).float() for f in (np.abs, np.angle))
    grid = Grid.of(shape, np.diag([h, h, h, 1.0]))
    return phase, magnitude if with_magnitude else None, torch.from_numpy(field), torch.from_numpy(tissue), grid


@pytest.mark.parametrize("times", [(0.004, 0.012, 0.02, 0.028), (0.005, 0.0088, 0.017)])
@pytest.mark.parametrize("with_magnitude", [True, False])
def test_the_field_is_found(times, with_magnitude):
    times = np.array(times)
    phase, magnitude, truth, tissue, grid = _scan(times, with_magnitude)
    offset = mcpc3ds(phase, tissue, times, np.diff(times), grid, magnitude)
    unwrapped = romeo(phase, tissue, times, magnitude, offset)
    field, noise = weighted_average(unwrapped, tissue, times, 3.0, magnitude)
    error = field - truth
    error -= error[tissue].median()
    assert (error[tissue].abs() > 0.1).float().mean() < 0.005
    quality = phase_quality(phase, times, magnitude)
    trusted = consistency(field, noise, quality, tissue)
    assert trusted.sum() > 0.85 * tissue.sum()
    assert error[trusted].norm() < 0.1 * (truth[trusted] - truth[trusted].mean()).norm()


@pytest.mark.parametrize("b0", B0, ids=lambda one: one.__name__)
@pytest.mark.parametrize("times", [(0.005, 0.0088), (0.004, 0.0052, 0.013, 0.016, 0.03), tuple(np.linspace(0.002, 0.04, 64))])
@pytest.mark.parametrize("with_magnitude", [True, False])
def test_any_number_and_spacing_of_echoes(b0, times, with_magnitude):
    """Also uneven, and without a magnitude: the field is found by every fit, as well as its noise says."""
    times = np.array(times)
    phase, magnitude, truth, tissue, grid = _scan(times, with_magnitude, every=2)
    offset = mcpc3ds(phase, tissue, times, np.diff(times), grid, magnitude)
    field, noise = b0(romeo(phase, tissue, times, magnitude, offset), tissue, times, 3.0, magnitude)
    trusted = consistency(field, noise, phase_quality(phase, times, magnitude), tissue)
    error = field - truth
    error -= error[trusted].median()
    assert trusted.sum() > 0.75 * tissue.sum()
    assert (error[trusted].abs() > 0.1).float().mean() < 0.01 and error[trusted].abs().median() < 0.02


def test_the_same_field_without_echoes_or_magnitude_to_lean_on():
    """Sorting by reliability and ROMEO agree where the phase is sound."""
    times = np.array([0.004, 0.012, 0.02])
    phase, magnitude, _, tissue, grid = _scan(times)
    offset = mcpc3ds(phase, tissue, times, np.diff(times), grid, magnitude)
    one = romeo(phase, tissue, times, magnitude, offset)
    other = reliability_sorting(phase, tissue, times, offset)
    assert ((one - other)[tissue].abs() < 1e-3).float().mean() > 0.98


def test_read_outs_that_alternate_are_taken_out_of_the_field():
    times = np.array([0.004, 0.012, 0.02, 0.028])
    phase, magnitude, truth, tissue, grid = _scan(times)
    ramp = torch.linspace(-1.5, 1.5, truth.shape[0])[:, None, None]
    signs = torch.tensor([1.0, -1, 1, -1])
    with pytest.warns(RuntimeWarning, match="bipolar"):
        offset = mcpc3ds(wrap(phase + signs * ramp[..., None]), tissue, times, np.diff(times), grid, magnitude)
    unwrapped = romeo(wrap(phase + signs * ramp[..., None]), tissue, times, magnitude, offset)
    field, noise = weighted_average(unwrapped, tissue, times, 3.0, magnitude)
    plain = mcpc3ds(phase, tissue, times, np.diff(times), grid, magnitude)
    true, usual = weighted_average(romeo(phase, tissue, times, magnitude, plain), tissue, times, 3.0, magnitude)
    # nothing is left of the ramp, and what is odd about it does not show in the noise either
    rest = (field - true)[tissue]
    assert (rest - rest.median()).abs().median() < 0.002
    assert noise[tissue].median() < 1.2 * usual[tissue].median()


def test_one_echo_gives_a_field():
    times = np.array([0.015])
    phase, magnitude, truth, tissue, _ = _scan(times)
    field, noise = weighted_average(romeo(phase, tissue, times, magnitude), tissue, times, 3.0, magnitude)
    error = field - truth  # the offset stays in
    assert (error[tissue] - error[tissue].median()).abs().median() < 0.2 and (noise[tissue] > 0).all()
    for b0 in B0:
        one, _ = b0(romeo(phase, tissue, times), tissue, times, 3.0)
        assert (one - field)[tissue].abs().median() < 1e-3


def test_quality_without_magnitude_or_second_echo():
    times = np.array([0.004, 0.012])
    phase, magnitude, _, tissue, _ = _scan(times)
    for quality in (
        phase_quality(phase, times, magnitude),
        phase_quality(phase, times),
        phase_quality(phase[..., :1], times[:1]),
    ):
        assert quality.shape == tissue.shape and 0 <= quality.min() and quality.max() <= 1
        assert quality[tissue].median() > 2 * quality[~tissue].median()


@pytest.mark.shared
def test_a_real_scan_at_7_tesla():
    folder = SHARED / "brain" / "gre-7T-crop"
    image = nib.load(folder / "Phase.nii")
    phase = torch.from_numpy(np.asarray(image.dataobj, np.float32))
    phase *= np.pi / phase.abs().max()
    magnitude = torch.from_numpy(np.asarray(nib.load(folder / "Mag.nii").dataobj, np.float32))
    times, grid = np.array([0.004, 0.008, 0.012]), Grid.of(phase.shape, image.affine)
    mask = phase_quality_threshold(phase_quality(phase, times, magnitude))
    assert mask.float().mean() > 0.95
    offset = mcpc3ds(phase, mask, times, np.diff(times), grid, magnitude)
    unwrapped = romeo(phase, mask, times, magnitude, offset)
    assert wrap(unwrapped - phase + offset[..., None])[mask].abs().max() < 1e-3
    steps = [unwrapped.diff(dim=axis).abs() > np.pi for axis in range(3)]
    assert all(one.float().mean() < 0.003 for one in steps)
    field, noise = weighted_average(unwrapped, mask, times, 7.0, magnitude)
    assert field[mask].abs().max() < 2 and noise[mask].median() < 0.005
