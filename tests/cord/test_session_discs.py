"""Discs taken from another image of the session, and the path along a given mask."""

from __future__ import annotations

import numpy as np
import pytest

from neuraxis.cord.discs.session import session
from neuraxis.cord.path.along import along
from neuraxis.cord.points import points_of
from neuraxis.volume import Grid, Volume

SAGITTAL = Grid.of((60, 80, 20), [[0, 0, 1, -10], [-1, 0, 0, 30], [0, 1, 0, -40], [0, 0, 0, 1]])  # P, S, R; 1 mm
AXIAL = Grid.of((40, 40, 12), [[-0.5, 0, 0, 10], [0, 0.5, 0, -8], [0, 0, 5, -20], [0, 0, 0, 1]])  # L, A, S; 5 mm slices


def at(grid, places, kind=np.int16):
    data = np.zeros(grid.shape, kind)
    for value, *mm in places:
        data[tuple(np.rint(np.linalg.inv(grid.matrix) @ [*mm, 1])[:3].astype(int))] = value
    return Volume(data, grid)


def column(grid):
    data = np.zeros(grid.shape, np.float32)
    for z in range(-45, 45):
        index = np.rint(np.linalg.inv(grid.matrix) @ [0, 0, z, 1])[:3].astype(int)
        if (index >= 0).all() and (index < grid.shape).all():
            data[tuple(index)] = 1
    return Volume(data, grid)


def test_discs_lie_in_the_slice_where_they_are_in_space():
    found = points_of(at(SAGITTAL, [(3, 0, 5, 28), (4, 0, 6, 11), (5, 0, 6, -6), (6, 0, 5, -36)]))
    image = Volume(np.zeros(AXIAL.shape, np.float32), AXIAL)
    with pytest.warns(UserWarning, match="another image of the session"):
        discs = session(image, column(AXIAL), found)
    assert discs.grid.same_as(AXIAL) and discs.data.dtype == np.int16
    there = points_of(discs)
    assert there["value"].tolist() == [3, 4, 5]  # C5/C6 lies below the stack
    below = [28, 11, -6] - there["z"]  # the disc's slice belongs to the vertebra below it
    assert below.min() >= 0 and below.max() < 5 and np.abs(there["y"] - [5, 6, 6]).max() < 0.5


def test_two_discs_in_one_slice_are_told():
    found = points_of(at(SAGITTAL, [(3, 0, 5, 4), (4, 0, 6, 1)]))
    with pytest.warns(UserWarning, match="another image"), pytest.warns(UserWarning, match="C3/C4"):
        discs = session(Volume(np.zeros(AXIAL.shape, np.float32), AXIAL), column(AXIAL), found)
    assert np.unique(discs.data).tolist() == [0, 3]


def test_images_that_do_not_overlap_are_refused():
    far = Grid.of(AXIAL.shape, AXIAL.matrix + np.array([[0, 0, 0, 200]] + [[0] * 4] * 3))
    with pytest.raises(ValueError, match="do not overlap"):
        session(Volume(np.zeros(far.shape, np.float32), far), column(far), points_of(at(SAGITTAL, [(3, 0, 5, 1)])))


@pytest.mark.parametrize("grid", [SAGITTAL, AXIAL])
def test_the_path_along_a_mask_is_its_centre_and_bridges_gaps(grid):
    mask = column(grid)
    upright = mask.oriented()
    data = upright.data.copy()
    gap = upright.grid.shape[2] // 2
    data[:, :, gap] = 0
    path = along(Volume(data, upright.grid).onto(grid))
    x, y, _ = np.linalg.inv(upright.grid.matrix)[:3] @ [0, 0, 0, 1]
    assert gap in path["slice"] and (np.diff(path["slice"]) == 1).all() and (path["score"] == 1).all()
    assert np.abs(path["x"] - x).max() <= 0.5 and np.abs(path["y"] - y).max() <= 0.5
    with pytest.raises(ValueError, match="empty"):
        along(Volume(np.zeros(grid.shape, np.float32), grid))
