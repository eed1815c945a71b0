"""The receive field: a known one is found and divided out, on any voxels."""

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, positions
from documented import Unchanged, check_documented

from neuraxis.qsm.homogeneity import METHODS, box, n4, none
from neuraxis.qsm.homogeneity.coarse import coarse, fine

BIG = {name: type(grid).of([2 * n for n in grid.shape], grid.matrix) for name, grid in GRIDS.items()}


def shaded(grid):
    """Two tissues in a ball under a linear receive field, two echoes; the truth without it, and the ball."""
    middle = positions(grid).reshape(-1, 3).mean(0)
    where = positions(grid) - middle
    head, core = ball(grid, 33, middle), ball(grid, 12, middle + [6, 0, 0])
    truth = np.where(core, 80.0, np.where(head, 100.0, 0.0))
    field = 1 + 0.5 * where[..., 0] / 33 + 0.2 * where[..., 2] / 33
    random = np.random.default_rng(0)
    echoes = [scale * truth * field + np.abs(random.standard_normal(grid.shape)) for scale in (1.0, 0.6)]
    return torch.from_numpy(np.stack(echoes, -1)).float(), truth, head & ~ball(grid, 15, middle + [6, 0, 0])


def unevenness(values, where):
    found = values[where]
    return float(found.std() / found.mean())


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
def test_documented(method):
    check_documented(method, cites=method is not none)


@pytest.mark.parametrize("name", ["isotropic", "anisotropic and tilted"])
@pytest.mark.parametrize("method", [box, n4], ids=lambda one: one.__name__)
def test_a_known_field_is_divided_out(method, name):
    grid = BIG[name]
    magnitude, truth, where = shaded(grid)
    with Unchanged(magnitude):
        found = method(magnitude, grid)
    assert found.shape == magnitude.shape and torch.isfinite(found).all() and (found >= 0).all()
    before, after = (unevenness(one[..., 0].numpy(), where) for one in (magnitude, found))
    assert after < (0.5 if method is box else 0.25) * before
    inside = torch.from_numpy(where)
    ratios = [one[inside][:, 1] / one[inside][:, 0] for one in (found, magnitude)]
    assert torch.allclose(*ratios, atol=1e-5)
    assert abs(float(found[..., 0][torch.from_numpy(where)].mean()) / 100 - 1) < 0.15


def test_none_gives_what_came():
    magnitude = torch.rand(5, 6, 7, 2)
    found = none(magnitude)
    assert torch.equal(found, magnitude) and found.data_ptr() != magnitude.data_ptr()


def test_there_and_back_keeps_what_varies_slowly():
    grid = GRIDS["anisotropic"]
    x, y, z = (torch.arange(n, dtype=torch.float32) for n in grid.shape)
    ramp = x[:, None, None] + 2 * y[None, :, None] - z[None, None, :]
    low, factors = coarse(ramp, grid, 2.0)
    assert factors == (2, 2, 1)
    back = fine(low, factors, grid.shape)
    assert (back - ramp)[2:-2, 2:-2].abs().max() < 1e-3


def test_wrong_values_are_named():
    grid = GRIDS["isotropic"]
    image = torch.rand(*grid.shape, 1)
    for method, knobs in (
        (box, {"sigma": 0.0}),
        (box, {"boxes": 1}),
        (n4, {"spacing": 20.0}),
        (n4, {"knots": 3.0}),
        (n4, {"levels": 0}),
        (n4, {"iterations": 0}),
        (n4, {"tolerance": 0.0}),
    ):
        with pytest.raises(ValueError, match=str(next(iter(knobs.values())))):
            method(image, grid, **knobs)
    for method in (box, n4):
        with pytest.raises(ValueError, match="no signal"):
            method(torch.zeros(*grid.shape, 1), grid)
