from dataclasses import replace

import numpy as np
import pytest
import torch

from neuraxis.simulate import Phantom
from neuraxis.simulate.acquisition import image_grid, scan
from neuraxis.simulate.anatomy import MNI_TO_ADULT, Person, head, reach
from neuraxis.simulate.forward import shim, tissue_field, total_field
from neuraxis.simulate.tissues import TISSUES
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Grid

STRAIGHT = Person(np.diag([MNI_TO_ADULT] * 3 + [1.0]))
SMALL = Phantom(shape=(44, 52, 48), voxel_size=(4.0, 4.0, 4.0), fine=4.0, snr=float("inf"))


@pytest.fixture(scope="module")
def small():
    return scan(SMALL, STRAIGHT, 1)


def sphere(grid, radius, fine=4):
    """Places of the voxels and the share of each that lies in a sphere around the grid's centre."""
    steps = [(np.arange(n * fine) + 0.5) / fine - n / 2 for n in grid.shape]
    x, y, z = (sum(a * s for a, s in zip(row, np.ix_(*steps), strict=True)) for row in grid.matrix[:3, :3])
    inside = (x**2 + y**2 + z**2 <= radius**2).astype(np.float32)
    (a, b, c), f = grid.shape, fine
    place = [axis.reshape(a, f, b, f, c, f).mean(axis=(1, 3, 5)) for axis in (x, y, z)]
    return np.stack(place, axis=-1), inside.reshape(a, f, b, f, c, f).mean(axis=(1, 3, 5))


@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (1.0, 0.8, 1.6)])
def test_sphere_has_the_field_of_the_textbook(degrees, voxel):
    """Outside a sphere: chi/3 (a/r)^3 (3 cos^2 - 1), with the angle to the scanner's z, whatever the grid."""
    shape = tuple(int(44 / edge) for edge in voxel)
    grid = image_grid(Phantom(shape=shape, voxel_size=voxel, obliquity=degrees))
    place, ball = sphere(grid, 8.0)
    field = tissue_field(torch.from_numpy(ball), torch.ones(shape, dtype=torch.bool), grid).numpy()
    radius = np.linalg.norm(place, axis=-1)
    shell = (radius > 11) & (radius < 18)
    cosine = place[..., 2] / np.maximum(radius, 1e-6)
    expected = (8.0 / np.maximum(radius, 1)) ** 3 / 3 * (3 * cosine**2 - 1)
    error = np.linalg.norm(field[shell] - expected[shell]) / np.linalg.norm(expected[shell])
    assert error < 0.05
    assert abs(field[radius < 5].mean()) < 0.02  # none inside a sphere


def test_paramagnetic_nucleus_has_positive_phase_along_the_field(small):
    """Above and below a paramagnetic sphere along B0 the field, and so the phase, is positive."""
    grid = Grid.of((32, 32, 32), np.eye(4))
    _, ball = sphere(grid, 5)
    field = tissue_field(torch.from_numpy(0.1 * ball), torch.ones(32, 32, 32, dtype=torch.bool), grid)
    assert field[16, 16, 23] > 0 and field[16, 16, 8] > 0 and field[23, 16, 16] < 0
    # and the images follow the field
    clean = list(replace(small, noise=0.0).images(0))
    turn = radians_per_ppm_second(3.0) * (SMALL.echo_times[1] - SMALL.echo_times[0])
    step = np.angle(np.exp(1j * (clean[1][1] - clean[0][1] - turn * small.total_field)))
    assert np.abs(step[small.brain]).max() < 1e-2


def test_wrapped_phase_is_congruent_with_the_true_field(small):
    for time, (_, phase) in zip(SMALL.echo_times, replace(small, noise=0.0).images(0), strict=True):
        assert np.abs(phase).max() <= np.pi + 1e-6
        expected = small.total_field * radians_per_ppm_second(3.0) * time + small.phase_offset
        difference = np.angle(np.exp(1j * (phase - expected)))
        assert np.abs(difference[small.brain]).max() < 1e-2
    assert np.abs(expected[small.brain]).max() > np.pi  # there are wraps


def test_magnitude_decays_with_r2star(small):
    first, *_, last = [magnitude for magnitude, _ in small.images(0)]
    inside = small.brain
    rate = np.log(first[inside] / last[inside]) / (SMALL.echo_times[-1] - SMALL.echo_times[0])
    assert np.allclose(rate, small.r2star[inside], rtol=1e-3, atol=1e-2)
    assert np.allclose(small.s0[inside] * np.exp(-small.r2star[inside] * 0.006), first[inside], rtol=1e-3)


