"""BET's surface, the percentile, the refinements, the recipe in words, and HD-BET without and with a model."""

import sys

import numpy as np
import pytest
import torch
from contracts.analytic import GRIDS, ball, turned
from toy_nets import toy_net

from neuraxis import resources
from neuraxis.numerics.morphology import erode
from neuraxis.qsm.masking import bet as bet_method
from neuraxis.qsm.masking import bet_and_phase_quality, combined, hd_bet, magnitude_threshold
from neuraxis.qsm.masking.refinement import opened, smoothed, without_dark_rim
from neuraxis.volume import Grid

bet = sys.modules["neuraxis.qsm.masking.bet"]


@pytest.fixture(autouse=True)
def coarse_surface(monkeypatch):
    """A ball of 17 mm needs fewer vertices than a brain."""
    monkeypatch.setattr(bet, "_SUBDIVISIONS", 3)
    monkeypatch.setattr(bet, "_ITERATIONS", 500)


def dice(a, b):
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def skull(grid, radius=17.0):
    """A bright ball in a dark gap in a bright shell, and the ball; centred, so that any grid sees the same."""
    brain = ball(grid, radius)
    scalp = ball(grid, radius + 6) & ~ball(grid, radius + 3.5)
    noise = np.abs(np.random.default_rng(0).standard_normal(grid.shape))
    image = 100.0 * brain + 90.0 * scalp + 4 * noise
    return torch.from_numpy(image.astype(np.float32))[..., None], torch.from_numpy(brain)


@pytest.mark.parametrize("name", ["isotropic", "anisotropic and tilted", "coronal"])
def test_bet_finds_the_ball_in_the_shell_on_any_grid(name):
    image, brain = skull(GRIDS[name])
    assert dice(bet_method(image, GRIDS[name]), brain) > 0.9


def test_bet_gives_the_same_whatever_the_order_of_the_axes():
    grid = GRIDS["anisotropic"]
    image, brain = skull(grid)
    moved, there = turned(image[..., 0].numpy(), grid)
    found = bet_method(torch.from_numpy(moved)[..., None], there)
    again, _ = turned(bet_method(image, grid).numpy(), grid)
    assert dice(found, torch.from_numpy(again)) > 0.985  # the sphere of triangles is turned with the axes


def test_the_knobs_of_bet_act_as_they_say():
    grid = GRIDS["isotropic"]
    image, brain = skull(grid)
    x = torch.linspace(0.3, 1.0, 44)[:, None, None]  # a brain that fades to one side
    faded = (image[..., 0] * x)[..., None]
    small, large = (bet_method(faded, grid, fractional_intensity=f).sum() for f in (0.8, 0.2))
    assert small < large
    upper = torch.from_numpy(np.indices(grid.shape)[2] > 23)
    plain, tilted = bet_method(image, grid, fractional_intensity=0.6), bet_method(image, grid, fractional_intensity=0.6, gradient=0.4)
    assert (tilted & upper).sum() <= (plain & upper).sum()


def test_bet_refuses_what_is_no_head():
    grid = GRIDS["isotropic"]
    for knobs in ({"fractional_intensity": 1.0}, {"smoothness": 0.0}, {"gradient": 2.0}, {"blur": 9.0}, {"echoes": "second"}):
        with pytest.raises(ValueError, match=str(next(iter(knobs.values())))):
            bet_method(skull(grid)[0], grid, **knobs)
    with pytest.raises(ValueError, match="zero"):
        bet_method(torch.zeros(*grid.shape, 1), grid)
    with pytest.raises(ValueError, match="everywhere"):
        bet_method(torch.ones(*grid.shape, 1), grid)


