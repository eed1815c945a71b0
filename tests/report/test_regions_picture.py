"""The picture of the regions: whose names and numbers it shows."""

import numpy as np

from neuraxis.brain.regions import structures
from neuraxis.report.regions import regions_picture
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

GRID = Grid.of((40, 40, 40), np.diag([2.0, 2, 2, 1]))


def test_left_and_right_of_a_given_table_are_one_structure():
    names = Table.of({"index": [5, 9, 30], "name": ["Left-Spot", "Right-Spot", "brain stem"]})
    assert [(one.name, one.left, one.right) for one in structures(names)] == [("Spot", 5, 9), ("brain stem", 30, 30)]


def test_labels_that_are_not_ours_are_drawn_under_their_own_names():
    labels = np.zeros(GRID.shape, np.int16)
    labels[10:16, 10:20, 15:25] = 7001
    image, drawn = Volume(np.random.default_rng(0).random(GRID.shape).astype(np.float32), GRID), Volume(labels, GRID)
    names = Table.of({"index": [7001], "name": ["left spot"]})
    picture, over = regions_picture(image, drawn, names)
    bare, nothing = regions_picture(image, drawn)
    assert picture != bare and over is not None and over != nothing