def test_noise_is_as_asked(small):
    noisy = scan(replace(SMALL, snr=50.0), STRAIGHT, 1)
    peak = max(np.abs(echo).max() for echo in noisy.echoes)
    air = noisy.labels == TISSUES["air"].label
    air &= np.abs(noisy.echoes[0]) < 1e-6
    magnitude = next(noisy.images(0))[0]
    sigma = np.sqrt(np.mean(magnitude[air] ** 2) / 2)  # Rayleigh
    assert peak / sigma == pytest.approx(50, rel=0.02)


def test_the_field_is_shimmed_inside_the_brain():
    grid = image_grid(SMALL)
    body = head(grid, STRAIGHT, 3.0)
    field = shim(total_field(body.chi, grid), body.brain, grid)
    again = shim(field, body.brain, grid)
    assert torch.allclose(field, again, atol=1e-3)
    assert abs(float(field[body.brain].mean())) < 1e-3


def test_an_oblique_grid_sees_the_same_head_and_field():
    """The field at one place of the scanner is the same, seen by a straight and by an oblique grid."""
    from scipy.ndimage import map_coordinates

    half = replace(SMALL, shape=(88, 104, 96), voxel_size=(2.0, 2.0, 2.0))
    straight, oblique = scan(half, STRAIGHT, 1), scan(replace(half, obliquity=20.0), STRAIGHT, 1)
    assert min(abs(b) for b in oblique.grid.b0_direction) > 0.1
    at = np.argwhere(oblique.brain).T
    place = np.linalg.inv(straight.grid.matrix) @ oblique.grid.matrix @ np.vstack([at, np.ones(at.shape[1])])
    for name, least in (("chi", 0.85), ("total_field", 0.9), ("local_field", 0.85)):
        seen = map_coordinates(getattr(straight, name), place[:3], order=1, mode="nearest")
        whole = getattr(oblique, name)[tuple(at)]
        deep = (map_coordinates(straight.brain.astype(float), place[:3], order=1) > 0.99) & (np.abs(whole) < 3)
        assert np.corrcoef(seen[deep], whole[deep])[0, 1] > least, name


def test_the_head_reaches_beyond_a_small_field_of_view():
    grid = Grid.of((30, 30, 30), np.diag([4.0, 4.0, 4.0, 1.0]))
    larger = reach(grid, STRAIGHT)
    assert all(a > b for a, b in zip(larger.shape, grid.shape, strict=True))
    first = np.linalg.inv(larger.matrix) @ grid.matrix[:, 3]
    assert np.allclose(first, np.rint(first))


def test_every_tissue_is_there_on_both_sides():
    grid = image_grid(Phantom())
    body = head(grid, STRAIGHT, 3.0, calcification=True)
    labels = body.labels.numpy()
    assert {tissue.label for tissue in TISSUES.values()} == set(np.unique(labels).tolist())
    middle = grid.shape[0] // 2
    for label in range(1, 8):
        left, right = (labels[:middle] == label).sum(), (labels[middle:] == label).sum()
        assert left > 0 and right > 0 and 0.7 < left / right < 1.4
    assert body.brain.sum() * grid.voxel_volume == pytest.approx(1.45e6, rel=0.15)  # mm³ with fluid
    white = float(body.chi[body.labels == 8].mean())
    assert white == pytest.approx(TISSUES["white matter"].chi, abs=0.01)
    pallidum = float(body.chi[body.labels == 2].mean())
    assert pallidum == pytest.approx(TISSUES["pallidum"].chi, abs=0.02)


def test_larger_voxels_lose_signal_where_the_field_is_steep():
    fine = scan(replace(SMALL, fine=2.0), STRAIGHT, 1)
    decay = fine.s0 * np.exp(-fine.r2star * SMALL.echo_times[-1])
    assert (np.abs(fine.echoes[-1])[fine.brain] < 0.7 * decay[fine.brain]).sum() > 20


def test_a_field_of_view_without_brain_is_refused():
    with pytest.raises(ValueError, match="no brain"):
        scan(replace(SMALL, shape=(8, 8, 8)), Person(STRAIGHT.pose + 250 * np.eye(4, k=3)), 1)
