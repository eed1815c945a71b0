"""The scale of phase: what is understood, and what is refused."""

from __future__ import annotations

import math

import nibabel
import numpy as np
import pytest
from conftest import SHARED

from neuraxis.bids.phase import NotPhase, phase_to_radians

SHAPE = (3, 24, 26, 20)
ARBITRARY = {"Units": "arbitrary"}


def truth(seed: int = 0, gradient: float = 9.0) -> np.ndarray:
    """Smooth phase that wraps, with noise in a corner; rad, -pi..pi, three echoes."""
    rng = np.random.default_rng(seed)
    e, x, y, z = np.meshgrid([1, 2, 3], *[np.linspace(-1, 1, n) for n in SHAPE[1:]], indexing="ij")
    smooth = e * (gradient * (x + 0.5 * y) + 3 * z**2)
    noise = rng.uniform(-math.pi, math.pi, SHAPE)
    noise.flat[:2] = -math.pi, math.pi * (1 - 1e-5)
    found = np.angle(np.exp(1j * smooth))
    return np.where((x < -0.7) & (y < 0), noise, found)


def quiet(span: float) -> np.ndarray:
    """Smooth phase that fills only part of a circle, no wrap."""
    z = np.linspace(-span / 2, span / 2, SHAPE[-1])
    return np.broadcast_to(z, SHAPE).astype(np.float32).copy()


def masked(values: np.ndarray, background: float = 0.0) -> np.ndarray:
    found = values.copy()
    found[:, :8] = found[:, -8:] = background
    found[..., :6] = background
    return found


def circle(one, two) -> float:
    """Largest distance on the circle."""
    return float(np.abs(np.angle(np.exp(1j * (one - two)))).max())


def decide(values, sidecar=ARBITRARY, stored=None):
    found, text = phase_to_radians(np.array(values, np.float32), sidecar, stored)
    assert found.dtype == np.float32 and np.abs(found).max() <= np.float32(math.pi) and text.startswith("Phase: ")
    return found, text


STORED = {
    "radians": (lambda p: p, 1e-5),
    "radians 0..2pi": (lambda p: p % (2 * math.pi), 1e-5),
    "siemens 0..4095": (lambda p: np.rint((p + math.pi) * 4096 / (2 * math.pi)) % 4096, 2e-3),
    "siemens -4096..4094": (lambda p: 2 * (np.rint((p + math.pi) * 4096 / (2 * math.pi)) % 4096) - 4096, 2e-3),
    "siemens -4096..4092": (lambda p: 4 * (np.rint((p + math.pi) * 2048 / (2 * math.pi)) % 2048) - 4096, 4e-3),
    "-2048..2047": (lambda p: np.rint((p + math.pi) * 4096 / (2 * math.pi)) % 4096 - 2048, 2e-3),
    "milliradians": (lambda p: np.rint(p * 1000), 1e-3),
    "degrees": (lambda p: np.degrees(p), 1e-5),
    "degrees 0..360": (lambda p: np.degrees(p) % 360, 1e-5),
    "16 bit": (lambda p: np.rint((p + math.pi) * 65536 / (2 * math.pi)) % 65536, 1e-4),
    "arbitrary, small": (lambda p: p * 0.0011695906, 1e-3),
    "arbitrary, +-1": (lambda p: p / math.pi, 1e-3),
    "arbitrary, large": (lambda p: p * 777, 1e-3),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("units", ["arbitrary", None])
@pytest.mark.parametrize("background", [False, True], ids=["whole", "masked"])
def test_every_way_to_store_a_full_circle_is_understood(name, units, background):
    change, tolerance = STORED[name]
    stored = change(truth())
    if background:
        stored = masked(stored)
    inside = stored != 0 if background else np.ones(stored.shape, bool)
    found, text = decide(stored, {"Units": units} if units else {})
    assert circle(found[inside], truth()[inside]) < tolerance, text


def test_decided_over_all_echoes_at_once():
    values = STORED["siemens 0..4095"][0](truth())
    values[0] = np.clip(values[0], 1500, 2600)  # a first echo that fills only part of the circle
    found, text = decide(values)
    assert "Siemens" in text and abs(found[0]).max() < 1 and np.abs(found[1]).max() > 3


@pytest.mark.parametrize("span", [0.5, 3.0, 6.0])
def test_declared_radians_may_fill_part_of_a_circle(span):
    found, text = decide(quiet(span), {"Units": "rad"})
    assert np.array_equal(found, quiet(span)) and "sidecar" in text


def test_radians_keep_their_bits():
    values = truth().astype(np.float32)
    assert np.array_equal(
        decide(values, {"Units": "rad"})[0], np.clip(values, -np.float32(math.pi), np.float32(math.pi))
    )


@pytest.mark.parametrize("units", ["rad", "arbitrary"])
def test_few_voxels_that_overshoot_are_wrapped(units):
    values = truth()
    values.flat[100:140] = 3.3
    found, text = decide(values, {"Units": units})
    assert "overshoot" in text and np.allclose(found.flat[100:140], 3.3 - 2 * math.pi, atol=1e-5)


def test_the_numbers_before_the_slope_are_tried_last():
    stored = STORED["siemens 0..4095"][0](truth()).astype(np.float32)
    found, text = decide(stored * 0.37, ARBITRARY, stored)
    assert circle(found, truth()) < 2e-3 and "before the slope" in text


def smooth_unwrapped(high: float) -> np.ndarray:
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE[1:]], indexing="ij")
    return np.stack([high * e / 3 * (x + 0.2 * y**2 - 0.1 * z) / 1.2 for e in (1, 2, 3)])


