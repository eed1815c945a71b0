"""NeXtQSM: the unrolled steps against their formula, written a second time; frames, files and knobs."""

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, centred_grid, sphere_field, turned
from toy_onnx import convolutions, identity, install

from neuraxis import resources
from neuraxis.numerics.learned_map import Training
from neuraxis.qsm.inversion.nextqsm import nextqsm

GRID = centred_grid((40, 44, 42))
STEPS = [0.02, 0.02, 0.01]


def _problem(grid=GRID):
    mask = ball(grid, 17)
    return torch.from_numpy(sphere_field(grid, 5.0, 0.3, (2.0, -1.0, 3.0)) * mask), torch.from_numpy(mask)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Installs two graphs of one convolution each, an identity where nothing is said."""

    def make(background=None, gradient=None, steps=STEPS, **network):
        first = convolutions(tmp_path / "first.onnx", identity() if background is None else background)
        second = convolutions(tmp_path / "second.onnx", 0 * identity() if gradient is None else gradient)
        install(monkeypatch, tmp_path / "root", "nextqsm", first, second, steps=list(steps), multiple=64, **network)

    return make


def _blur(seed):
    return np.random.default_rng(seed).normal(0, 0.05, (1, 1, 3, 3, 3)).astype(np.float32) + identity()


def _convolved(image, kernel):
    from scipy.ndimage import correlate

    return correlate(image, kernel[0, 0].astype(float), mode="constant")


def test_the_steps_are_those_of_the_formula(given):
    """On a box of 35 voxels, which stands in 64 with 14 zeros before and 15 behind it."""
    background, gradient = _blur(0), 20000 * (_blur(1) - identity())
    given(background, gradient)
    field, mask = _problem()
    found = nextqsm(field, mask, GRID).numpy()
    inside = np.argwhere(mask.numpy())
    low, high = inside.min(0), inside.max(0) + 1
    box, n = tuple(slice(a, b) for a, b in zip(low, high, strict=True)), 64
    place = tuple(slice((n - (b - a)) // 2, (n - (b - a)) // 2 + b - a) for a, b in zip(low, high, strict=True))
    total, m = np.zeros((n, n, n)), np.zeros((n, n, n))
    total[place], m[place] = field.numpy()[box], mask.numpy()[box]
    k = np.meshgrid(*[np.fft.fftfreq(n)] * 3, indexing="ij")
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    dipole = 1 / 3 - k[2] ** 2 / np.where(squared == 0, 1, squared)

    def d(x):
        return np.fft.ifftn(np.fft.fftn(x) * dipole).real

    b = _convolved(total * m, background) * m
    x = b
    for weight in STEPS:
        off = d(x) - b
        x = (x - weight * 100 * d(off) / np.linalg.norm(b) / np.linalg.norm(off) - _convolved(x, gradient) / n**3) * m
    assert np.linalg.norm(x - b) > 0.1 * np.linalg.norm(b)
    assert np.abs(found[box] - x[place]).max() < 1e-4 * np.abs(x).max()  # float32, with weights of thousands
    assert not found[~mask.numpy()].any()


def test_the_steps_lead_to_the_susceptibility_of_the_sphere(given):
    field, mask = _problem()
    sphere = torch.from_numpy(sphere_field(GRID, 5.0, 0.3, (2.0, -1.0, 3.0)) == 0) & mask  # inside there is no field
    before = None
    for count in (5, 20, 80):
        given(steps=[0.02] * count)
        contrast = float(nextqsm(field, mask, GRID)[sphere].mean())
        assert before is None or contrast > 1.2 * before
        before = contrast
    assert 0.15 < before < 0.33


@pytest.mark.parametrize("name", ["anisotropic", "coronal"])
def test_wherever_the_axes_point(given, name):
    given(_blur(0))
    grid = GRIDS[name]
    field, mask = _problem(grid)
    field2, grid2 = turned(field.numpy(), grid)
    mask2, _ = turned(mask.numpy(), grid)
    expected, _ = turned(nextqsm(field, mask, grid).numpy(), grid)
    found = nextqsm(torch.from_numpy(field2), torch.from_numpy(mask2), grid2).numpy()
    assert np.allclose(found, expected, atol=1e-6)


def test_a_tilted_head_is_turned_and_turned_back(given):
    given(steps=[0.0])
    grid = GRIDS["anisotropic and tilted"]
    field, mask = _problem(grid)
    found = nextqsm(field, mask, grid)
    near = torch.from_numpy(ball(grid, 14)) & mask
    assert float((found - field)[near].abs().mean()) < 0.1 * float(field[near].abs().mean())


def test_tiles_make_little_difference_where_the_network_sees_little(given):
    grid = centred_grid((180, 40, 40))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    field = torch.from_numpy(sphere_field(grid, 5.0, 0.3))
    given(_blur(0))
    assert torch.allclose(nextqsm(field, mask, grid, tile=128, halo=4), nextqsm(field, mask, grid), atol=1e-6)


def test_zero_gives_zero_without_a_division(given):
    given()
    field, mask = _problem()
    assert not nextqsm(torch.zeros_like(field), mask, GRID).any()


@pytest.mark.parametrize(("knobs", "said"), [(dict(tile=48), "tile.*48"), (dict(halo=300), "halo.*300")])
def test_knobs_out_of_range(given, knobs, said):
    with pytest.raises(ValueError, match=said):
        nextqsm(*_problem(), GRID, **knobs)


def test_not_installed_it_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path))
    with pytest.raises(ValueError, match="`neuraxis fetch nextqsm` brings it"):
        nextqsm(*_problem(), GRID)


def test_the_row_of_the_table_is_complete():
    one = resources.known()["nextqsm"]
    row = dict(one.network)
    gradient, steps = row.pop("gradient"), row.pop("steps")
    about = Training.of(row, "nextqsm")
    names = [url.rsplit("/", 1)[1] for url in one.urls]
    assert [about.file, gradient] == [f"{name.split('.')[0]}/{name}" for name in names] and len(steps) == 6
    assert one.licence == "MIT" and one.doi and len(one.sha256) == 2 and one.bytes
