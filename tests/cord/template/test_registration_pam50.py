"""A cord of known bend, turn and size is laid onto the template, in every orientation, and the truth is found again."""

from __future__ import annotations

import numpy as np
import pytest
import toy_pam50

from neuraxis.cord.centerline.bspline import bspline
from neuraxis.cord.template.registration import to_pam50
from neuraxis.cord.template.warps import brought
from neuraxis.cord.warps import NOWHERE_MM
from neuraxis.numerics.metrics import dice
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

LOW, HIGH = 400.0, 440.0
"""Heights of the template that the phantom shows; mm."""
SCALE = 1.12
"""Height of the template per mm of the phantom's own height."""
TURN = np.radians(9.0)
WIDER = 1.1
"""The phantom's cord is so much wider than the template's, and as deep."""


@pytest.fixture(scope="module")
def template():
    return toy_pam50.volumes()


def to_template(points, bend=6.0):
    """Left, front and height in the template of places of the phantom; RAS+ mm."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    left, front = -(x - bend * np.sin(z / 40.0)), y - 0.05 * z
    left, front = np.cos(TURN) * left + np.sin(TURN) * front, np.cos(TURN) * front - np.sin(TURN) * left
    return left / WIDER, front, 420.0 + SCALE * z


def places(grid):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    return index @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]


def phantom(codes="LAS", size=(0.8, 0.8, 0.8), tilt=0.0, bend=6.0):
    """Cord and grey matter of the phantom on a grid."""
    half = np.array([16.0, 16.0, (HIGH - LOW) / 2 / SCALE])
    shape = np.round(2 * half / np.array(size)).astype(int) + 1
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(np.array([-1, 1, 1]) * size)
    matrix[:3, 3] = -matrix[:3, :3] @ ((shape - 1) / 2)
    grid = Grid.of(shape, matrix)
    # a voxel's share is the mean over its inside
    steps = [(np.arange(3) - 1) / 3] * 3
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3) @ matrix[:3, :3].T
    cord, gray = (np.mean(one, axis=0) for one in zip(*(toy_pam50.shares(*to_template(places(grid) + o, bend)) for o in offsets), strict=True))
    return tuple(Volume(one.astype(np.float32), grid).oriented(codes) for one in (cord, gray))


def landmarks(heights=(405.0, 420.0, 435.0), bend=6.0):
    z = (np.array(heights) - 420.0) / SCALE
    return Table.of({"value": np.arange(len(z)), "x": bend * np.sin(z / 40.0), "y": 0.05 * z, "z": z, "height": np.array(heights)})


def truth_apart(cord, warp, bend=6.0):
    """Distance of where the warp leads from where the phantom was taken from, in the cord; mm."""
    mask = (cord.data > 0.5) & (np.abs(warp.data[..., 0]) < NOWHERE_MM / 2)
    here = places(cord.grid)[mask]
    left, front, height = to_template(here, bend)
    true = np.stack([-left, -28.5 + front, -561.84 + height], axis=-1)
    return np.linalg.norm(here + warp.data[mask] - true, axis=-1), mask


@pytest.mark.parametrize(
    ("codes", "size", "tilt", "sections"),
    [
        ("LAS", (0.8, 0.8, 0.8), 0.0, "across"),
        ("PSR", (0.8, 0.8, 0.8), 0.0, "across"),
        ("RPI", (0.7, 0.9, 1.2), 12.0, "across"),
        ("LAS", (0.5, 0.5, 5.0), 0.0, "slices"),
        ("AIR", (0.6, 0.6, 4.0), 8.0, "slices"),
    ],
)
@pytest.mark.parametrize("shape", ["columns", "radial"])
def test_the_phantom_comes_to_the_template_and_back(template, codes, size, tilt, sections, shape):
    cord, gray = phantom(codes, size, tilt)
    there, back, table = to_pam50(cord, bspline(cord), landmarks(), template["pam50_cord"], steps=f"centre rotation {shape}")
    assert table["sections"][0] == sections and table["trusted"][0] == 1 and table["landmarks"][0] == 3
    assert table["dice_image"][0] > 0.94 and table["dice_template"][0] > 0.93
    assert table["inverse_mean"][0] < 0.05 and table["inverse_most"][0] < 0.4
    apart, mask = truth_apart(cord, there)
    assert np.mean(apart) < 0.5, apart.mean()
    laid = brought(template["pam50_gray"], there)
    assert dice((laid > 0.5) & mask, (gray.data > 0.5) & mask) > 0.8
    assert np.array_equal(there.grid.matrix, cord.grid.matrix)
    # what is brought to the template lies on the template's cord
    inside = brought(cord, back)
    assert inside.max() > 0.9 and back.grid.shape[2] < 120


def test_the_result_does_not_depend_on_the_order_of_the_axes(template):
    cord, _ = phantom("LAS")
    turned = cord.oriented("PSR")
    one, two = (to_pam50(c, bspline(c), landmarks(), template["pam50_cord"])[0] for c in (cord, turned))
    assert np.allclose(one.data, Volume(two.data, two.grid).oriented("LAS").data, atol=2e-3)


def test_a_turn_is_found_from_the_outline(template):
    cord, gray = phantom()
    given = (cord, bspline(cord), landmarks(), template["pam50_cord"])
    overlaps = [
        dice(brought(template["pam50_gray"], to_pam50(*given, steps=steps)[0]) > 0.5, gray.data > 0.5)
        for steps in ("centre radial", "centre rotation radial")
    ]
    assert overlaps[1] > overlaps[0] + 0.03


def test_one_landmark_moves_and_two_stretch(template):
    cord, _ = phantom()
    centerline = bspline(cord)
    errors = []
    for heights in ((420.0,), (405.0, 435.0)):
        there = to_pam50(cord, centerline, landmarks(heights), template["pam50_cord"])[0]
        mask = truth_apart(cord, there)[1]
        here, way = places(cord.grid)[mask], there.data[mask]
        left, front, height = to_template(here)
        middle = np.hypot(left, front) < 1  # the sections are square to the cord, the phantom's are level: the middle is common to both
        errors.append(np.abs((here + way)[middle, 2] + 561.84 - height[middle]).mean())
    assert errors[1] < 0.3 < errors[0]  # without the stretch the ends are off


def test_gray_matter_brings_the_inside_together(template):
    """Horns that lie elsewhere than the outline alone would lay them."""
    cord, gray = phantom()
    shifted = Volume(np.roll(gray.data, 1, axis=1), gray.grid)
    given = (cord, bspline(cord), landmarks(), template["pam50_cord"], None, shifted, template["pam50_gray"], template["pam50_white"])
    plain, better = (
        dice(brought(template["pam50_gray"], to_pam50(*given, steps=steps)[0]) > 0.5, shifted.data > 0.5)
        for steps in ("centre rotation columns", "centre rotation columns gray")
    )
    assert better > plain + 0.05


@pytest.mark.parametrize("bright", [1.0, -1.0])
def test_the_image_s_own_contrast_brings_the_inside_together(template, bright):
    cord, gray = phantom()
    moved = np.roll(gray.data, 1, axis=1) * cord.data
    image = Volume((100 + bright * 40 * moved + np.random.default_rng(1).normal(0, 4, moved.shape)).astype(np.float32), cord.grid)
    given = (cord, bspline(cord), landmarks(), template["pam50_cord"], image, None, template["pam50_gray"], template["pam50_white"])
    plain, better = (
        dice(brought(template["pam50_gray"], to_pam50(*given, steps=steps)[0]) > 0.5, moved > 0.5)
        for steps in ("centre rotation columns", "centre rotation columns tissue")
    )
    assert better > plain + 0.03


def test_image_rotation_sees_a_turn_that_a_round_outline_hides(template):
    cord, gray = phantom()
    image = Volume((100 + 60 * gray.data - 50 * (cord.data < 0.5)).astype(np.float32), cord.grid)
    given = (cord, bspline(cord), landmarks(), template["pam50_cord"], image)
    plain, better = (
        dice(brought(template["pam50_gray"], to_pam50(*given, steps=steps)[0]) > 0.5, gray.data > 0.5)
        for steps in ("centre radial", "centre image_rotation radial")
    )
    assert better > plain + 0.005


def test_without_landmarks_nothing_is_registered_and_it_is_said(template):
    cord, _ = phantom()
    with pytest.warns(UserWarning, match="no landmark"):
        assert to_pam50(cord, bspline(cord), landmarks(()), template["pam50_cord"]) == (None, None, None)


def test_the_order_of_the_rows_does_not_matter(template):
    cord, _ = phantom()
    one, two = (to_pam50(cord, bspline(cord), landmarks(h), template["pam50_cord"])[0] for h in ((405.0, 435.0), (435.0, 405.0)))
    assert np.array_equal(one.data, two.data)


def test_landmarks_out_of_order_and_a_cord_beyond_the_template(template):
    cord, _ = phantom()
    crossed = landmarks().columns | {"height": np.array([435.0, 420.0, 405.0])}
    with pytest.warns(UserWarning, match="do not follow each other"):
        assert to_pam50(cord, bspline(cord), Table.of(crossed), template["pam50_cord"])[0] is None
    beyond = landmarks().columns | {"height": np.array([805.0, 820.0, 835.0])}
    with pytest.warns(UserWarning, match="less than two sections"):
        assert to_pam50(cord, bspline(cord), Table.of(beyond), template["pam50_cord"])[0] is None


@pytest.mark.parametrize(("size", "gap"), [((0.8, 0.8, 0.8), 3), ((0.8, 0.8, 0.8), 6), ((0.5, 0.5, 5.0), 1)])
def test_slices_without_a_cord_take_the_map_of_their_neighbours(template, size, gap):
    cord, _ = phantom(size=size)
    line = bspline(cord)
    whole = to_pam50(cord, line, landmarks(), template["pam50_cord"])[0]
    data = cord.data.copy()
    middle = data.shape[2] // 2
    data[:, :, middle : middle + gap] = 0
    with pytest.warns(UserWarning, match="lack a part of the cord"):
        there, back, table = to_pam50(Volume(data, cord.grid), line, landmarks(), template["pam50_cord"], least_dice=0.7)
    assert np.isfinite(there.data).all() and np.isfinite(back.data).all()
    inside = (cord.data > 0.5) & (np.abs(there.data[..., 0]) < NOWHERE_MM / 2) & (np.abs(whole.data[..., 0]) < NOWHERE_MM / 2)
    apart = np.linalg.norm((there.data - whole.data)[inside], axis=-1)
    assert np.percentile(apart, 95) < 0.5 and truth_apart(cord, there)[0].mean() < 0.6
    assert table["inverse_mean"][0] < 0.05


def test_where_the_cord_leaves_the_view_the_map_goes_on_from_the_slices_that_show_it_whole(template):
    """The phantom leans to the front: a view that ends there cuts its upper part off."""
    cord, _ = phantom()
    whole = to_pam50(cord, bspline(cord), landmarks(), template["pam50_cord"])[0]
    heights = to_template(places(cord.grid))[2]
    rows = int(np.argwhere((cord.data > 0.5) & (heights < 415))[:, 1].max()) + 2
    part = Volume(np.ascontiguousarray(cord.data[:, :rows]), Grid.of((cord.data.shape[0], rows, cord.data.shape[2]), cord.grid.matrix))
    with pytest.warns(UserWarning, match="edge of the view"):
        there = to_pam50(part, bspline(cord), landmarks(), template["pam50_cord"])[0]
    inside = cord.data[:, :rows] > 0.5
    apart = np.linalg.norm((there.data - whole.data[:, :rows])[inside & (np.abs(there.data[..., 0]) < NOWHERE_MM / 2)], axis=-1)
    assert np.percentile(apart, 95) < 0.6


def test_an_empty_cord_is_not_registered(template):
    cord, _ = phantom()
    with pytest.warns(UserWarning, match="less than two sections"):
        found = to_pam50(Volume(np.zeros_like(cord.data), cord.grid), bspline(cord), landmarks(), template["pam50_cord"])
    assert found == (None, None, None)


def test_a_landmark_that_contradicts_the_others_is_left_out(template):
    cord, _ = phantom()
    good = landmarks((405.0, 415.0, 425.0, 435.0))
    columns = {name: column.copy() for name, column in good.columns.items()}
    columns["z"][1] = columns["z"][3] + 2.0
    with pytest.warns(UserWarning, match="1 landmark"):
        there = to_pam50(cord, bspline(cord), Table.of(columns), template["pam50_cord"])[0]
    right = to_pam50(cord, bspline(cord), landmarks((405.0, 425.0, 435.0)), template["pam50_cord"])[0]
    assert np.allclose(there.data, right.data, atol=1e-3)


def test_landmarks_in_front_of_a_bent_cord_lie_on_the_section_through_them(template):
    """Labels of discs lie 8 mm in front of the cord's middle."""
    cord, _ = phantom(bend=0.0)
    here = landmarks(bend=0.0)
    front = Table.of(here.columns | {"y": here["y"] + 8.0, "z": here["z"] - 8.0 * 0.05})
    one, two = (to_pam50(cord, bspline(cord), table, template["pam50_cord"])[0] for table in (here, front))
    inside = cord.data > 0.5
    assert np.abs(one.data - two.data)[inside].max() < 0.15


def test_a_wrong_shape_is_told(template):
    """Steps that leave the outline alone lay a cord of other width badly, and the table says so."""
    cord, _ = phantom()
    with pytest.warns(UserWarning, match="overlap by"):
        table = to_pam50(cord, bspline(cord), landmarks(), template["pam50_cord"], steps="centre", least_dice=0.99)[2]
    assert table["trusted"][0] == 0 and "0.99" in table["why"][0]


@pytest.mark.parametrize(
    "knobs",
    [
        {"steps": "centre magic"}, {"sections": "both"}, {"width": 5.0}, {"centre_smoothing": -1.0}, {"least_dice": 2.0},
        {"steps": "gray"}, {"steps": "tissue"}, {"steps": "image_rotation"},
    ],  # fmt: skip
)
def test_wrong_knobs(template, knobs):
    cord, _ = phantom()
    with pytest.raises(ValueError):
        to_pam50(cord, bspline(cord), landmarks(), template["pam50_cord"], **knobs)