def gaussian(scale: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, scale, SHAPE)


REFUSED = {
    "constant": (np.full(SHAPE, 3.0), {}, "one value"),
    "zero": (np.zeros(SHAPE), {}, "one value"),
    "mask": (truth() > 0, {}, "2 different values"),
    "labels": (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 9, {}, "9 different values"),
    "magnitude": (np.abs(gaussian(200)), {}, "magnitude|does not look like phase"),
    "magnitude of 12 bits": (np.minimum(np.abs(gaussian(150)) ** 1.25, 4095) + 0, {}, "does not look like phase"),
    "full 12 bits, magnitude": (
        np.clip(np.r_[4095.0, np.abs(gaussian(300)).ravel()[1:]].reshape(SHAPE), 0, 4095),
        {},
        "does not look like phase",
    ),
    "unwrapped, said to be radians": (smooth_unwrapped(25), {"Units": "rad"}, "unwrapped"),
    "unwrapped, a little": (smooth_unwrapped(3.4), {"Units": "rad"}, "unwrapped"),
    "unwrapped": (smooth_unwrapped(25) + 3, {}, "unwrapped"),
    "unwrapped and symmetric": (smooth_unwrapped(25) - smooth_unwrapped(25)[:, ::-1], {}, "unwrapped|cannot be told"),
    "integers, said to be radians": (STORED["siemens 0..4095"][0](truth()), {"Units": "rad"}, "Units rad"),
    "a field": (gaussian(30), {"Units": "Hz"}, "Units 'Hz'"),
    "part of a circle, unsaid": (quiet(2.0), {}, "cannot be told"),
    "part of Siemens, unsaid": (quiet(900.0) + 2048, {}, "does not look like phase"),
    "not symmetric": (truth() * 100 + 30, {}, "cannot be told"),
    "CT": (np.clip(gaussian(400) - 700, -1024, 3071), {}, "cannot be told"),
    "noise without ends": (gaussian(1.1), {}, "cannot be told"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_phase_or_has_no_scale_is_refused(name):
    values, sidecar, text = REFUSED[name]
    with pytest.raises(NotPhase, match=text) as error:
        phase_to_radians(np.array(values, np.float32), sidecar)
    assert error.value.args[1]


def test_a_tiny_crop_is_understood():
    rng = np.random.default_rng(3)
    values = rng.uniform(-math.pi, math.pi, (2, 4, 4, 3))
    values.flat[:2] = -math.pi, math.pi
    assert circle(decide(values)[0], values) < 1e-5


@pytest.mark.shared
@pytest.mark.parametrize("name", ["Phase.nii", "clearswi_Phase.nii"])
@pytest.mark.parametrize("sidecar", [ARBITRARY, {}])
def test_real_phase_at_7_t(name, sidecar):
    data = np.asarray(nibabel.load(SHARED / "brain/gre-7T-crop" / name).dataobj)
    values = np.moveaxis(data, -1, 0).astype(np.float32)
    found, text = decide(values, sidecar)
    assert "arbitrary scale" in text and np.allclose(found, values * (math.pi / np.abs(values).max()), atol=1e-5)


@pytest.mark.shared
def test_real_phase_that_is_partly_unwrapped():
    data = np.asarray(nibabel.load(SHARED / "brain/gre-7T-crop/phase_with_nan.nii").dataobj)
    values = np.nan_to_num(np.moveaxis(data, -1, 0)).astype(np.float32)
    for sidecar in (ARBITRARY, {"Units": "rad"}):
        with pytest.raises(NotPhase):
            phase_to_radians(values.copy(), sidecar)
