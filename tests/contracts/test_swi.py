import numpy as np
import pytest
import torch
from analytic import GRIDS, ball, sphere_field
from documented import Unchanged, check_documented

from neuraxis.qsm.swi import METHODS, clear_swi, haacke
from neuraxis.qsm.swi.weighting import KINDS
from neuraxis.units import radians_per_ppm_second

TIMES = np.array([0.008, 0.014, 0.020])
STRENGTH = 3.0
each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
places = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def _images(grid, chi=0.3, radius=4.0, wraps=True):
    """Echoes of a ball of `chi` ppm that the field of its inside makes darker or not, with a background ramp that wraps."""
    field = torch.from_numpy(sphere_field(grid, radius, chi) + chi / 3 * ball(grid, radius)).float()
    ramp = torch.linspace(0, 0.5 if wraps else 0, grid.shape[0])[:, None, None]
    angle = radians_per_ppm_second(STRENGTH) * (field + ramp)
    phase = torch.stack([torch.angle(torch.polar(torch.ones_like(angle), angle * float(t))) for t in TIMES], -1)
    magnitude = torch.stack([torch.full(grid.shape, 1000.0 * float(np.exp(-20 * t))) for t in TIMES], -1)
    mask = torch.from_numpy(ball(grid, 18.0))
    return phase, magnitude, mask


def run(method, images, grid, **knobs):
    phase, magnitude, mask = images
    if method is haacke:
        return method(phase, magnitude, mask, TIMES, STRENGTH, grid, **knobs)
    return method(phase, magnitude, mask, TIMES, grid, **knobs)


@each
def test_documented(method):
    check_documented(method)


@each
@places
def test_paramagnetic_is_dark_and_the_background_is_not(method, grid):
    images = _images(grid)
    with Unchanged(*images):
        image = run(method, images, grid)
    inside, far = torch.from_numpy(ball(grid, 3.0)), images[2] & torch.from_numpy(~ball(grid, 12.0))
    assert image.dtype == torch.float32 and image.min() >= 0 and (image[~images[2]] == 0).all()
    assert image[inside].mean() < 0.9 * image[far].median()


@each
def test_each_weighting_darkens_its_sign(method):
    grid = GRIDS["isotropic"]
    inside, far = torch.from_numpy(ball(grid, 3.0)), torch.from_numpy(ball(grid, 17.0) & ~ball(grid, 12.0))
    for kind in KINDS:
        dark = {}
        for chi in (0.3, -0.3):
            image = run(method, _images(grid, chi, wraps=False), grid, weighting=kind)
            dark[chi] = float(image[inside].mean() / image[far].median())
        if kind == "triangular":
            assert max(dark.values()) < 0.9
        else:
            negative = kind.startswith("negative")
            assert dark[-0.3 if negative else 0.3] < 0.9 * dark[0.3 if negative else -0.3]


@each
def test_one_echo_is_enough_and_what_lies_outside_may_be_anything(method):
    grid = GRIDS["anisotropic"]
    phase, magnitude, mask = _images(grid)
    if method is clear_swi:
        first = method(phase[..., 1:2], magnitude[..., 1:2], mask, TIMES[1:2], grid)
        for one in (phase, magnitude):
            one[~mask] = torch.nan
        assert torch.equal(method(phase[..., 1:2], magnitude[..., 1:2], mask, TIMES[1:2], grid), first)
    else:
        first = method(phase[..., 2:], magnitude[..., 2:], mask, TIMES[2:], STRENGTH, grid)
        assert torch.equal(method(phase, magnitude, mask, TIMES, STRENGTH, grid), first)  # 20 ms is the echo for 3 T
        phase[0, 0, 0] = torch.nan
        assert torch.isfinite(method(phase, magnitude, mask, TIMES, STRENGTH, grid)).all()


def test_the_floor_lifts_what_is_dark():
    grid = GRIDS["isotropic"]
    phase, magnitude, mask = _images(grid, wraps=False)
    hole = torch.from_numpy(ball(grid, 4.0))
    magnitude = torch.where(hole[..., None], magnitude / 50, magnitude)
    plain, lifted = (clear_swi(torch.zeros_like(phase), magnitude, mask, TIMES, grid, softplus=on) for on in (False, True))
    assert lifted[hole].mean() > 5 * plain[hole].mean()
    assert lifted[mask & ~hole].mean() == pytest.approx(float(plain[mask & ~hole].mean()), rel=0.2)


@each
def test_wrong_knobs_are_named(method):
    grid, images = GRIDS["isotropic"], _images(GRIDS["isotropic"])
    wrong = {"weighting": "cosine", "strength": 0.0}
    wrong |= {"sigma": 0.0} if method is clear_swi else {"cutoff": -0.1, "echo": 4}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name) as error:
            run(method, images, grid, **{name: value})
        assert str(value) in str(error.value)