def test_what_a_surface_encloses():
    """A sphere of triangles has the volume of a sphere, and none of its voxels lies outside; also when the view cuts it."""
    vertices, triangles, *_ = bet._icosphere(3)
    size, shape = np.array([1.0, 0.8, 2.0]), (40, 50, 20)
    centre = np.array([20.3, 19.8, 19.1])
    inside = bet._inside(vertices * 15 + centre, triangles, size, shape)
    away = np.linalg.norm(np.indices(shape).transpose(1, 2, 3, 0) * size - centre, axis=-1)
    assert inside[away < 14.5].all() and not inside[away > 15.5].any()
    assert abs(inside.sum() * size.prod() / (4 / 3 * np.pi * 15**3) - 1) < 0.02
    cut = bet._inside(vertices * 15 + centre * [0, 1, 1], triangles, size, shape)
    half = np.linalg.norm(np.indices(shape).transpose(1, 2, 3, 0) * size - centre * [0, 1, 1], axis=-1)
    assert cut[half < 14].all() and not cut[half > 15.5].any()


def test_touching_surfaces_are_seen():
    vertices, *_ = bet._icosphere(4)
    flat = vertices * 50 * [1, 1, 0.002]
    assert bet._folded(vertices * 50, vertices) == 0 and bet._folded(flat, vertices) > 0.05


def test_bet_keeps_a_brain_whose_skull_is_gone_already_and_that_has_veins():
    """The darkest voxels of the image are tissue then, and thin dark lines are no skull."""
    grid = GRIDS["isotropic"]
    brain = torch.from_numpy(ball(grid, 17.0))
    veins = torch.from_numpy(np.random.default_rng(1).random(grid.shape) < 0.03)
    image = torch.where(brain, torch.where(veins, 40.0, 100.0), 0.0)[..., None]
    assert dice(bet_method(image, grid), brain) > 0.97 > dice(bet_method(image, grid, blur=0.0), brain)


def test_percentile_leaves_so_many_voxels():
    values = torch.rand(20, 20, 20, 1, generator=torch.Generator().manual_seed(0))
    mask = magnitude_threshold(values, threshold="percentile", percentile=40.0, separation=0, closing=0, largest_hole=0)
    assert abs(float(mask.float().mean()) - 0.6) < 0.02


def test_refinements():
    grid = Grid.of((30, 30, 30), np.diag([1.0, 1.0, 2.0, 1.0]))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[8:22, 8:22, 8:22] = True
    mask[22:28, 15, 15] = True  # a thread
    assert not opened(mask, 1)[24, 15, 15] and opened(mask, 1)[10, 10, 10]
    assert not smoothed(mask, grid, 2.0)[24, 15, 15] and smoothed(mask, grid, 2.0)[15, 15, 15]
    image = torch.ones(grid.shape)
    image[8:10] = 0.2  # dark rim of two layers on one side
    image[15, 15, 15] = 0.1  # dark inside: stays
    found = without_dark_rim(mask, image, 0.8, 5)
    assert not found[8:10].any() and found[10, 12, 12] and found[15, 15, 15]
    one = without_dark_rim(mask, image, 0.8, 1)
    assert not one[8].any() and one[9, 12, 12]


def known():
    grid = GRIDS["isotropic"]
    image, brain = skull(grid)
    quality = torch.where(brain, 0.9, 0.2)
    quality[:20] = torch.where(brain[:20], 0.4, 0.2)
    return grid, image, quality, brain


def test_recipe_joins_masks(monkeypatch):
    grid, image, quality, brain = known()
    say = lambda recipe, **more: combined(grid, image, quality, recipe=recipe, **more)  # noqa: E731
    count = []
    surface = bet_method(image, grid)
    monkeypatch.setattr(sys.modules["neuraxis.qsm.masking.combined"], "bet", lambda *_, **knobs: count.append(knobs) or surface)
    phase = say("phase-quality,threshold:fixed:0.5")
    assert torch.equal(phase, quality > 0.5)
    assert torch.equal(say("phase-quality,threshold:fixed:0.5 & magnitude-first,bet:0.5"), phase & surface)
    assert torch.equal(say("phase-quality,threshold:fixed:0.5 | magnitude-first , bet"), phase | surface)
    bright = say("magnitude-last,threshold:percentile:60")
    joined = say("magnitude-last,threshold:percentile:60|phase-quality,threshold:fixed:0.5&magnitude,threshold:fixed:0.7")
    assert torch.equal(joined, bright | (phase & say("magnitude,threshold:fixed:0.7")))
    assert torch.equal(say("phase-quality,threshold:fixed:0.5", finish="fill-holes, erode:2"), erode(phase, 2))
    assert say("magnitude,threshold:otsu,open:1,close:1,gaussian:1,largest,signal-erode:0.5:2,dilate:1,fill-holes").any()
    assert dice(say("phase-quality,threshold:otsu,dilate:1,fill-holes:0,erode:1"), phase) > 0.9
    assert say("phase-quality,threshold:otsu").any()
    assert count == [{"fractional_intensity": 0.5}] * 2
    assert bet_and_phase_quality(image, quality, grid).any()


