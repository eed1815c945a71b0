import numpy as np
import pytest

from neuraxis.cord.level_labels import level_points, project_on_centerline
from neuraxis.cord.new_points import create, from_seg
from neuraxis.cord.points import (
    add,
    cubic_to_point,
    dilate,
    increment,
    keep,
    mean_distance,
    points_of,
    remove,
    remove_absent,
    remove_symmetric,
)
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

UPRIGHT = Grid.of((20, 24, 30), np.array([[-0.8, 0, 0, 8], [0, 0.9, 0, -10], [0, 0, 2.0, 30], [0, 0, 0, 1.0]]))


def _blank(grid=UPRIGHT):
    return Volume(np.zeros(grid.shape, np.float32), grid)


def _points(text="5,6,25,3:7,8,15,4:9,10,5,5", codes="LAS"):
    return create(_blank().oriented(codes), labels=text)


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RPI"])
def test_created_labels_are_listed_where_they_were_put(codes):
    points = _points(codes=codes)
    assert points.data.dtype == np.int16 and points.grid.same_as(_blank().oriented(codes).grid)
    table = points_of(points)
    assert table["value"].tolist() == [3, 4, 5] and table["upright_z"].tolist() == [25, 15, 5]
    assert table["x"].tolist() == pytest.approx([4.0, 2.4, 0.8])
    assert table["y"].tolist() == pytest.approx([-4.6, -2.8, -1.0])
    assert table["z"].tolist() == pytest.approx([80, 60, 40])


def test_labels_are_added_to_others():
    more = create(_blank(), _points(), labels="1,2,3,60")
    assert points_of(more)["value"].tolist() == [3, 4, 5, 60]
    with pytest.raises(ValueError, match="another grid"):
        create(_blank(Grid.of((9, 9, 9), np.eye(4))), _points(), labels="1,2,3,60")


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,4;5"])
def test_text_that_is_no_label_is_refused(text):
    with pytest.raises(ValueError, match="groups of 4 whole numbers"):
        create(_blank(), labels=text)


def test_a_label_outside_the_image_is_refused():
    with pytest.raises(ValueError, match="outside"):
        create(_blank(), labels="5,5,30,3")


def test_labels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="whole"):
        points_of(Volume(np.full(UPRIGHT.shape, 0.5), UPRIGHT))


def test_labels_from_the_cord():
    cord = _blank()
    cord.data[8:11, 9:12, 4:25] = 1
    cord.data[8, 9:12, 4:25] = 0.5  # soft: the centre moves away from the half voxels
    points = from_seg(cord, labels="10,3:mid,4")
    assert points_of(points)["upright_z"].tolist() == [10, 14]
    assert points_of(points)["upright_y"].tolist() == [10, 10]
    with pytest.raises(ValueError, match="no cord in slice 28"):
        from_seg(cord, labels="28,3")
    with pytest.raises(ValueError, match="empty"):
        from_seg(_blank(), labels="10,3")


def test_blobs_become_points_and_points_become_balls():
    points = _points()
    balls = dilate(points, radius=3.5)
    assert np.array_equal(cubic_to_point(balls).data, points.data)
    inside = np.argwhere(balls.data == 4) * UPRIGHT.voxel_size - np.array([7, 8, 15]) * UPRIGHT.voxel_size
    assert np.linalg.norm(inside, axis=1).max() <= 3.5
    assert (balls.data == 4).sum() * UPRIGHT.voxel_volume == pytest.approx(4 / 3 * np.pi * 3.5**3, rel=0.2)
    assert not dilate(_blank()).data.any()
    with pytest.raises(ValueError, match="radius"):
        dilate(points, radius=0)


def test_two_balls_share_the_space_between():
    near = create(_blank(), labels="5,6,14,1:5,6,16,2")
    balls = dilate(near, radius=9)
    assert (balls.data[5, 6, :15] < 2).all() and (balls.data[5, 6, 16:19] == 2).all()


def test_values_are_kept_removed_raised_and_counted():
    points = _points()
    assert points_of(keep(points, values="3,5:9"))["value"].tolist() == [3, 5]
    assert points_of(remove(points, values="3,5:9"))["value"].tolist() == [4]
    assert points_of(add(points, number=-2))["value"].tolist() == [1, 2, 3]
    assert points_of(increment(add(points, number=7)))["upright_z"].tolist() == [25, 15, 5]
    assert points_of(increment(add(points, number=7)))["value"].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="values must be"):
        keep(points, values="three")


def test_only_shared_labels():
    first, second = _points(), create(_blank(), labels="5,6,24,3:1,1,1,8")
    one, two = remove_symmetric(first, second)
    assert points_of(one)["value"].tolist() == points_of(two)["value"].tolist() == [3]
    assert points_of(remove_absent(second, first))["value"].tolist() == [3]


def test_distance_in_mm_on_any_grids():
    moved = create(_blank().oriented("PSR"), labels="5,6,24,3:7,8,15,4")
    assert mean_distance(_points(), moved) == pytest.approx(np.sqrt(2.0**2 / 2))
    with pytest.raises(ValueError, match="in common"):
        mean_distance(_points(), create(_blank(), labels="1,1,1,60"))
    with pytest.raises(ValueError, match="twice"):
        mean_distance(_points(), create(_blank(), labels="1,1,1,3:2,2,2,3"))


def test_labels_go_to_the_nearest_point_of_the_centerline():
    line = Table.of({"slice": np.arange(4, 20), "x": np.full(16, 10.0), "y": 8 + 0.5 * np.arange(16)})
    points = create(_blank().oriented("PSR"), labels="10,20,10,4:10,9,28,3")
    table = points_of(project_on_centerline(points, line))
    # square to a line that rises 2 mm per 0.45 mm to the front
    assert table["value"].tolist() == [3, 4] and table["upright_x"].tolist() == [10, 10]
    assert table["upright_z"].tolist()[1] == 11 and table["upright_y"].tolist()[1] == 11
    assert table["upright_z"].tolist()[0] > 25  # beyond the line's end, straight on


def test_bodies_are_labelled_at_the_cords_centre():
    levels = Volume(np.zeros(UPRIGHT.shape, np.int16), UPRIGHT)
    levels.data[8:12, 9:13, 5:14], levels.data[8:12, 9:13, 14:20] = 4, 3
    line = Table.of({"slice": np.arange(5, 20), "x": np.full(15, 9.6), "y": np.full(15, 11.2)})
    table = points_of(level_points(levels, line))
    assert table["value"].tolist() == [3, 4] and table["upright_z"].tolist() == [16, 9]
    assert table["upright_x"].tolist() == [10, 10] and table["upright_y"].tolist() == [11, 11]
