"""Pictures of the cord: outlines where the mask is, one picture for one anatomy whatever the affine, and honest ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image

from neuraxis.report import cord_slices
from neuraxis.report.cord import draw_cord
from neuraxis.report.cord_lesion import lesion_view
from neuraxis.report.cord_sagittal import distrust, sagittal
from neuraxis.report.cord_slices import MAX_BYTES, mosaic
from neuraxis.report.curves import curves, normative_curve, position
from neuraxis.report.plots import spans
from neuraxis.report.sheet import COLOURS, png
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

EVIL = "<b>$\\frac{x$ & \"'</b>"


def _pixels(data: bytes, mode: str = "RGBA") -> np.ndarray:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"tEXt" not in data and b"tIME" not in data
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode)).astype(int)


def _where(data: bytes, name: str) -> np.ndarray:
    """(row, column) of the pixels in the colour of an outline."""
    pixels = _pixels(data)
    colour = [int(COLOURS[name][at : at + 2], 16) for at in (1, 3, 5)]
    return np.argwhere((np.abs(pixels[..., :3] - colour).max(-1) < 40) & (pixels[..., 3] > 160))


def _cord(shape=(48, 52, 30), size=(1.0, 1.0, 1.0), radius=5.0, soft=False) -> tuple[Volume, Volume]:
    """A tube leaning to the left and to the front, on a dim background, in the upright frame."""
    x, y, z = np.indices(shape)
    middle = z - (shape[2] - 1) / 2
    away = np.hypot((x - shape[0] / 2 - 0.1 * middle) * size[0], (y - shape[1] / 2 - 0.2 * middle) * size[1])
    mask = np.clip(radius - away + 0.5, 0, 1) if soft else (away < radius).astype(float)
    image = 100 * mask + 20 + 10 * np.sin(x) * np.cos(y)
    grid = Grid.of(shape, np.diag([-size[0], size[1], size[2], 1]))
    return Volume(image.astype(np.float32), grid), Volume(mask.astype(np.float32), grid)


def _labels(like: Volume, values: dict[int, tuple[int, int, int]]) -> Volume:
    data = np.zeros(like.data.shape, np.int16)
    for value, place in values.items():
        data[place] = value
    return Volume(data, like.grid)


def _levels(cord: Volume) -> Volume:
    level = np.where(np.arange(cord.data.shape[2]) < 15, 4, 3)
    return Volume(((cord.data > 0.5) * level).astype(np.int16), cord.grid)


def _shape(rows=40, **more) -> Table:
    z = np.arange(rows)
    return Table.of(
        {"slice": z, "level": np.where(z < 20, 4.0, 3.0), "area": 70 + np.sin(z), "diameter_AP": 7 + 0.1 * np.cos(z),
         "angle_AP": z - 20.0, "length": np.full(rows, 1.1), "trusted": (z > 2).astype(int), **more}
    )  # fmt: skip


def test_the_outline_lies_on_the_edge_of_the_cord_between_the_voxels():
    image, cord = _cord(shape=(48, 52, 1), soft=True, radius=5.3)
    plain, over = mosaic(image, cord, {"cord": cord})
    assert _pixels(plain).shape == _pixels(over).shape
    found = _where(over, "cord")
    found = found[found[:, 0] < 0.9 * _pixels(over).shape[0]]  # without the legend
    bright = np.argwhere(_pixels(plain, "L") > 150)
    middle = found.mean(0)
    assert np.abs(middle - np.median(bright, axis=0)).max() < 12
    reach = np.hypot(*(found - middle).T) / (300 / 30)  # 300 pixels show 30 mm
    assert reach.mean() == pytest.approx(5.3, abs=0.1)
    assert np.ptp(reach) < 0.8


def test_left_is_left_and_front_is_up():
    image, cord = _cord(shape=(48, 52, 1))
    marked = image.data.copy()
    marked[34, 26, 0] = 400  # 10 mm to the left in this frame
    marked[24, 36, 0] = 400  # 10 mm to the front
    plain, _ = mosaic(Volume(marked, image.grid), cord, {})
    before, _ = mosaic(image, cord, {})
    pixels = _pixels(plain, "L")
    rows, columns = np.nonzero(pixels == pixels[: int(0.8 * len(pixels))].max())
    spot = np.median(np.argwhere(_pixels(before, "L") > 200), axis=0)
    assert columns.min() < spot[1] - 60 and rows.min() < spot[0] - 60


@pytest.mark.parametrize("codes", ["PSR", "LPS", "RAS"])
def test_one_anatomy_is_one_picture_in_any_orientation(codes):
    image, cord = _cord()
    discs = _labels(cord, {3: (24, 33, 20), 4: (24, 32, 10)})
    levels = _levels(cord)
    pictures = []
    for one in (lambda v: v, lambda v: v.oriented(codes)):
        pictures.append(
            [*mosaic(one(image), one(cord), {"cord": one(cord)}, levels=one(levels)),
             *sagittal(one(image), one(cord), one(discs), one(levels))]
        )  # fmt: skip
    assert pictures[0] == pictures[1]


def test_an_oblique_image_is_drawn_along_its_voxels_and_says_so():
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    image, cord = _cord()
    straight = _pixels(mosaic(image, cord, {})[0], "L")
    grid = Grid.of(image.data.shape, turn @ image.grid.matrix)
    tilted = _pixels(mosaic(Volume(image.data, grid), Volume(cord.data, grid), {})[0], "L")
    high = int(0.8 * len(straight))
    np.testing.assert_array_equal(straight[:high], tilted[:high])
    assert (straight != tilted[: len(straight)]).any()


def test_the_outline_from_the_side_follows_a_leaning_cord_in_true_millimetres():
    image, cord = _cord(size=(1.0, 1.0, 4.0), soft=True)
    plain, over = sagittal(image, cord, warn=False)
    rows, columns = _where(over, "cord").T
    pixels = _pixels(plain, "L")
    assert pixels.shape == _pixels(over).shape[:2]
    scale = 8.0  # pixels per mm at most
    middle = rows == np.median(rows).astype(int)
    assert np.ptp(columns[middle]) / scale == pytest.approx(10, abs=0.6)
    low, high = columns[rows > np.quantile(rows, 0.9)].mean(), columns[rows < np.quantile(rows, 0.1)].mean()
    assert high < low  # it leans to the front on its way up, and the front is left


def test_no_cord_no_levels_and_one_slice_make_a_picture():
    image, cord = _cord(shape=(40, 44, 8))
    empty = Volume(np.zeros_like(cord.data), cord.grid)
    for one in (None, empty):
        for plain, over in (mosaic(image, one, {} if one is None else {"cord": one}), sagittal(image, one)):
            assert _pixels(plain).shape[1] >= 400
            assert over is None or _pixels(over).shape == _pixels(plain).shape
    image, cord = _cord(shape=(40, 44, 1))
    assert mosaic(image, cord, {"cord": cord})[1] and sagittal(image, cord)[1]
    nothing = Volume(np.full(image.data.shape, np.nan, np.float32), image.grid)
    assert mosaic(nothing, cord, {"cord": cord})[0] and sagittal(nothing, None)[0]


def test_a_path_leads_the_patches_where_there_is_no_mask():
    image, _ = _cord()
    path = Table.of(
        {"slice": [5, 10, 12], "x": [24.0, 24.5, 25.0], "y": [20.0, 21.0, np.nan], "score": [1.0, 1.0, 0.0]}
    )
    way = cord_slices.course(image.data.shape, None, path)
    assert (way.first, way.last, way.found) == (5, 10, True)
    assert way.x[7] == pytest.approx(24.2) and way.y[0] == 20 and way.y[29] == 21


def test_many_slices_stay_a_small_file():
    rng = np.random.default_rng(0)
    _, cord = _cord(shape=(60, 60, 120))
    image = Volume(rng.normal(100, 30, cord.data.shape).astype(np.float32), cord.grid)
    plain, over = mosaic(image, cord, {"cord": cord})
    assert len(plain) + len(over) <= MAX_BYTES
    assert _pixels(plain).shape[1] > 900


def test_a_doubted_labelling_is_written_over_the_picture():
    image, cord = _cord()
    levels, discs = _levels(cord), _labels(cord, {3: (24, 33, 20), 60: (24, 30, 2)})
    table = Table.of({"level": [3, 4], "name": ["C3", "C4"], "trusted": [0, 0], "why": [EVIL, EVIL]})
    assert distrust(table, True, True) == f"Levels not trusted: {EVIL}."
    fine = Table.of({"level": [3, 4], "name": ["C3", "C4"], "trusted": [1, 1], "why": ["", ""]})
    assert distrust(fine, True, True) == ""
    part = Table.of({"level": [3, 4], "name": ["C3", "C4"], "trusted": [1, 0], "why": ["", "short"]})
    assert distrust(part, True, True) == "Levels not trusted (C4): short."
    assert "no disc" in distrust(None, False, False)
    bad, good = (_pixels(sagittal(image, cord, discs, levels, one)[0], "L") for one in (table, fine))
    assert len(bad) > len(good) and (bad[2] == 235).all() and not (good[2] == 235).all()


def test_discs_stand_where_their_labels_are():
    image, cord = _cord()
    place = (24, 40, 20)
    plain, over = sagittal(image, cord, _labels(cord, {3: place}), warn=False)
    without = sagittal(image, cord, warn=False)[1]
    changed = np.argwhere((_pixels(over) != _pixels(without)).any(-1))
    scale = 8.0  # pixels per mm at most
    pixels = _pixels(plain, "L")
    dot = changed[changed[:, 1] > changed[:, 1].max() - 12].mean(0)
    assert dot[0] == pytest.approx(4 + (29 - 20 + 0.5) * scale, abs=3)
    assert changed[:, 1].max() < pixels.shape[1] * 0.6  # in front of the cord, with its name in the left margin


def test_curves_run_from_the_head_downwards():
    at, text = position(_shape())
    assert at[-1] == 0 and at[0] == pytest.approx(39 * 1.1) and text.startswith("mm from")
    at, text = position(_shape(distance_pmj=np.linspace(90, 50, 40)))
    assert at[0] == 90 and "pontomedullary" in text
    at, text = position(_shape(distance_pmj=np.where(np.arange(40) < 35, (37 - np.arange(40)) * 1.1, np.nan)))
    assert at[37] == pytest.approx(0) and at[39] == pytest.approx(-2.2) and "pontomedullary" in text
    at, text = position(Table.of({"slice": [3, 5], "area": [1.0, 2.0]}))
    assert list(at) == [-3, -5] and text == "slice"
    assert spans(np.array([3.0, 3.0, np.nan, 4.0]), np.arange(4.0)) == [(3, -0.5, 1.5), (4, 2.5, 3.5)]


@pytest.mark.parametrize(
    "table",
    [
        _shape(),
        _shape(level=np.full(40, np.nan)),
        _shape(trusted=np.zeros(40, int)),
        _shape(area=np.full(40, np.nan)),
        _shape(1),
        Table.of({"slice": [2], "area": [60.0]}),
        Table.of({"slice": np.zeros(0, int), "area": np.zeros(0)}),
        Table.of({"slice": [1, 2], "other": ["a", "b"]}),
    ],
)
def test_every_table_of_shape_makes_a_picture(table):
    pixels = _pixels(curves(table, compressed=[10]), "RGB")
    assert pixels.shape[0] >= 60 and pixels.shape[1] >= 400
    assert (pixels[0, 0] == 0).all()


def test_slices_that_are_not_trusted_are_grey():
    amber = [255, 176, 0]

    def share(table):
        pixels = _pixels(curves(table, ("area",)), "RGB")
        return (np.abs(pixels - amber).max(-1) < 40).sum()

    assert share(_shape(trusted=np.zeros(40, int))) == 0 < share(_shape())


def test_the_participant_stands_in_the_healthy_band():
    s = np.arange(800, 900)
    band = Table.of({"slice": s, "level": s * 0, "mean": np.full(100, 70.0), "sd": np.full(100, 5.0), "n": s * 0 + 30})
    alarm = [255, 79, 163]
    for area, beyond in ((72.0, False), (50.0, True)):
        pixels = _pixels(normative_curve(Table.of({"slice": s, "area": np.full(100, area)}), {"area": band}), "RGB")
        assert ((np.abs(pixels - alarm).max(-1) < 40).sum() > 100) == beyond
    assert normative_curve(Table.of({"slice": [], "area": []}), {"area": band})
    assert normative_curve(Table.of({"slice": s, "area": np.full(100, 70.0)}), {})


def test_the_bridges_are_measured_in_the_picture():
    image, cord = _cord(shape=(40, 60, 21), radius=8.0)
    lesion = np.zeros(cord.data.shape, np.int16)
    lesion[18:23, 28:32, 9:12] = 1
    plain, over = lesion_view(image, cord, Volume(lesion, cord.grid))
    assert _where(over, "lesion").size and _where(over, "cord").size
    assert _pixels(plain).shape == _pixels(over).shape
    table = Table.of(
        {"lesion": [1, 0], "midsagittal_slice": [20.0, 20], "dorsal_bridge": [99.5, 99.5], "levels": ["", ""]}
    )
    assert lesion_view(image, cord, Volume(lesion, cord.grid), table)[1] != over  # the numbers of the analysis
    assert lesion_view(image, cord, Volume(lesion * 0, cord.grid))[0]


def test_each_view_is_drawn_from_what_is_there():
    image, cord = _cord()
    tissues = Volume(np.repeat(cord.data[..., None], 3, -1), cord.grid)
    seen = {
        "image": image, "cord": cord, "canal": cord, "gray_matter": cord, "tissues": tissues, "levels": _levels(cord),
        "shape": _shape(), "discs": _labels(cord, {3: (24, 33, 20)}), "lesion_labels": _labels(cord, {1: (24, 26, 15)}),
        "compression": _labels(cord, {1: (24, 26, 9)}), "sex": "F", "age": 30.0,
        "structures": Table.of({"structure": ["canal", "canal", "cord"], "slice": [1, 2, 2], "level": [3.0, 3, 3],
                                "area": [200.0, 201, 70], "ascor": [0.3, 0.4, np.nan]}),
    }  # fmt: skip
    wanted = {
        "mosaic": ("cord", "canal", "gray_matter", "tissues"), "sagittal": ("levels", "discs"),
        "curves": ("shape", "structures"), "lesions": ("lesion_labels",),
    }  # fmt: skip
    for kind, names in wanted.items():
        for name in names:
            pictures = draw_cord(kind, name, seen)
            assert pictures, name
            for ending, picture, caption, over, flicker in pictures:
                assert not flicker and _pixels(picture).shape[0] > 50 and caption.endswith(".") and "/" not in ending
                assert over is None or _pixels(over).shape == _pixels(picture).shape
            assert draw_cord(kind, name, {}) == []
            if kind in ("mosaic", "sagittal"):
                assert draw_cord(kind, name, {name: seen[name]}) == []
    assert "compression" in draw_cord("curves", "shape", seen)[0].caption
    assert "3 of them not trusted" in draw_cord("curves", "shape", seen)[0].caption
    assert "levels C3 to C4, 1 disc" in draw_cord("sagittal", "levels", seen)[0].caption
    with pytest.raises(ValueError, match="no view"):
        draw_cord("map", "cord", seen)


def test_a_map_has_one_scale_for_all_slices_and_its_medians_in_the_caption():
    image, cord = _cord()
    inside = cord.data > 0.5
    values = np.where(inside, 35.0, 0).astype(np.float32)  # the middle of the scale, 0 to 70
    values[..., 20:][inside[..., 20:]] = 70.0
    seen = {"image": image, "cord": cord, "white_matter": cord, "mtr": Volume(values, cord.grid)}
    (picture,) = draw_cord("cordmap", "mtr", seen)
    grey = _pixels(picture.png, "RGB")[..., 0]
    assert picture.over is not None and _where(picture.over, "cord").size
    assert (np.abs(grey.astype(int) - 127) < 3).sum() > 500 and (grey > 250).sum() > 500
    assert "Median (%): 35 in white matter." in picture.caption and "in the cord" not in picture.caption
    assert "in the cord" in draw_cord("cordmap", "mtr", {name: seen[name] for name in ("cord", "mtr")})[0].caption
    assert draw_cord("cordmap", "mtr", {"cord": cord}) == []


def test_a_pair_in_turn_has_two_pictures_of_one_size_and_the_cord_in_both():
    image, cord = _cord()
    moved = Volume(np.roll(image.data, 3, axis=0), image.grid)
    seen = {"image": image, "cord": cord, "mt_off": moved, "mt_off_aligned": image}
    before, after = draw_cord("flicker", "mt_off_aligned", seen)
    assert (before.ending, after.ending) == ("_before", "") and before.flicker and after.flicker
    for one in (before, after):
        assert one.over is not None and _pixels(one.png).shape == _pixels(one.over).shape
        assert (_pixels(one.over)[..., 3] == 255).all() and _where(one.png, "cord").size and _where(one.over, "cord").size
    legend = slice(0, -60)  # below it they say what they show
    assert np.abs(_pixels(before.png)[legend].astype(int) - _pixels(before.over)[legend]).max() > 100
    assert np.array_equal(_pixels(after.png)[legend], _pixels(after.over)[legend])
    assert [one.ending for one in draw_cord("flicker", "mt_off_aligned", {**seen, "mt_off": None})] == [""]


def test_normative_figures_say_with_whom():
    s = np.arange(800, 900)
    table = {"level": [3.0], "metric": ["area"], "z": [0.1], "stratum": ["women, 25-29 years"]}
    seen = {"normative": Table.of(table), "shape_pam50": Table.of({"slice": s, "area": np.full(100, 70.0)}), "sex": "F"}
    (picture,) = draw_cord("normative", "normative", seen)
    assert "women, 25-29 years" in picture.caption and "people" in picture.caption
    assert draw_cord("normative", "normative", {"normative": Table.of(table)}) == []


def test_pictures_keep_their_colours():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (20, 30, 1)).repeat(3, -1).astype(np.uint8)
    np.testing.assert_array_equal(_pixels(png(grey), "RGB"), grey)
    wild = rng.integers(0, 255, (40, 50, 4)).astype(np.uint8)
    back = _pixels(png(wild))
    assert np.abs(back - wild)[wild[..., 3] > 60].max() <= 64
    clear = np.zeros((5, 6, 4), np.uint8)
    clear[2, 3] = 255, 176, 0, 255
    assert (_pixels(png(clear))[..., 3] > 0).sum() == 1


@pytest.mark.shared
def test_a_real_image_with_grey_matter():
    import nibabel as nib

    folder = SHARED / "cord/sct-testing/t2s"

    def read(name):
        image = nib.load(folder / name)
        return Volume(np.asarray(image.dataobj), Grid.of(image.shape, image.affine))

    image, cord, grey = read("t2s.nii.gz"), read("t2s_seg.nii.gz"), read("t2s_gmseg_manual.nii.gz")
    plain, over = mosaic(image, cord, {"cord": cord, "gray_matter": grey})
    assert len(plain) + len(over) <= MAX_BYTES
    assert len(_where(over, "cord")) > 2000 and len(_where(over, "gray_matter")) > 2000


def test_the_axis_of_slices_has_no_minus_at_zero():
    from matplotlib.figure import Figure

    from neuraxis.report.plots import falling

    axes = Figure().add_subplot()
    axes.set_xlim(-12, 0.5)
    falling(axes)
    labels = [axes.xaxis.get_major_formatter()(at) for at in axes.get_xticks()]
    assert "0" in labels and all(label.isdigit() for at, label in zip(axes.get_xticks(), labels, strict=True) if at <= 0)
