"""Several head orientations: registration, COSMOS and the susceptibility tensor against what is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, centred_grid, positions, rotation, sphere_field, turned
from scipy.ndimage import gaussian_filter

from neuraxis.numerics.dipole import dipole_field
from neuraxis.numerics.registration import correlation, resampled, rigid
from neuraxis.qsm.inversion.tkd import tkd
from neuraxis.qsm.orientations.cosmos import cosmos
from neuraxis.qsm.orientations.directions import distinct, field_directions, worst_frequency, worst_tensor
from neuraxis.qsm.orientations.harmonics import harmonic_polynomials
from neuraxis.qsm.orientations.rigid_registration import rigid_registration
from neuraxis.qsm.orientations.sti import sti
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume


def world(number: int, tilt: float) -> np.ndarray:
    """Directions of the main field: along z, then tilted to sides 137.5 degrees apart; (O, 3)."""
    angle, side = np.radians(tilt), np.arange(number - 1) * np.pi * (3 - 5**0.5)
    tilted = np.stack([np.sin(angle) * np.cos(side), np.sin(angle) * np.sin(side), np.full(number - 1, np.cos(angle))], -1)
    return np.vstack([[0, 0, 1], tilted])


def table(directions: np.ndarray) -> Table:
    return Table.of({f"b0_{axis}": directions[:, i] for i, axis in enumerate("xyz")})


def phantom(grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Balls of several strengths in an ellipsoid of zero, which is the mask."""
    inside = ((positions(grid) / (19, 17, 18)) ** 2).sum(-1) <= 1
    chi = np.zeros(grid.shape, np.float32)
    for centre, radius, value in (((6, 3, -2), 5, 0.15), ((-7, 2, 4), 4, -0.08), ((0, -8, 0), 6, 0.05), ((2, 6, 8), 2.5, 0.4)):
        chi[ball(grid, radius, centre)] += value
    return torch.from_numpy(chi * inside), torch.from_numpy(inside)


