"""The session's T1w on the voxels of a gradient echo, and as a channel of the group's template."""

import contextlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from documented import check_documented
from scipy.spatial.transform import Rotation

from neuraxis.brain import atlas
from neuraxis.brain.t1w import lesion_from_t1w, t1w_aligned, t1w_position
from neuraxis.cohort_processes import Member, held, prepare
from neuraxis.numerics.deformation import moved, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

MOTION = np.eye(4)
MOTION[:3, :3] = np.linalg.qr(np.array([[1, 0.2, -0.1], [-0.2, 1, 0.15], [0.1, -0.15, 1]]))[0]
MOTION[:3, :3] *= np.sign(np.diag(MOTION[:3, :3]))
MOTION[:3, 3] = 3, -5, 4
POSITION = Table.of({name: MOTION[:, axis] for axis, name in enumerate(("x", "y", "z", "shift"))})


def bright(places: np.ndarray) -> np.ndarray:
    return 100 + 20 * np.sin(places[..., 0] / 9) + 15 * np.cos(places[..., 1] / 11 + places[..., 2] / 8)


def of(bright_at, shape, voxel, codes: str) -> Volume:
    matrix = np.diag([*voxel, 1.0])
    matrix[:3, 3] = -0.5 * np.array(shape) * voxel
    grid = Volume(np.zeros(shape, np.float32), Grid.of(shape, matrix)).oriented(codes).grid
    return Volume(bright_at(places_of(grid)).astype(np.float32), grid)


@pytest.mark.parametrize("method", [t1w_aligned, lesion_from_t1w])
def test_documented(method):
    check_documented(method)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
def test_a_lesion_lies_where_the_motion_says_whatever_the_axes(codes):
    def ball(places):
        return (np.linalg.norm(places - (4, -3, 2), axis=-1) < 7).astype(np.float32)

    image = of(lambda places: places[..., 0], (30, 36, 20), (1.2, 1.0, 2.0), "RAS" if codes == "PSR" else "PSR")
    found = lesion_from_t1w(POSITION, of(ball, (64, 64, 64), (1, 1, 1), codes), image)
    wanted = ball(moved(MOTION, places_of(image.grid))) > 0
    assert found.data.dtype == bool and found.grid.same_as(image.grid) and wanted.sum() > 300
    assert 2 * (found.data & wanted).sum() > 0.93 * (found.data.sum() + wanted.sum())


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
def test_it_is_seen_where_the_motion_says_whatever_the_axes(codes):
    t1w = of(bright, (64, 64, 64), (1, 1, 1), codes)
    image = of(lambda places: places[..., 0], (20, 24, 12), (1.2, 1.0, 2.0), "RAS" if codes == "PSR" else "PSR")
    inside = np.zeros(image.grid.shape, bool)
    inside[2:-2, 2:-2, 2:-2] = True
    found = t1w_aligned(POSITION, t1w, Volume(inside, image.grid))
    wanted = bright(moved(MOTION, places_of(image.grid)))
    assert found.grid.same_as(image.grid) and not found.data[~inside].any()
    assert np.abs(found.data - wanted)[inside].max() < 1.5, "of 35: linear interpolation, and the mean over slices of 2 mm"
    assert np.corrcoef(found.data[inside], wanted[inside])[0, 1] > 0.999


def seen(voxel, turn, stretch=1.0):
    """The template's brain in a scanner, turned and made longer from right to left; and where it is."""
    reference = atlas.template()
    size = np.array(reference.grid.shape) * reference.grid.voxel_size
    matrix = np.diag([*voxel, 1.0])
    matrix[:3, 3] = reference.grid.matrix[:3, 3]
    grid = Grid.of(tuple(int(n) for n in np.ceil(size / voxel)), matrix)
    image = sampled(reference, (places_of(grid) / [stretch, 1, 1]) @ turn.T)
    return Volume(image, grid), Volume(image > 0, grid)


@pytest.mark.parametrize("stretch", [pytest.param(1.0, marks=pytest.mark.slow), 1.02, 1.1])
def test_a_head_that_would_have_to_be_stretched_is_another(stretch):
    turn = Rotation.from_euler("xyz", (4, -3, 6), degrees=True).as_matrix()
    t1w, t1w_mask = seen((2.5, 2.5, 2.5), turn)
    magnitude, mask = seen((2.5, 2.5, 3.0), np.eye(3), stretch)
    dark = Volume(np.where(mask.data, 1.5 * magnitude.data.max() - magnitude.data, 0).astype(np.float32), mask.grid)
    with pytest.warns(UserWarning, match="stretched by") if stretch > 1.05 else contextlib.nullcontext():
        found = t1w_position(dark, mask, t1w, t1w_mask)
    assert (found["overlap"] > 0.9).all() and found["trusted"].all() == (stretch < 1.05)
    assert found["stretch"][0] == pytest.approx(abs(np.log(stretch)), abs=0.015)


def test_of_a_part_of_the_brain_the_stretch_is_not_told():
    t1w, t1w_mask = seen((3, 3, 3), np.eye(3))
    part = Volume(np.ascontiguousarray(t1w.data[..., 20:36]), Grid.of((*t1w.data.shape[:2], 16), t1w.grid.matrix @ _up(20)))
    found = t1w_position(part, Volume(part.data > 0, part.grid), t1w, t1w_mask)
    assert np.isnan(found["stretch"]).all() and found["trusted"].all()


def _up(slices):
    matrix = np.eye(4)
    matrix[2, 3] = slices
    return matrix


def test_the_template_takes_it_whatever_its_brightness(tmp_path):
    places = {"combined_magnitude": bright, "chi": lambda p: 0.01 * p[..., 0], "t1w_aligned": lambda p: 7.0 * bright(p)}
    for name, function in places.items():
        one = of(function, (24, 24, 24), (2, 2, 2), "RAS")
        nibabel.save(nibabel.Nifti1Image(one.data, one.grid.matrix), tmp_path / f"{name}.nii.gz")
    ball = of(lambda p: (np.linalg.norm(p, axis=-1) < 18).astype(np.float32), (24, 24, 24), (2, 2, 2), "RAS")
    nibabel.save(nibabel.Nifti1Image(ball.data, ball.grid.matrix), tmp_path / "mask.nii.gz")
    member = Member("sub-01_MEGRE", "01", {name: f"{name}.nii.gz" for name in (*places, "mask")}, "key", True)
    assert prepare((tmp_path, Path(tmp_path / "head.npz"), member, tuple(places), 2.0), 1) == "made"
    made = held(tmp_path / "head.npz")
    inside = made["mask"]
    assert made["channels"].shape[0] == 3
    assert np.median(made["channels"][0][inside]) == pytest.approx(1) and np.median(made["channels"][2][inside]) == pytest.approx(1, abs=0.02)
    assert np.ptp(made["channels"][1][inside]) == pytest.approx(0.01 * 36, rel=0.15), "susceptibility keeps its unit"
