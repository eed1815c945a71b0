"""Straightening, on tubes whose course, length and area are known."""

import nibabel as nib
import numpy as np
import pytest
from conftest import SHARED

from neuraxis.cord.centerline.bspline import bspline
from neuraxis.cord.straightening import Straightening, straighten, straighten_to_template, straightening_fields
from neuraxis.simulate.shapes import rotation
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

RADIUS = 5.0


def course(z):
    """A bent cord: x and y in mm at heights z (mm), with the slope of each."""
    return 3 * np.sin(z / 30), 14 * np.sin(z / 45), np.cos(z / 30) / 10, 14 / 45 * np.cos(z / 45)


def grid_of(codes="LAS", size=(1.0, 1.0, 1.0), turn=(0, 0, 0), lengths=(60, 84, 120)):
    """A grid of these orientation codes around the origin; size and lengths in mm, along left, front and up."""
    shape = [round(length / edge) for length, edge in zip(lengths, size, strict=True)]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(turn) @ np.diag([-1, 1, 1]) * np.array(size)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Volume(np.zeros(shape, np.float32), Grid.of(shape, matrix)).oriented(codes).grid


def tube(grid, low=-1e9, high=1e9):
    """Soft mask of a tube of 5 mm radius around the course, and its exact centerline on the slices of the upright frame."""
    voxels = np.indices(grid.shape).reshape(3, -1)
    points = (grid.matrix[:3, :3] @ voxels + grid.matrix[:3, 3:]).T
    z = points[:, 2].copy()
    for _ in range(20):
        x, y, dx, dy = course(z)
        z += ((points[:, 0] - x) * dx + (points[:, 1] - y) * dy + points[:, 2] - z) / (1 + dx**2 + dy**2)
    x, y, _, _ = course(z)
    distance = np.linalg.norm(points - np.stack([x, y, z], axis=1), axis=1)
    share = np.clip(0.5 + (RADIUS - distance) / np.mean(sorted(grid.voxel_size)[:2]), 0, 1)
    share[(z < low) | (z > high)] = 0
    return Volume(share.reshape(grid.shape).astype(np.float32), grid), centerline(grid)


def centerline(grid, margin=2.0):
    upright = Volume(np.broadcast_to(np.int8(0), grid.shape), grid).oriented("LAS").grid
    z = np.linspace(-200, 200, 40001)
    x, y, _, _ = course(z)
    world = np.stack([x, y, z], axis=1)
    inverse = np.linalg.inv(upright.matrix)
    voxel = world @ inverse[:3, :3].T + inverse[:3, 3]
    slices = np.arange(
        int(np.ceil(margin / upright.voxel_size[2])), upright.shape[2] - int(margin / upright.voxel_size[2])
    )
    columns = {name: np.interp(slices, voxel[:, 2], values) for name, values in zip(("x", "y"), voxel.T, strict=False)}
    columns |= {
        name: np.interp(slices, voxel[:, 2], axis) for name, axis in zip(("x_mm", "y_mm", "z_mm"), world.T, strict=True)
    }
    return Table.of({"slice": slices, **columns})


def true_length(table):
    z = np.linspace(table["z_mm"][0], table["z_mm"][-1], 100_001)
    x, y, _, _ = course(z)
    return float(np.linalg.norm(np.diff(np.stack([x, y, z]), axis=1), axis=0).sum())