def acquired(grid: Grid, directions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Susceptibility, its field in each orientation, and masks."""
    chi, inside = phantom(grid)
    voxel = field_directions(table(directions), len(directions), grid)
    fields = torch.stack([dipole_field(chi, grid.voxel_size, tuple(b)) * inside for b in voxel.tolist()], -1)
    return chi, fields, inside[..., None].expand(fields.shape).clone()


def error(found: torch.Tensor, true: torch.Tensor, inside: torch.Tensor) -> float:
    a, b = found[inside] - found[inside].mean(), true[inside] - true[inside].mean()
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", GRIDS)
def test_three_orientations_give_the_susceptibility_that_one_cannot(name):
    grid = GRIDS[name]
    chi, fields, masks = acquired(grid, world(3, 30))
    inside = masks[..., 0]
    before = fields.clone()
    found = cosmos(fields, masks, table(world(3, 30)), grid, harmonics=0)
    assert error(found, chi, inside) < 0.05 and torch.equal(before, fields)
    alone = error(tkd(fields[..., 0].contiguous(), inside, grid), chi, inside)
    assert error(found, chi, inside) < alone / 4
    assert not found[~inside].any() and abs(float(found[inside].mean())) < 1e-6 and found.dtype == torch.float32
    exact = cosmos(fields, masks, table(world(3, 30)), grid, alpha=0, harmonics=0, tolerance=1e-3)
    assert error(exact, chi, inside) < 0.02


def test_the_field_of_a_sphere_in_turned_scanners_gives_its_susceptibility():
    """Fields that no dipole kernel of ours has made: the sphere's own, on grids that are turned in the scanner."""
    grid, fields = centred_grid((44, 44, 44)), []
    turns = [np.eye(3), rotation(0, 35), rotation(1, 35)]
    for turn in turns:  # the field of view turns with the head, so that the sphere stays on its voxels
        fields.append(sphere_field(centred_grid((44, 44, 44), turn=turn), 7, 0.5, centre=turn @ (2.0, -3.0, 1.0)))
    stack = torch.from_numpy(np.stack(fields, -1))
    masks = torch.from_numpy(ball(grid, 19))[..., None].expand(stack.shape)
    places = table(np.array([turn.T @ (0, 0, 1) for turn in turns]))
    found = cosmos(torch.where(masks, stack, torch.nan), masks, places, grid, harmonics=0)
    core = torch.from_numpy(ball(grid, 5, (2, -3, 1)))
    far = masks[..., 0] & ~torch.from_numpy(ball(grid, 9, (2, -3, 1)))
    assert float(found[core].mean() - found[far].mean()) == pytest.approx(0.5, rel=0.05)
    assert float(found[far].std()) < 0.02


def test_other_voxel_axes_give_the_same_maps():
    grid = GRIDS["anisotropic and tilted"]
    directions = world(7, 35)
    _, fields, masks = acquired(grid, directions)
    moved = [turned(one.numpy(), grid) for one in fields.unbind(-1)]
    other = moved[0][1]
    stack = torch.from_numpy(np.stack([array for array, _ in moved], -1))
    known = torch.from_numpy(np.stack([turned(one.numpy(), grid)[0] for one in masks.unbind(-1)], -1))
    for a, b in zip(
        (cosmos(fields, masks, table(directions), grid), *sti(fields, masks, table(directions), grid, iterations=5)),
        (cosmos(stack, known, table(directions), other), *sti(stack, known, table(directions), other, iterations=5)),
        strict=True,
    ):
        parts = [a] if a.ndim == 3 else a.unbind(-1)
        back = torch.from_numpy(np.stack([turned(part.numpy(), grid)[0] for part in parts], -1)).view(b.shape)
        assert float((back - b).abs().max()) < 0.03 * float(a.abs().max())


def test_what_one_orientation_lacks_the_others_tell():
    grid = GRIDS["isotropic"]
    chi, fields, masks = acquired(grid, world(4, 35))
    lacking = torch.from_numpy(ball(grid, 7, (6, 3, -2)))
    masks[..., 2] &= ~lacking
    fields[lacking, 2] = torch.nan
    found = cosmos(fields, masks, table(world(4, 35)), grid, harmonics=0)
    assert error(found, chi, masks[..., 0]) < 0.05 and torch.isfinite(found).all() and (found[lacking] != 0).all()
    masks[lacking, 1] = False
    masks[lacking, 0] = False
    assert not cosmos(fields, masks, table(world(4, 35)), grid)[lacking].any()


def test_a_noisy_orientation_weighs_less():
    grid = GRIDS["isotropic"]
    chi, fields, masks = acquired(grid, world(5, 30))
    spread = torch.tensor([0.001, 0.001, 0.02, 0.001, 0.001]).expand(fields.shape)
    noisy = fields + spread * torch.randn(fields.shape, generator=torch.Generator().manual_seed(0)) * masks
    told = error(cosmos(noisy, masks, table(world(5, 30)), grid, spread), chi, masks[..., 0])
    assert told < 0.7 * error(cosmos(noisy, masks, table(world(5, 30)), grid), chi, masks[..., 0])


def test_what_the_removal_of_the_background_leaves_does_no_harm():
    """Harmonic polynomials of the fourth degree, another in each orientation: the result is the same as without them."""
    grid = GRIDS["anisotropic and tilted"]
    chi, fields, masks = acquired(grid, world(6, 35))
    x, y, z = (torch.from_numpy(axis / 20).float() for axis in np.moveaxis(positions(grid), -1, 0))
    left = (x, x * y - z, x**4 - 6 * x**2 * y**2 + y**4, z * (x**2 - y**2), 2 * z**2 - x**2 - y**2 + 1, x**3 * z - 3 * x * y**2 * z)
    spoilt = fields + 0.1 * torch.stack(left, -1)
    for method, knobs in ((cosmos, {}), (sti, {"iterations": 5})):
        clean = method(fields, masks, table(world(6, 35)), grid, **knobs)
        found = method(spoilt, masks, table(world(6, 35)), grid, **knobs)
        for a, b in zip(*((one,) if method is cosmos else one for one in (clean, found)), strict=True):
            assert float((a - b).abs().max()) < 2e-3
    without = cosmos(spoilt, masks, table(world(6, 35)), grid, harmonics=0)
    assert error(found[1], chi, masks[..., 0]) < error(without, chi, masks[..., 0]) / 2
    exponents, basis = harmonic_polynomials(4)
    assert basis.shape == (25, len(exponents)) and exponents.sum(1).max() == 4  # (degree + 1)^2


def test_no_field_no_susceptibility():
    grid = GRIDS["anisotropic"]
    _, fields, masks = acquired(grid, world(6, 35))
    for found in (cosmos(fields * 0, masks, table(world(6, 35)), grid), *sti(fields * 0, masks, table(world(6, 35)), grid)):
        assert not found.any()


def test_too_few_or_too_small_turns_are_refused_in_one_sentence():
    grid = GRIDS["isotropic"]
    _, fields, masks = acquired(grid, world(6, 35))
    with pytest.raises(ValueError, match="COSMOS needs at least 3 head orientations, and 2 of the 2"):
        cosmos(fields[..., :2], masks[..., :2], table(world(2, 35)), grid)
    with pytest.raises(ValueError, match="and 1 of the 3 given differ"):
        cosmos(fields[..., :3], masks[..., :3], table(world(3, 1)), grid)
    with pytest.raises(ValueError, match=r"turned too little.*worst-conditioned"):
        cosmos(fields[..., :3], masks[..., :3], table(world(3, 4)), grid)
    with pytest.raises(ValueError, match="at least 6 head orientations, and 5 of the 5"):
        sti(fields[..., :5], masks[..., :5], table(world(5, 35)), grid)
    with pytest.raises(ValueError, match="turned too little"):
        sti(fields, masks, table(world(6, 12)), grid)
    cosmos(fields[..., :2], masks[..., :2], table(world(2, 35)), grid, conditioning=0, alpha=0.01)
    with pytest.raises(ValueError, match="alpha must be above 0 where conditioning is 0"):
        cosmos(fields, masks, table(world(6, 35)), grid, conditioning=0, alpha=0)
    for name in ("alpha", "conditioning", "harmonics", "iterations", "tolerance", "padding"):
        for method in (cosmos, sti):
            with pytest.raises(ValueError, match=name):
                method(fields, masks, table(world(6, 35)), grid, **{name: -1})
    with pytest.raises(ValueError, match="6 fields, and 5 head positions"):
        cosmos(fields, masks, table(world(5, 35)), grid)
    with pytest.raises(ValueError, match="mask of orientation 2 is empty"):
        masks[..., 1] = False
        cosmos(fields, masks, table(world(6, 35)), grid)


def test_conditioning_of_orientations_that_can_be_computed_by_hand():
    about_one_axis = np.array([[np.sin(a), 0, np.cos(a)] for a in np.radians([0, 60, 120])])
    assert worst_frequency(about_one_axis) == pytest.approx(1 / 3, rel=1e-3)  # 9/8 p^4 - p^2 + 1/3 at p^2 = 4/9, p = k in their plane
    assert worst_frequency(np.eye(3)[:1]) < 0.02 and worst_frequency(world(2, 60)) < 0.02  # two cones always meet
    assert distinct(np.vstack([np.eye(3), -np.eye(3)])) == 3 and worst_tensor(np.eye(3)) == 0
    assert worst_tensor(world(6, 40)) > worst_tensor(world(6, 20)) > worst_tensor(world(6, 10)) > 0


def tensors(grid: Grid, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A ball whose susceptibility is larger by `strength` along a world axis, in a box that it leaves free; and the ball."""
    inside = torch.from_numpy(ball(grid, 8, (1, -2, 0)))
    axis = np.array((1.0, 1.0, 0.0)) / 2**0.5
    tensor = np.outer(axis, axis) * strength + np.diag([0.05] * 3)
    return torch.from_numpy(tensor).float()[:, :, None, None, None] * inside, inside


def tensor_fields(tensor: torch.Tensor, grid: Grid, directions: np.ndarray) -> torch.Tensor:
    """b'Tb / 3 - (k.b) k'Tb / k^2 in world axes, term by term as in the paper; (X, Y, Z, O)."""
    shape = [2 * n for n in grid.shape]
    spectrum = torch.fft.fftn(tensor.double(), s=shape, dim=(2, 3, 4))
    steps = [torch.fft.fftfreq(n, h, dtype=torch.float64) for n, h in zip(shape, grid.voxel_size, strict=True)]
    k = torch.stack(torch.meshgrid(*steps, indexing="ij"))
    k = torch.einsum("wv,vxyz->wxyz", torch.from_numpy(grid.matrix[:3, :3] / np.array(grid.voxel_size)), k)
    squared = (k**2).sum(0)
    squared[0, 0, 0] = 1
    fields = []
    for b in torch.from_numpy(directions):
        along = torch.einsum("a,abxyz->bxyz", b.to(spectrum.dtype), spectrum)  # T b
        total = torch.einsum("a,axyz->xyz", b.to(spectrum.dtype), along) / 3
        total = total - torch.einsum("a,axyz->xyz", b, k) * (k * along).sum(0) / squared
        total[0, 0, 0] = 0
        fields.append(torch.fft.ifftn(total).real[: grid.shape[0], : grid.shape[1], : grid.shape[2]])
    return torch.stack(fields, -1).float()


@pytest.mark.parametrize("name", ["anisotropic", "anisotropic and tilted"])
def test_a_known_tensor_comes_back(name):
    grid, directions = GRIDS[name], world(8, 50)
    tensor, inside = tensors(grid, 0.1)
    fields = tensor_fields(tensor, grid, directions)
    everywhere = torch.ones(fields.shape, dtype=torch.bool)
    found, average, anisotropy = sti(fields, everywhere, table(directions), grid, alpha=1e-5, harmonics=0, iterations=8)
    core = torch.from_numpy(ball(grid, 6, (1, -2, 0)))
    far = ~torch.from_numpy(ball(grid, 11, (1, -2, 0)))
    places = [(i, j) for i in range(3) for j in range(i, 3)]
    for place, (i, j) in enumerate(places):
        difference = float(found[core][:, place].mean() - found[far][:, place].mean())
        assert difference == pytest.approx(float(tensor[i, j][core].mean()), abs=0.01)
    assert float(anisotropy[core].mean()) == pytest.approx(0.1, rel=0.15) and float(anisotropy[far].mean()) < 0.015
    assert float(average[core].mean() - average[far].mean()) == pytest.approx(0.05 + 0.1 / 3, rel=0.05)
    assert torch.allclose(found[..., [0, 3, 5]].mean(-1), average, atol=1e-5) and (anisotropy >= 0).all()
    values, vectors = torch.linalg.eigh(
        torch.stack([found[core].mean(0)[[0, 1, 2, 1, 3, 4, 2, 4, 5][n]] for n in range(9)]).view(3, 3)
    )
    assert abs(float(vectors[:, 2] @ torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))) > 0.98


def test_an_isotropic_head_has_no_anisotropy():
    grid = GRIDS["isotropic"]
    chi, fields, masks = acquired(grid, world(8, 45))
    _, average, anisotropy = sti(fields, masks, table(world(8, 45)), grid, harmonics=0)
    inside = masks[..., 0]
    assert error(average, chi, inside) < 0.2 and float(anisotropy[inside].square().mean().sqrt()) < 0.2 * float(chi[inside].std())


HEAD = np.array((30.0, 36.0, 32.0))


def scanned(turn: np.ndarray, shift: tuple[float, float, float], grid: Grid, strength: float = 1.0) -> tuple[Volume, Volume, Volume]:
    """A smooth random head that was turned and shifted in the scanner: magnitude, mask, and a smooth field."""
    rng = np.random.default_rng(3)
    pattern = gaussian_filter(rng.normal(size=(60, 60, 60)), 2.0)
    own = (positions(grid) - shift) @ turn  # where each voxel lies in the head
    from scipy.ndimage import map_coordinates

    values = map_coordinates(pattern, np.moveaxis(own / 1.5 + 30, -1, 0), order=3, mode="nearest")
    inside = ((own / HEAD) ** 2).sum(-1) <= 1
    magnitude = inside * (1 + 3 * values / pattern.std() / 3 + 0.3) * strength * (1 + positions(grid)[..., 1] / 200)
    field = np.sin(own[..., 0] / 7) * np.cos(own[..., 1] / 9) * 0.05
    return tuple(Volume(np.asarray(one), grid) for one in (magnitude.clip(min=0).astype(np.float32), inside, field.astype(np.float32)))


@pytest.mark.parametrize(
    ("turn", "grid"),
    [
        (rotation(0, 32) @ rotation(2, 5), centred_grid((40, 44, 40), (2.0, 2.0, 2.0))),
        (rotation(1, -24), centred_grid((36, 52, 30), (2.4, 1.8, 2.8), rotation(0, 15))),
        (rotation(0, 70), centred_grid((40, 44, 40), (2.0, 2.0, 2.0), rotation(0, 70))),
    ],
    ids=["the head turned", "oblique and anisotropic", "the field of view turned with it"],
)
def test_a_turned_head_is_found_and_its_field_brought_back(turn, grid):
    shift = (4.0, -3.0, 2.5)
    fixed, inside, field = scanned(np.eye(3), (0, 0, 0), centred_grid((40, 44, 40), (2.0, 2.0, 2.0)))
    moving, known, moved = scanned(turn, shift, grid, strength=7.0)
    motion = rigid(fixed, moving, inside.data, known.data)
    true = np.eye(4)
    true[:3, :3], true[:3, 3] = turn, shift
    corners = np.append(HEAD / 3**0.5, 1) * np.array([[1, 1, 1, 1], [-1, 1, 1, 1], [1, -1, 1, 1], [1, 1, -1, 1]])
    assert np.abs((motion - true) @ corners.T).max() < 0.5
    assert np.array_equal(motion, rigid(fixed, moving, inside.data, known.data))
    noise = [Volume(np.full(one.grid.shape, 0.002, np.float32), one.grid) for one in (fixed, moving)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        magnitudes, fields, masks, spread, places = rigid_registration((fixed, moving), (field, moved), (inside, known), tuple(noise))
    both = masks.data.all(-1)
    assert both.sum() > 0.9 * inside.data.sum() and both[masks.data[..., 1]].mean() > 0.9
    assert np.abs(fields.data[both, 0] - fields.data[both, 1]).max() < 0.01 and np.allclose(spread.data[both], 0.002)
    assert np.array_equal(fields.data[..., 0], field.data * inside.data) and fields.grid is fixed.grid
    assert correlation(magnitudes.data[both, 0], magnitudes.data[both, 1]) == pytest.approx(places["correlation"][1])
    assert places["correlation"][1] > 0.95 and places["orientation"].tolist() == [1, 2]
    direction = np.array([places[f"b0_{axis}"][1] for axis in "xyz"])
    assert direction @ (turn.T @ (0, 0, 1)) > np.cos(np.radians(0.5))
    assert places["tilt"][1] == pytest.approx(np.degrees(np.arccos(turn[2, 2])), abs=0.5)


def test_two_heads_that_do_not_fit_are_told():
    grid = centred_grid((40, 44, 40), (2.0, 2.0, 2.0))
    fixed, inside, field = scanned(np.eye(3), (0, 0, 0), grid)
    other = Volume(np.random.default_rng(5).uniform(size=grid.shape).astype(np.float32) * inside.data, grid)
    noise = Volume(np.ones(grid.shape, np.float32), grid)
    with pytest.warns(RuntimeWarning, match="orientation 2 correlates with that of the first by"):
        rigid_registration((fixed, other), (field, field), (inside, inside), (noise, noise))
    with pytest.raises(ValueError, match="least_correlation"):
        rigid_registration((fixed, fixed), (field, field), (inside, inside), (noise, noise), least_correlation=2)
    empty = Volume(np.zeros(grid.shape, bool), grid)
    with pytest.raises(ValueError, match="mask of orientation 2 is empty"):
        rigid_registration((fixed, fixed), (field, field), (inside, empty), (noise, noise))
    with pytest.raises(ValueError, match="one orientation only"):
        rigid_registration((fixed,), (field,), (inside,), (noise,))


def test_resampling_by_nothing_changes_nothing():
    grid = GRIDS["anisotropic and tilted"]
    data = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    for order in (0, 1, 3):
        assert np.allclose(resampled(Volume(data, grid), grid, np.eye(4), order=order, outside=None), data, atol=1e-4)
    shifted = np.eye(4)
    shifted[:3, 3] = grid.matrix[:3, 0]  # by one voxel
    assert np.allclose(resampled(Volume(data, grid), grid, shifted)[:-1], data[1:], atol=1e-4)
    assert not resampled(Volume(data, grid), grid, shifted)[-1].any()
