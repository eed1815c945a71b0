import functools

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, positions, sphere_field, turned
from documented import Unchanged, check_documented
from toy_onnx import convolutions, identity, install, inverse_dipole

from neuraxis.engine import Method
from neuraxis.qsm.inversion import METHODS, qsmart, whqsm

RADIUS = 6.0
each = pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
knobs = [
    pytest.param(one, knob.name, id=f"{one.__name__}-{knob.name}") for one in METHODS for knob in Method.of(one).knobs
]


TOTAL = [
    one
    for one in METHODS
    if Method.of(one).needs[0].name == "total_field" and "rim" in [k.name for k in Method.of(one).knobs]
]
"""Methods that fit the background too: any field inside the mask is a total field, and their rim can be kept."""


@pytest.fixture(scope="module", autouse=True)
def network(tmp_path_factory):
    """Stands for the networks: one convolution with the inverse of the dipole kernel, cut to a box of 17 mm.

    What the cut takes off its strength, the scale of its output gives back. In `nextqsm` it stands for the background removal,
    and the steps are nothing: on a field as small as this one, they are far too long (see test_nextqsm.py).
    """
    folder = tmp_path_factory.mktemp("network")
    graph = convolutions(folder / "inverse.onnx", inverse_dipole())
    still = convolutions(folder / "still.onnx", 0 * identity())
    about = dict(voxel_size=(1, 1, 1), output_sd=1.9)
    with pytest.MonkeyPatch.context() as patch:
        install(patch, folder / "resources", "qsmnet_plus", graph, multiple=4, halo=8, **about)
        install(patch, folder / "resources", "nextqsm", graph, still, multiple=64, steps=[0.0], **about)
        yield


def _whole(method):
    """Knobs with which the result covers the whole mask."""
    return dict(rim=0.0) if method in TOTAL else {}


@functools.cache
def _sphere(name, chi):
    grid = GRIDS[name]
    mask = ball(grid, 19)
    return torch.from_numpy(sphere_field(grid, RADIUS, chi) * mask), torch.from_numpy(mask)


def _problem(name="isotropic", chi=1.0):
    field, mask = _sphere(name, chi)
    return field.clone(), mask.clone(), GRIDS[name]


@functools.cache
def _usual_contrast(method):
    return _contrast(method(*_problem()), GRIDS["isotropic"])


def _contrast(chi, grid):
    """Mean over the sphere less the mean over the rest."""
    chi, inside, near = chi.numpy(), ball(grid, RADIUS - 1), ball(grid, 17) & ~ball(grid, RADIUS + 2)
    return chi[inside].mean() - chi[near].mean()


@each
def test_documented(method):
    check_documented(method)


HIGH_PASS = (qsmart,)
"""They take what varies slowly, and say so: in a mask as small as this one, most of the sphere."""


@each
@pytest.mark.parametrize("chi", [1.0, -0.2])
def test_recovers_a_sphere(method, chi):
    field, mask, grid = _problem(chi=chi)
    if method in HIGH_PASS:
        assert 0.1 < _contrast(method(field, mask, grid), grid) / chi < 1
        return
    assert _contrast(method(field, mask, grid), grid) == pytest.approx(chi, rel=0.3)  # Tikhonov is the darkest


@each
@pytest.mark.parametrize("name", list(GRIDS)[1:])
def test_the_same_object_on_any_grid(method, name):
    expected = _usual_contrast(method)
    field, mask, grid = _problem(name)
    chi = method(field, mask, grid)
    # on other voxels a background of few iterations takes another share of what tissue and outer sources both explain
    apart = 0.12 if method in TOTAL else 0.06 if method is whqsm else 0.05
    assert _contrast(chi, grid) == pytest.approx(expected, rel=apart)
    weight = (chi.numpy() * ball(grid, RADIUS + 3)).clip(0)[..., None]
    assert np.abs((weight * positions(grid)).sum((0, 1, 2)) / weight.sum()).max() < 0.2  # mm: it stands where it stood


@each
def test_other_voxel_axes_give_the_same_numbers(method):
    field, mask, grid = _problem("anisotropic and tilted")
    field2, grid2 = turned(field.numpy(), grid)
    mask2, _ = turned(mask.numpy(), grid)
    expected, _ = turned(method(field, mask, grid).numpy(), grid)
    found = method(torch.from_numpy(field2), torch.from_numpy(mask2), grid2).numpy()
    # float32 rounds otherwise in another order, and tens of Krylov iterations on strong sources make more of it
    assert np.abs(found - expected).max() < (4e-3 if method in TOTAL else 1e-3) * np.abs(expected).max()


@each
def test_it_is_linear_in_the_field_or_keeps_its_sign(method):
    field, mask, grid = _problem()
    assert torch.allclose(method(-field, mask, grid), -method(field, mask, grid), atol=1e-4)


@each
def test_what_lies_outside_the_mask_does_not_matter(method):
    field, mask, grid = _problem()
    spoiled = torch.where(mask, field, float("nan"))
    assert torch.equal(method(spoiled, mask, grid), method(field, mask, grid))


@each
def test_zero_gives_zero(method):
    field, mask, grid = _problem()
    assert not method(torch.zeros_like(field), mask, grid).any()


@each
def test_finite_float_zero_outside_and_inputs_unchanged(method):
    field, mask, grid = _problem()
    with Unchanged(field, mask):
        chi = method(field, mask, grid)
    assert chi.dtype == torch.float32 and chi.shape == field.shape and torch.isfinite(chi).all()
    assert not chi[~mask].any() and chi[mask].any()


@each
def test_a_few_voxels_are_enough(method):
    field, mask, grid = _problem()
    lonely = torch.zeros_like(mask)
    lonely[3, 4, 5] = lonely[30, 4, 5] = True
    assert torch.isfinite(method(field, lonely, grid, **_whole(method))).all()


@each
def test_an_empty_mask_is_refused(method):
    field, mask, grid = _problem()
    with pytest.raises(ValueError, match="mask is empty"):
        method(field, torch.zeros_like(mask), grid)


@pytest.mark.parametrize(("method", "knob"), knobs)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(method, knob, value):
    if knob.endswith("iterations") and value == float("inf"):
        pytest.skip("a whole number is never infinite")
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        method(*_problem(), **{knob: value})


@pytest.mark.parametrize("method", TOTAL, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", ["isotropic", "anisotropic and tilted"])
def test_a_background_changes_little(method, name):
    """Air outside the mask, with a field five times that of the sphere inside."""
    field, mask, grid = _problem(name, chi=0.4)
    air = torch.from_numpy(sphere_field(grid, 7.0, 9.4, (4.0, 26.0, -7.0))) * mask
    assert air[mask].std() > 3 * field[mask].std()
    found = method(field + air + 2.0 * mask, mask, grid)
    assert _contrast(found, grid) == pytest.approx(_contrast(method(field, mask, grid), grid), rel=0.03)


@pytest.mark.parametrize("method", TOTAL, ids=lambda one: one.__name__)
def test_the_rim_is_taken_off_and_can_be_kept(method):
    field, mask, grid = _problem()
    found = method(field, mask, grid, rim=3.0) != 0
    assert not (found & ~torch.from_numpy(ball(grid, 17))).any() and found[torch.from_numpy(ball(grid, 15))].all()
    assert (method(field, mask, grid, rim=0.0) != 0)[mask].all()
