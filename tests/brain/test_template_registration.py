"""A gradient echo on the template: what the session's T1w adds, and a T1w that does not belong there."""

import contextlib
import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from neuraxis.brain import atlas, template_registration
from neuraxis.brain.template_registration import gre_to_template
from neuraxis.numerics.deformation import displacement_at, places_of, sampled
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

EDGE = 4.0


def head(codes: str = "RAS") -> tuple[Volume, Volume, Volume, np.ndarray]:
    """The template bent by up to 8 mm: T1w, magnitude without any structure, mask; and the true displacement."""
    reference = atlas.template()
    shape = tuple(int(n / EDGE) for n in reference.grid.shape)
    matrix = reference.grid.matrix.copy()
    matrix[:3, :3] *= EDGE
    grid = Volume(np.zeros(shape, np.float32), Grid.of(shape, matrix)).oriented(codes).grid
    places = places_of(grid)
    true = np.stack([8 * np.sin(places[..., 1] / 25), 6 * np.cos(places[..., 2] / 22), 5 * np.sin(places[..., 0] / 28)], -1)
    t1w = sampled(reference, places + true)
    mask = gaussian_filter((t1w > 0).astype(np.float32), 0.7) > 0.5
    flat = 80 * mask + np.random.default_rng(1).normal(0, 1, grid.shape)
    return Volume((t1w * mask).astype(np.float32), grid), Volume((flat * mask).astype(np.float32), grid), Volume(mask, grid), true


def off(warp: Volume, mask: Volume, true: np.ndarray) -> float:
    places = places_of(mask.grid)
    inside = np.asarray(mask.data, bool)
    return float(np.median(np.linalg.norm(displacement_at(warp, places[inside]) - true[inside], axis=-1)))


SURE, DOUBTED = (Table.of({"trusted": [int(sure)] * 4}) for sure in (True, False))


@pytest.mark.slow
@pytest.mark.parametrize("codes", ["RAS", "PIL"])
def test_the_t1w_shows_what_the_gradient_echo_does_not(codes):
    t1w, magnitude, mask, true = head(codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the outline is bent too
        alone, joined = (gre_to_template(magnitude, mask, None, one, SURE, iterations=(40, 20))[0] for one in (None, t1w))
    assert off(joined, mask, true) < 1.2 < 0.6 * off(alone, mask, true)


@pytest.mark.parametrize("position, joins", [(SURE, True), (None, True), (DOUBTED, False)], ids=["sure", "not told", "doubtful"])
def test_a_t1w_in_a_doubtful_place_is_left_out(monkeypatch, position, joins):
    grid = Grid.of((4, 4, 4), np.eye(4))
    magnitude, t1w, mask = (Volume(np.full(grid.shape, value, np.float32), grid) for value in (1, 2, 1))
    asked = []

    def registered(images, mask, *, iterations, smoothing, t1w):
        asked.append((images, t1w))
        raise ValueError("far enough")

    monkeypatch.setattr(template_registration, "onto_template", registered)
    told = contextlib.nullcontext() if joins else pytest.warns(UserWarning, match="does without the T1w")
    with told, pytest.raises(ValueError, match="far enough"):
        gre_to_template(magnitude, mask, None, t1w, position)
    assert asked == [((magnitude,), t1w if joins else None)]