CASES = {
    "upright": {},
    "PSR": {"codes": "PSR"},
    "oblique": {"codes": "RIP", "turn": (8, -6, 5)},
    "anisotropic": {"size": (0.7, 0.7, 4.0)},
    "sagittal thick": {"codes": "PSR", "size": (2.0, 0.9, 0.9), "turn": (0, 0, 4)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bent_tube_becomes_straight(case):
    grid = grid_of(**case)
    image, table = tube(grid)
    straight = straighten(image, table, interpolation="linear")
    assert "".join(nib.aff2axcodes(straight.grid.matrix)) == "LAS"
    length = true_length(table)
    px, py, pz = straight.grid.voxel_size
    arc = np.arange(straight.data.shape[2]) * pz - 10
    inner = (arc > 6) & (arc < length - 6)
    data = straight.data[:, :, inner].astype(float)
    area = data.sum(axis=(0, 1)) * px * py
    for axis, edge in ((0, px), (1, py)):
        steps = (np.arange(data.shape[axis]) - (data.shape[axis] - 1) / 2) * edge
        centre = np.tensordot(steps, data.sum(axis=1 - axis), axes=1) / data.sum(axis=(0, 1))
        assert np.abs(centre).max() < 0.2
    assert area.mean() == pytest.approx(np.pi * RADIUS**2, rel=0.01)
    if max(grid.voxel_size) <= 1:
        assert np.abs(area / (np.pi * RADIUS**2) - 1).max() < 0.02


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_lengths_are_kept(case):
    """Two marks on the curve are as far apart on the straight line as along the curve."""
    grid = grid_of(**case)
    table = centerline(grid)
    frame = Straightening.of(table, grid)
    assert frame.ends[1] == pytest.approx(true_length(table), rel=1e-3)
    ends = np.stack([table[name][[0, -1]] for name in ("x_mm", "y_mm", "z_mm")], axis=1)
    low, high = frame.to_straight(ends)
    assert np.linalg.norm(high - low) == pytest.approx(true_length(table), rel=1e-3)
    assert np.allclose((high - low) / np.linalg.norm(high - low), frame.axes[:, 2], atol=1e-3)


@pytest.mark.parametrize("turn", [(0, 0, 0), (10, 5, -7)])
def test_there_and_back(turn):
    grid = grid_of(turn=turn)
    frame = Straightening.of(centerline(grid), grid)
    rng = np.random.default_rng(0)
    local = rng.uniform(-17, 17, (20_000, 3))
    local[:, 2] = rng.uniform(-0.5, 0.5, len(local)) * (frame.ends[1] + 15)
    straight = local @ frame.axes.T + frame.origin
    error = np.linalg.norm(frame.to_straight(frame.to_curved(straight)) - straight, axis=1)
    assert error.max() < 1e-3
    moved = np.linalg.norm(frame.to_curved(straight) - straight, axis=1)
    assert moved.max() > 5  # there was something to undo


def test_fields_undo_each_other():
    grid = grid_of("PSR")
    image, table = tube(grid)
    to_body, to_straight = straightening_fields(image, table)
    frame = Straightening.of(table, grid)
    voxels = np.argwhere(image.data > 0.5)
    points = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    moved = points + to_straight.data[tuple(voxels.T)]
    known = np.isfinite(moved[:, 0])
    assert known.mean() > 0.95
    assert np.abs(frame.to_curved(moved[known]) - points[known]).max() < 0.01
    # as sampled on their grids, by the nearest voxel of the other one: still within what the voxels resolve
    there = np.rint((moved[known] - to_body.grid.matrix[:3, 3]) @ np.linalg.inv(to_body.grid.matrix[:3, :3]).T).astype(
        int
    )
    inside = ((there >= 0) & (there < np.array(to_body.grid.shape))).all(axis=1)
    centres = there[inside] @ to_body.grid.matrix[:3, :3].T + to_body.grid.matrix[:3, 3]
    off = centres + to_body.data[tuple(there[inside].T)] - points[known][inside] - (centres - moved[known][inside])
    error = np.linalg.norm(off, axis=1)
    assert (error**2).mean() < 0.8 and error.max() < 1.2


def test_away_from_the_cord_and_where_sections_cross_nothing_is_invented():
    grid = grid_of()
    z = np.linspace(-40, 40, 81)
    # a bend of 12 mm radius: its centre lies within the frame
    y = np.where(np.abs(z) < 8, 12 - np.sqrt(np.maximum(144 - np.minimum(np.abs(z), 8.0) ** 2, 1)), 0)
    y = np.where(np.abs(z) >= 8, 12 - np.sqrt(80) + 8 / np.sqrt(80) * (np.abs(z) - 8), y)
    table = Table.of({"slice": np.arange(81) + 20, "x": 0 * z + 30, "y": y, "x_mm": 0 * z, "y_mm": y - 10, "z_mm": z})
    to_body, to_straight = straightening_fields(Volume(np.ones(grid.shape, np.float32), grid), table)
    assert np.isnan(to_body.data).any() and np.isfinite(to_body.data[17, 17]).all()
    assert np.isnan(to_straight.data[0, 0, 0]).all()
    straight = straighten(Volume(np.ones(grid.shape, np.float32), grid), table)
    assert np.isfinite(straight.data).all() and (straight.data[np.isnan(to_body.data[..., 0])] == 0).all()


def test_past_the_field_of_view_there_is_nothing():
    """The cord at the edge of the image: half of the frame sees no image."""
    grid = grid_of(lengths=(40, 40, 60))
    z = np.arange(60) - 29.5
    line = {
        "slice": np.arange(60),
        "x": np.zeros(60),
        "y": np.zeros(60) + 20,
        "x_mm": np.full(60, 19.5),
        "y_mm": 0 * z,
        "z_mm": z,
    }
    straight = straighten(Volume(np.ones(grid.shape, np.float32), grid), Table.of(line), width=21)
    middle = straight.data[:, :, 15:-15]
    assert np.allclose(middle[11:], 1, atol=1e-5) and (middle[:9] == 0).all()


def test_labels_and_resolution():
    grid = grid_of()
    image, table = tube(grid)
    labels = Volume((image.data > 0.5).astype(np.int16) * 7, grid)
    nearest = straighten(labels, table, interpolation="nearest", resolution=0.5, width=20)
    assert set(np.unique(nearest.data)) == {0, 7} and nearest.data.dtype == np.int16
    assert np.allclose(nearest.grid.voxel_size, 0.5)
    volume = (nearest.data > 0).sum() * 0.125
    assert volume == pytest.approx(np.pi * RADIUS**2 * (true_length(table) + 4), rel=0.02)


def test_template_distances_between_discs():
    grid = grid_of()
    table = centerline(grid)
    frame = Straightening.of(table, grid)
    discs, marks = np.zeros(grid.shape, np.int16), np.zeros(grid.shape)
    for label, arc in {6: 30.0, 5: 48.0, 4: 70.0}.items():
        place = frame.section(np.zeros(1), np.zeros(1), np.array([arc]))[0]
        middle = np.rint(np.linalg.inv(grid.matrix) @ np.append(place, 1))[:3].astype(int)
        discs[tuple(middle)] = label
        marks += np.exp(-0.5 * ((np.indices(grid.shape) - middle[:, None, None, None]) ** 2).sum(axis=0) / 1.5**2)
    straight = straighten_to_template(Volume(marks, grid), table, Volume(discs, grid), interpolation="linear")
    found = straight.data.sum(axis=(0, 1))
    peaks = [k for k in range(1, len(found) - 1) if found[k] > 1 and found[k - 1] <= found[k] > found[k + 1]]
    gaps = np.diff(peaks) * straight.grid.voxel_size[2]
    assert len(peaks) == 3 and np.allclose(gaps, [(834 - 801) / 2, (871 - 834) / 2], atol=1.5)


def test_a_slice_off_the_line_does_little_harm():
    """A centerline with one slice in the wrong place: its neighbours stay straight, and nothing is torn."""
    grid = grid_of()
    image, table = tube(grid)
    moved = dict(table.columns)
    moved["y_mm"] = moved["y_mm"].copy()
    moved["y_mm"][60] += 0.5
    straight = straighten(image, Table.of(moved), interpolation="linear")
    area = straight.data.sum(axis=(0, 1))[15:-15]
    assert np.abs(area / (np.pi * RADIUS**2) - 1).max() < 0.2
    assert (np.abs(area / (np.pi * RADIUS**2) - 1) > 0.03).sum() < 12


@pytest.mark.shared
def test_area_of_a_real_cord_is_that_across_it():
    """The mean area of the straightened manual mask is what the Spinal Cord Toolbox gives with its angle correction."""
    image = nib.load(SHARED / "cord/sct-testing/t2/t2_seg-manual.nii.gz")
    cord = Volume(np.asarray(image.dataobj, np.float32), Grid.of(image.shape, image.affine))
    straight = straighten(cord, bspline(cord), interpolation="linear", resolution=0.5)
    area = straight.data.sum(axis=(0, 1)) * 0.25
    assert area[30:-30].mean() == pytest.approx(77.5156, rel=0.015)


@pytest.mark.parametrize("knobs", [{"width": 0}, {"width": np.inf}, {"resolution": -1}, {"interpolation": "best"}])
def test_knobs_outside_their_range(knobs):
    image, table = tube(grid_of(size=(3, 3, 3)))
    with pytest.raises(ValueError, match=next(iter(knobs))):
        straighten(image, table, **knobs)


def test_bad_centerlines():
    image, table = tube(grid_of(size=(3, 3, 3)))
    with pytest.raises(ValueError, match="two"):
        straighten(image, table.where(np.arange(1)))
    with pytest.raises(ValueError, match="upwards"):
        straighten(image, table.where(np.arange(len(table))[::-1]))
    with pytest.raises(ValueError, match="finite"):
        straighten(image, Table.of({**table.columns, "x_mm": table["x_mm"] * np.nan}))
    two = straighten(image, table.where(np.array([3, 4])))
    assert np.isfinite(two.data).all()
    with pytest.raises(ValueError, match="two discs"):
        straighten_to_template(image, table, Volume(np.zeros(image.grid.shape, np.int16), image.grid))


def test_inputs_are_left_alone():
    image, table = tube(grid_of(size=(3, 3, 3)))
    before = image.data.copy(), table["x_mm"].copy()
    straighten(image, table)
    straightening_fields(image, table)
    assert np.array_equal(before[0], image.data) and np.array_equal(before[1], table["x_mm"])