@pytest.mark.parametrize(
    ("recipe", "word"),
    [
        ("phase,threshold:otsu", "'phase' is no input"),
        ("magnitude", "generator is missing"),
        ("magnitude,otsu", "'otsu' generates no mask"),
        ("magnitude,threshold", "write threshold:otsu"),
        ("magnitude,threshold:fixed", "write threshold:otsu"),
        ("magnitude,threshold:fixed:2", "'2' is not a number from 0 to 1"),
        ("magnitude,threshold:percentile:100", "percentile"),
        ("magnitude,threshold:otsu,erode", "erode takes 1 number"),
        ("magnitude,threshold:otsu,erode:1.5", "'1.5' is not a whole number"),
        ("magnitude,threshold:otsu,erode:nan", "'nan' is not"),
        ("magnitude,threshold:otsu,melt:1", "'melt:1' is no refinement"),
        ("magnitude,threshold:otsu,largest:2", "largest takes 0"),
        ("magnitude,bet:1.5", "'1.5' is not a number"),
        ("magnitude,bet:0.5:1", "bet takes one number"),
        ("magnitude,hd-bet:1", "takes no number"),
        ("phase-quality,bet", "sees the magnitude"),
        ("magnitude,,bet", "a word is missing"),
        ("magnitude,bet &", "a mask is missing"),
        ("", "a mask is missing"),
        ("magnitude,threshold:fixed:1", "empty"),
    ],
)
def test_a_wrong_word_is_named(recipe, word):
    grid, image, quality, _ = known()
    with pytest.raises(ValueError, match=word):
        combined(grid, image, quality, recipe=recipe)


def test_a_missing_input_is_named():
    grid, image, quality, _ = known()
    with pytest.raises(ValueError, match="no phase"):
        combined(grid, image)
    for recipe in ("magnitude-first,bet", "phase-quality,threshold:otsu,signal-erode"):
        with pytest.raises(ValueError, match="no magnitude"):
            combined(grid, None, quality, recipe=recipe)


def test_hd_bet_says_how_to_get_its_model(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path))
    grid, image, _, _ = known()
    with pytest.raises(ValueError, match="neuraxis fetch hd_bet --from FILE"):
        hd_bet(image, grid)
    for knobs in ({"tiles": 0.0}, {"erosion": 30}, {"dilation": -1}):
        with pytest.raises(ValueError, match=str(next(iter(knobs.values())))):
            hd_bet(image, grid, **knobs)


def test_hd_bet_runs_a_model_that_was_fetched_from_a_file(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("NEURAXIS_RESOURCES", str(tmp_path / "here"))
    model = toy_net(tmp_path / "release" / "weights", thresholds=(50.0,), labels={"background": 0, "brain": 1})
    archive = shutil.make_archive(str(tmp_path / "release"), "zip", tmp_path / "release")
    assert model.is_dir()
    from pathlib import Path

    resources.fetch("hd_bet", say=lambda text: None, archives=[Path(archive)])
    grid = Grid.of((40, 44, 36), np.diag([2.5, 2.0, 2.5, 1.0]))
    image = torch.zeros(*grid.shape, 2)
    image[8:30, 8:36, 8:28, 0] = 100.0
    found = hd_bet(image, grid)
    assert dice(found, image[..., 0] > 50) > 0.97
    with pytest.raises(ValueError, match="whole head"):
        hd_bet(image * 0.1, grid)
