"""Distance from a path through the slices, in mm and in the plane."""

import numpy as np
import pytest

from neuraxis.numerics.path_distance import path_distance
from neuraxis.table import Table

PATH = Table.of({"slice": [3, 1], "x": [10.0, 20.0], "y": [5.0, 7.0]})


def test_the_distance_is_in_mm_and_the_path_straight_between_its_rows():
    made = path_distance(PATH, (30, 12, 6), (0.5, 2.0, 5.0))
    at = [(20, 7), (20, 7), (15, 6), (10, 5), (10, 5), (10, 5)]  # the ends go on
    x, y = np.indices((30, 12))
    for z, (px, py) in enumerate(at):
        assert np.allclose(made[..., z], np.sqrt((0.5 * (x - px)) ** 2 + (2 * (y - py)) ** 2))


def test_an_empty_path_is_refused():
    with pytest.raises(ValueError, match="centerline is empty"):
        path_distance(PATH.where(np.zeros(2, bool)), (3, 3, 3), (1, 1, 1))
