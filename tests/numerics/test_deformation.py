"""Registration of simulated blobs that are moved by known maps, on grids of any orientation."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from neuraxis.numerics import greedy
from neuraxis.numerics.deformation import Deformation, affine, deformable, places_of, sampled
from neuraxis.volume import Grid, Volume

GRIDS = {
    "plain": np.diag([1.0, 1, 1, 1]),
    "flipped": np.array([[-1.0, 0, 0, 40], [0, 0, 1.5, -20], [0, -1, 0, 30], [0, 0, 0, 1]]),
}


def _blobs(places):
    """A brain-like lump with structure, defined in space."""
    rng = np.random.default_rng(3)
    total = 40 * np.exp(-((places - [20, 22, 18]) ** 2).sum(-1) / (2 * 11.0**2))
    for _ in range(25):
        centre, width, height = rng.uniform(8, 34, 3), rng.uniform(1.5, 3.5), rng.uniform(-15, 25)
        total = total + height * np.exp(-((places - centre) ** 2).sum(-1) / (2 * width**2))
    return total.astype(np.float32)


def _grid(name):
    matrix = GRIDS[name].copy()
    shape = (46, 46, 46) if name == "plain" else (46, 44, 34)
    centre = matrix[:3, :3] @ (np.array(shape) / 2)
    matrix[:3, 3] = np.array([20, 22, 18]) - centre
    return Grid.of(shape, matrix)


def _oblique(grid):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [9, -6, 12], degrees=True).as_matrix()
    turn[:3, 3] = np.array([20, 22, 18]) - turn[:3, :3] @ [20, 22, 18]
    return Grid.of(grid.shape, turn @ grid.matrix)


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("freedom", [6, 12])
def test_a_known_affine_map_is_found(name, freedom):
    fixed_grid, moving_grid = _grid(name), _oblique(_grid("plain"))
    true = np.eye(4)
    true[:3, :3] = Rotation.from_euler("xyz", [5, 4, -3], degrees=True).as_matrix()
    if freedom == 12:
        true[:3, :3] = true[:3, :3] @ np.diag([1.06, 0.95, 1.03])
    true[:3, 3] = np.array([22, 21, 19]) - true[:3, :3] @ [20, 22, 18]
    moving = Volume(_blobs(places_of(moving_grid)), moving_grid)
    fixed = Volume(_blobs(places_of(fixed_grid) @ true[:3, :3].T + true[:3, 3]), fixed_grid)
    found = affine([fixed], [moving], np.eye(4), freedom=freedom, metric="SSD", iterations=(60, 40))
    points = np.random.default_rng(0).uniform(10, 30, (50, 3))
    off = points @ (found[:3, :3] - true[:3, :3]).T + found[:3, 3] - true[:3, 3]
    assert np.linalg.norm(off, axis=1).max() < 0.3
    again = affine([fixed], [moving], np.eye(4), freedom=freedom, metric="SSD", iterations=(60, 40))
    assert np.array_equal(found, again)


@pytest.mark.parametrize("name", list(GRIDS))
def test_a_known_smooth_map_is_found_and_inverted(name):
    grid, moving_grid = _grid(name), _oblique(_grid("plain"))
    here = places_of(grid)
    push = 2.5 * np.stack([np.sin(here[..., 1] / 9), np.cos(here[..., 2] / 8), np.sin(here[..., 0] / 10)], -1)
    moving = Volume(_blobs(places_of(moving_grid)), moving_grid)
    fixed = Volume(_blobs(here + push), grid)
    found = deformable([fixed], [moving], np.eye(4), iterations=(60, 40))
    there = found.there(here)
    inside = fixed.data > 15
    before, after = np.linalg.norm(push[inside], axis=1).mean(), np.linalg.norm((there - here - push)[inside], axis=1).mean()
    assert before > 2 and after < 0.3 * before  # where nothing is seen nothing can be known
    assert np.abs(found.back(there)[inside] - here[inside]).max() < 0.05
    laid = sampled(moving, there)
    assert np.abs(laid - fixed.data)[inside].mean() < 0.3 * np.abs(sampled(moving, here) - fixed.data)[inside].mean()
    warp, inverse = found.warp(grid), found.warp(moving_grid, inverse=True)
    assert np.allclose(here + warp.data, there, atol=1e-3) and warp.grid.same_as(grid)
    assert np.allclose(places_of(moving_grid) + inverse.data, found.back(places_of(moving_grid)), atol=1e-3)


def test_where_nothing_is_seen_the_map_is_the_same_every_time():
    """The correlation of flat images is that of noise which greedy adds."""
    grid = Grid.of((24,) * 3, np.diag([2.0, 2, 2, 1]))
    fixed, moving = (Volume((100.0 + (np.indices(grid.shape)[0] > edge)).astype(np.float32), grid) for edge in (11, 13))
    one, other = (deformable([fixed], [moving], np.eye(4), iterations=(5,)).displacement.data for _ in range(2))
    assert np.array_equal(one, other)


def test_an_affine_map_alone():
    matrix = np.array([[1.1, 0, 0, 3], [0, 0.9, 0.1, 0], [0, 0, 1, -2], [0, 0, 0, 1.0]])
    grid = _grid("flipped")
    one = Deformation(matrix, Volume(np.zeros((*grid.shape, 3), np.float32), grid))
    points = np.random.default_rng(0).normal(size=(20, 3)) * 30
    assert np.allclose(one.there(points), points @ matrix[:3, :3].T + matrix[:3, 3])
    assert np.allclose(one.back(one.there(points)), points)


def test_what_greedy_refuses_is_one_sentence_and_nothing_is_printed(capfd):
    image = Volume(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(16,) * 3), 2).astype(np.float32), Grid.of((16,) * 3, np.eye(4)))
    with pytest.raises(ValueError, match="the registration failed"):
        greedy.run("-i one two -nonsense -o found", {"one": image, "two": image}, "found")
    affine([image], [image], np.eye(4), iterations=(5,))
    assert capfd.readouterr() == ("", "")
