"""Pictures of every artifact, from any affine, with the patient's left on the left."""

import io

import numpy as np
import pytest
from PIL import Image

from neuraxis.artifacts import ARTIFACTS
from neuraxis.report.figures import MAX_BYTES, _render, caption, draw
from neuraxis.report.slices import Panel, cut, edges, turned
from neuraxis.volume import Grid, Volume

VIEWED = [one for one in ARTIFACTS.values() if one.view and one.view.kind in ("map", "outline")]
ORIENTATIONS = {
    "RAS": np.diag([2.0, 2, 2, 1]),
    "LAS": np.diag([-2.0, 2, 2, 1]),
    "LPI": np.diag([-2.0, -2, -2, 1]),
    "SRA": np.array([[0, 2.0, 0, 5], [0, 0, 2, 7], [2, 0, 0, -3], [0, 0, 0, 1]]),
    "anisotropic PSL": np.array([[0, 0, -3.0, 5], [-1, 0, 0, 7], [0, 2, 0, -3], [0, 0, 0, 1]]),
}


def _oblique(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return turn @ np.diag([-2.0, 2, 2, 1])


ORIENTATIONS["oblique"] = _oblique(25)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def _ball(shape=(24, 28, 20)) -> np.ndarray:
    at = np.indices(shape).astype(float)
    middle = (np.array(shape) - 1)[:, None, None, None] / 2
    return (((at - middle) / (middle * 0.7)) ** 2).sum(0) < 1


@pytest.mark.parametrize("artifact", VIEWED, ids=lambda one: one.name)
def test_every_artifact_with_a_view_can_be_drawn(artifact):
    mask = _ball()
    values = mask * np.random.default_rng(0).normal(size=mask.shape)
    if "E" in artifact.shape:
        values = np.stack([values, 2 * values, 3 * values], -1)
    grid = Grid.of(mask.shape, ORIENTATIONS["LAS"])
    volume = Volume(mask if artifact.kind == "mask" else values.astype(np.float32), grid)
    under = Volume(np.abs(values).astype(np.float32), grid) if artifact.kind == "mask" else None
    png = draw(artifact, volume, under=under, region=Volume(mask, grid))
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and len(png) < MAX_BYTES
    assert png == draw(artifact, volume, under=under, region=Volume(mask, grid))
    assert b"tEXt" not in png and b"tIME" not in png
    assert artifact.title in caption(artifact)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_turning_puts_the_patients_left_front_and_foot_where_the_letters_say(name):
    """A bright voxel is put at a known place of the patient; after turning it lies at the low or high end."""
    grid = Grid.of((21, 23, 19), ORIENTATIONS[name])
    centre = grid.matrix @ [10, 11, 9, 1]
    for axis, sign in [(0, -1), (1, 1), (2, -1)]:  # left, front, foot
        place = centre.copy()
        place[axis] += sign * 8.0
        i, j, k = np.rint(np.linalg.solve(grid.matrix, place)[:3]).astype(int)
        data = np.zeros(grid.shape)
        data[i, j, k] = 1
        image = turned(data, None, grid)
        found = np.argwhere(image.data)[0][axis]
        assert (found - (image.data.shape[axis] - 1) / 2) * sign > 0
        np.testing.assert_allclose(
            (image.matrix @ [*np.argwhere(image.data)[0], 1])[:3], (grid.matrix @ [i, j, k, 1])[:3]
        )


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_marker_at_the_patients_left_is_drawn_on_the_left(name):
    grid = Grid.of((21, 23, 19), ORIENTATIONS[name])
    everywhere = np.indices(grid.shape).reshape(3, -1)
    world = (grid.matrix[:3, :3] @ everywhere + grid.matrix[:3, 3:]).reshape(3, *grid.shape)
    centre = world.reshape(3, -1).mean(1)
    data = np.where(world[0] < centre[0] - 2, 1.0, 0.3)  # the left half is bright
    image = turned(data, np.ones(grid.shape), grid)
    panel = Panel("axial", image.data.shape[2] // 2, 0, 0, 0.0)
    pixels = _pixels(_render(image, None, (0.0, 1.0), ARTIFACTS["magnitude"], [panel], 8.0, ()))[..., 0]
    bright, dim = np.argwhere(pixels == 255), np.argwhere(pixels == 76)
    assert min(len(bright), len(dim)) > 0.3 * 64 * image.data.shape[0] * image.data.shape[1]
    assert bright[:, 1].mean() < dim[:, 1].mean() - 4 * image.data.shape[0] * 0.7
    assert abs(bright[:, 0].mean() - dim[:, 0].mean()) < 60  # and not above or below


def test_voxels_keep_their_proportions():
    grid = Grid.of((20, 20, 10), np.diag([1.0, 1.0, 4.0, 1.0]))
    data = np.ones(grid.shape)
    image = turned(data, data, grid)
    panel = Panel("coronal", 10, 0, 0, 0.0)
    pixels = _pixels(_render(image, None, (0.0, 1.0), ARTIFACTS["magnitude"], [panel], 8.0, ()))[..., 0]
    white = pixels == 255
    column = white[:, np.argmax(white.sum(0))].sum()
    row = white[np.argmax(white.sum(1))].sum()
    assert column / row == pytest.approx(40 / 20, rel=0.15)


def test_the_outline_follows_the_edges_of_the_voxels():
    mask = np.zeros((5, 4), bool)
    mask[2, 1] = True
    found = {tuple(map(tuple, one)) for one in edges(mask).tolist()}
    assert found == {((2, 1), (2, 2)), ((3, 1), (3, 2)), ((2, 1), (3, 1)), ((2, 2), (3, 2))}


def test_an_outline_is_drawn_in_colour_and_a_map_is_grey():
    mask = _ball()
    grid = Grid.of(mask.shape, np.eye(4))
    under = Volume(mask * 1.0, grid)
    pixels = _pixels(draw(ARTIFACTS["mask"], Volume(mask, grid), under=under))
    assert ((pixels[..., 0] - pixels[..., 2]) > 100).any()
    pixels = _pixels(draw(ARTIFACTS["r2star"], Volume(mask * 30.0, grid)))
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("value", [0.0, np.nan, 5.0])
def test_a_volume_with_nothing_to_see_is_drawn(value):
    volume = Volume(np.full((8, 9, 7), value, np.float32), Grid.of((8, 9, 7), np.eye(4)))
    for name in ("chi", "total_field", "magnitude"):
        assert draw(ARTIFACTS[name], volume)
    assert draw(ARTIFACTS["mask"], Volume(np.zeros((8, 9, 7), bool), volume.grid), under=volume)


def test_noise_on_a_fine_grid_stays_small():
    grid = Grid.of((190, 230, 150), np.diag([0.6, 0.6, 0.6, 1]))
    data = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    assert len(draw(ARTIFACTS["phase"], Volume(data, grid))) <= MAX_BYTES


def test_slices_are_taken_inside_the_region():
    data = np.random.default_rng(0).normal(size=(40, 40, 40))
    region = np.zeros(data.shape, bool)
    region[25:35, 5:15, 20:30] = True
    image = turned(data, region, Grid.of(data.shape, np.diag([4.0, 4, 4, 1])))
    assert image.data.shape == (16, 16, 16)
    assert [cut(image.data, Panel("axial", first, 0, 0, 0.0)).shape for first, _ in image.core[2:]] == [(16, 16)]


def test_volumes_on_two_grids_are_refused():
    volume = Volume(_ball(), Grid.of((24, 28, 20), np.eye(4)))
    other = Volume(_ball(), Grid.of((24, 28, 20), np.diag([2.0, 2, 2, 1])))
    with pytest.raises(ValueError, match="different grids"):
        draw(ARTIFACTS["mask"], volume, under=other)
    with pytest.raises(ValueError, match="no view"):
        draw(ARTIFACTS["chi_unreferenced"], volume)
