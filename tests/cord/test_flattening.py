"""Flattening: after it, the cord lies in the middle column of every slice."""

import numpy as np
import pytest
from cord.test_straightening import CASES, grid_of, tube

from neuraxis.cord.flattening import flatten_sagittal
from neuraxis.table import Table
from neuraxis.volume import Volume


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_cord_lies_in_the_middle(case):
    image, table = tube(grid_of(**case))
    flat = flatten_sagittal(image, table)
    assert flat.grid == image.grid
    data = flat.oriented("LAS").data.astype(float)
    columns = data.sum(axis=1)[:, table["slice"]]
    centre = (columns * np.arange(len(columns))[:, None]).sum(axis=0) / columns.sum(axis=0)
    assert np.abs(centre - data.shape[0] // 2).max() < 0.35
    before = image.oriented("LAS").data.sum(axis=(0, 1))[table["slice"]]
    assert np.allclose(data.sum(axis=(0, 1))[table["slice"]], before, rtol=1e-4)


def test_whole_voxels_are_moved_exactly_and_the_border_is_empty():
    grid = grid_of(lengths=(8, 6, 5))
    image = Volume(np.random.default_rng(0).random(grid.shape).astype(np.float32), grid)
    flat = flatten_sagittal(image, Table.of({"slice": [1, 2, 3], "x": [6.0, 6.0, 6.0]}))
    assert np.allclose(flat.data[:6], image.data[2:]) and (flat.data[6:] == 0).all()


def test_slices_past_the_cord_move_as_its_ends():
    grid = grid_of(lengths=(9, 4, 6))
    image = Volume(np.zeros(grid.shape, np.float32), grid)
    image.data[2] = 1
    flat = flatten_sagittal(image, Table.of({"slice": [2], "x": [2.0]}))
    assert (flat.data[4] == 1).all() and flat.data.sum() == 24


def test_an_empty_centerline_is_refused():
    grid = grid_of(lengths=(4, 4, 4))
    image = Volume(np.zeros(grid.shape, np.float32), grid)
    with pytest.raises(ValueError, match="empty"):
        flatten_sagittal(image, Table.of({"slice": np.zeros(0, int), "x": np.zeros(0)}))
    with pytest.raises(ValueError, match="finite"):
        flatten_sagittal(image, Table.of({"slice": [0], "x": [np.nan]}))
