"""Shape of the cord: analytic phantoms first, then the numbers of the Spinal Cord Toolbox, then bad masks."""

import csv
import math
import time
import warnings

import numpy as np
import pytest
from conftest import SHARED
from cord.phantoms import cylinder
from documented import check_documented

from neuraxis.cord.aggregate import compact, shape_levels
from neuraxis.cord.centerline import bspline
from neuraxis.cord.demographics import normalise_area
from neuraxis.cord.shape import MEASURES, shape
from neuraxis.engine import Method
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

AREA = math.pi * 6.5 * 4
TILTS = [(0, 0), (10, 0), (0, 20), (20, -15), (30, 0), (0, 40), (-40, 0), (30, 30)]
VOXELS = [(1, 1, 1), (0.5, 0.5, 5), (0.5, 0.5, 0.5)]


def _shape(cord, *more, **knobs):
    return shape(cord, bspline(cord), *more, **knobs)


def _load(name):
    import nibabel

    image = nibabel.load(SHARED / "cord" / name)
    return Volume(np.asanyarray(image.dataobj), Grid.of(image.shape, image.affine))


def _sct(case):
    with open(SHARED / "cord/sct-outputs" / case / "csa.csv") as file:
        return list(csv.DictReader(file))


def _strip(half, dent, width=3.0):
    """Mean depth of the dented ellipse over a strip around its middle, counted finely; mm."""
    x, y = np.meshgrid(np.linspace(-width / 2, width / 2, 301), np.linspace(-8, 8, 3201), indexing="ij")
    inside = ((x / half[0]) ** 2 + (y / half[1]) ** 2 < 1) & ((x - dent[0]) ** 2 + (y - dent[1]) ** 2 > dent[2] ** 2)
    return inside.mean() * 16


@pytest.mark.parametrize("method", [shape, shape_levels])
def test_documented(method):
    check_documented(method)


# ---- analytic ----


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "binary"])
@pytest.mark.parametrize("voxel", VOXELS, ids=str)
@pytest.mark.parametrize("tilt", TILTS, ids=str)
def test_a_tilted_elliptic_cylinder(tilt, voxel, soft):
    height = 20 if voxel[2] < 1 else 30
    cord = cylinder(tilt=tilt, voxel=voxel, soft=soft, extent=(70, 70, height), fine=3, shift=(0.3, 0.2))
    table = _shape(cord)
    inner = table.where(slice(1, -1))
    assert inner["area"].mean() == pytest.approx(AREA, rel=0.01)
    assert np.abs(inner["area"] / AREA - 1).max() < (0.01 if soft else 0.05)
    assert inner["diameter_RL"].mean() == pytest.approx(13, abs=0.2)
    assert inner["diameter_AP"].mean() == pytest.approx(_strip((6.5, 4), (0, 0, 0)), abs=0.15)
    assert inner["diameter_AP_ellipse"].mean() == pytest.approx(8, abs=0.15)
    assert np.allclose(inner["length_anterior"] + inner["length_posterior"], inner["diameter_AP"])
    assert np.abs(inner["angle_AP"] - tilt[0]).max() < 1 and np.abs(inner["angle_RL"] - tilt[1]).max() < 1
    true_length = height * math.sqrt(1 + (np.tan(np.radians(tilt)) ** 2).sum())
    assert table["length"].sum() == pytest.approx(true_length, rel=0.005)
    assert inner["eccentricity"].mean() == pytest.approx(math.sqrt(1 - (4 / 6.5) ** 2), abs=0.02)
    assert inner["solidity"].min() > 0.93
    assert np.abs(inner["orientation"].mean()) < 1.5
    assert inner["symmetry_RL"].min() > 0.9 and inner["symmetry_AP"].min() > 0.85
    assert np.abs(inner["asymmetry_LR"]).max() < 0.05


def test_without_angle_correction_the_slice_is_taken_as_it_is():
    cord = cylinder(tilt=(0, 40), extent=(60, 60, 20))
    table = _shape(cord, angle_correction=False)
    assert table["area"][1:-1] == pytest.approx(AREA / math.cos(math.radians(40)), rel=0.005)
    assert (table["length"] == 1).all() and not table["angle_RL"].any()
    assert not table["trusted"].any() and "angle over 20 degrees" in table["why"][5]


def test_other_voxel_axes_and_an_oblique_grid_give_the_same_numbers():
    cord = cylinder(tilt=(12, -8), roll=9, turn=20.0, voxel=(0.8, 1, 2), extent=(40, 40, 30))
    image = cylinder(tilt=(12, -8), roll=9, turn=20.0, voxel=(0.8, 1, 2), extent=(40, 40, 30), values=True)
    expected = _shape(cord, None, None, image)
    for codes in ("PSR", "RPI", "ASL"):
        found = _shape(cord.oriented(codes), None, None, image.oriented(codes))
        for name in expected.columns:
            if name != "why":
                assert np.allclose(found[name], expected[name], equal_nan=True, atol=1e-6), name


@pytest.mark.parametrize("roll", [0, 10, -20])
def test_a_turned_cord(roll):
    """x is left and y is front: a cord turned from left to front has a positive orientation."""
    size = {"voxel": (0.7, 0.7, 2), "extent": (49, 49, 20), "fine": 3}
    for image in (None, cylinder(roll=roll, values=True, **size)):
        table = _shape(cylinder(roll=roll, **size), None, None, image)
        assert table["orientation"] == pytest.approx(roll, abs=1)
        assert table["diameter_AP"] == pytest.approx(8, abs=0.2)
        assert table["diameter_RL"] == pytest.approx(13, abs=0.2)
        assert table["symmetry_RL"].min() > 0.95 and np.abs(table["asymmetry_LR"]).max() < 0.02


def test_a_round_cord_and_one_that_is_deeper_than_wide():
    for half in ((5, 5), (4, 5)):
        table = _shape(cylinder(half=half, voxel=(0.5, 0.5, 2), fine=3))
        assert table["diameter_RL"] == pytest.approx(2 * half[0], abs=0.15)
        assert table["diameter_AP_ellipse"] == pytest.approx(2 * half[1], abs=0.15)
        assert table["diameter_AP"] == pytest.approx(_strip(half, (0, 0, 0)), abs=0.15)


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "binary"])
@pytest.mark.parametrize("roll", [0, 10, -15])
@pytest.mark.parametrize(
    ("half", "dent"),
    [((6.5, 4), (0, 6, 4)), ((6.5, 3.5), (0, 3.5, 2.5)), ((6.5, 4), (2.5, 5, 3)), ((5, 5), (0, 4, 3)), ((6.5, 3), (0, 5, 4))],
    ids=["dent", "deep", "beside the middle", "horseshoe", "crescent"],
)  # fmt: skip
def test_the_depth_of_a_dented_cord_is_the_tissue_left(half, dent, roll, soft):
    cord = cylinder(half=half, dent=dent, roll=roll, tilt=(5, 8), extent=(40, 40, 30), fine=3, soft=soft)
    inner = _shape(cord).where(slice(2, -2))
    true = _strip(half, dent)
    assert inner["diameter_AP"].mean() == pytest.approx(true, abs=0.1)
    assert np.abs(inner["diameter_AP"] - true).max() < (0.15 if soft else 0.7)
    assert inner["diameter_AP_ellipse"].mean() > true + 0.15  # what an ellipse makes of it


def test_left_and_right_front_and_back():
    """A dent in the left front takes tissue away there and nowhere else."""
    table = _shape(cylinder(dent=(3, 4.5, 3), voxel=(0.5, 0.5, 2), fine=3))
    whole = _shape(cylinder(voxel=(0.5, 0.5, 2), fine=3))
    names = ["area_anterior_left", "area_anterior_right", "area_posterior_left", "area_posterior_right"]
    parts = np.array([table[name] for name in names])
    assert np.allclose(parts.sum(axis=0), table["area"])
    assert np.allclose([whole[name] for name in names], AREA / 4, atol=0.5)
    assert (parts.argmin(axis=0) == 0).all()
    assert (table["asymmetry_LR"] < -0.05).all() and (table["symmetry_RL"] < whole["symmetry_RL"] - 0.05).all()


def test_levels_and_the_distance_from_the_brainstem():
    cord = cylinder(extent=(30, 30, 40), tilt=(0, 20), fine=2)
    levels = np.zeros(cord.data.shape, dtype=np.int16)
    levels[:, :, 5:20][cord.data[:, :, 5:20] > 0.5] = 4
    levels[:, :, 20:30][cord.data[:, :, 20:30] > 0.5] = 3
    pmj = np.zeros(cord.data.shape, dtype=np.int16)
    data = cord.data.copy()
    data[:, :, 34:] = 0
    pmj[14, 20, 39] = 50
    table = _shape(Volume(data, cord.grid), Volume(levels, cord.grid), Volume(pmj, cord.grid))
    assert (
        np.isnan(table["level"][:5]).all() and (table["level"][5:20] == 4).all() and (table["level"][20:30] == 3).all()
    )
    assert np.diff(table["distance_pmj"]) == pytest.approx(-1 / math.cos(math.radians(20)), rel=0.03)
    assert table["distance_pmj"][10] == pytest.approx(29 / math.cos(math.radians(20)), rel=0.02)
    pmj[:] = 0
    assert np.isnan(_shape(cord, None, Volume(pmj, cord.grid))["distance_pmj"]).all()


# ---- the stated error ----


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "binary"])
@pytest.mark.parametrize("voxel", [(1, 1, 1), (0.7, 0.7, 3), (0.5, 0.5, 5)], ids=str)
def test_the_stated_error_covers_the_error(voxel, soft):
    """Ellipses at any place between the voxels and of any direction: upright, so that all slices err alike."""
    chance = np.random.default_rng(3)
    error, stated = [], []
    for _ in range(24):
        shift, roll = chance.uniform(-1, 1, 2), chance.uniform(-20, 20)
        cord = cylinder(shift=shift, roll=roll, voxel=voxel, soft=soft, extent=(30, 30, 3 * voxel[2]), fine=5)
        row = next(shape_levels(_shape(cord)).rows())
        error.append(row["area_mean"] - AREA)
        stated.append(row["area_uncertainty"])
    assert np.sqrt(np.mean(np.square(error))) < 1.15 * np.mean(stated)
    assert np.mean(np.abs(error) < 2 * np.array(stated)) >= 0.95
    assert np.mean(stated) < 0.04 * AREA  # and it is of use


def test_finer_voxels_of_one_soft_outline_state_the_same_error():
    from scipy.ndimage import gaussian_filter

    stated = []
    for size in (0.25, 0.5):
        hard = cylinder(voxel=(size, size, 2), extent=(30, 30, 10), fine=4)
        data = gaussian_filter(hard.data, (1.0 / size, 1.0 / size, 0))
        stated.append(_shape(Volume(data, hard.grid))["area_uncertainty"].mean())
    assert stated[0] == pytest.approx(stated[1], rel=0.1)


def test_scatter_of_neighbours_counts_and_a_trend_does_not():
    def levels_of(area):
        slices = np.arange(len(area))
        flat = {name: np.full(len(area), 1.0) for name in (*MEASURES, "length")}
        ones = np.ones(len(area), dtype=int)
        known = {"slice": slices, "level": slices * 0.0 + 3, "distance_pmj": slices * math.nan, "trusted": ones}
        return shape_levels(
            Table.of({**known, **flat, "area": area, "area_uncertainty": slices * 0.0, "why": slices * 0})
        )

    trend = np.linspace(60, 80, 21)
    assert levels_of(trend)["area_uncertainty"][1] == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(0).normal(0, 2, (200, 21))
    stated = np.mean([levels_of(trend + one)["area_uncertainty"][1] ** 2 for one in noise]) ** 0.5
    assert stated == pytest.approx(2 / math.sqrt(21), rel=0.1)


# ---- per level, range and distance ----


def test_groups():
    cord = cylinder(extent=(30, 30, 40), fine=1)
    levels = np.zeros(cord.data.shape, dtype=np.int16)
    for level, low, high in ((5, 0, 8), (4, 8, 20), (3, 20, 32), (2, 34, 40)):
        levels[:, :, low:high] = level
    pmj = np.zeros(cord.data.shape, dtype=np.int16)
    pmj[15, 15, 39] = 50
    table = _shape(cord, Volume(levels, cord.grid), Volume(pmj, cord.grid))
    found = shape_levels(table, ranges="2:3, 4", pmj_distance=(20.0,), pmj_extent=10.0)
    assert found["group"].tolist() == ["cord", "level", "level", "level", "level", "range", "range", "pmj"]
    assert found["level"].tolist() == ["all", "2", "3", "4", "5", "2:3", "4:4", ""]
    assert found["name"].tolist()[1:5] == ["C2", "C3", "C4", "C5"]
    assert found["slices"].tolist() == ["0:39", "34:39", "20:31", "8:19", "0:7", "20:31;34:39", "8:19", "14:23"]
    assert found["n_slices"].tolist() == [40, 6, 12, 12, 8, 18, 12, 10]
    assert found["n_trusted"].tolist() == [38, 5, 12, 12, 7, 17, 12, 10]
    assert found["length_sum"] == pytest.approx(found["n_slices"], rel=1e-3)
    assert found["distance_pmj"][-1] == 20
    for name in MEASURES:
        assert found[f"{name}_mean"][3] == pytest.approx(table[name][8:20].mean(), abs=1e-9)
        assert found[f"{name}_sd"][3] == pytest.approx(table[name][8:20].std(), abs=1e-9)
    assert found["area_mean_trusted"][4] == pytest.approx(table["area"][1:8].mean())


def test_a_level_in_doubt_is_in_doubt_in_its_rows():
    cord = cylinder(extent=(30, 30, 40), fine=1)
    levels = np.zeros(cord.data.shape, dtype=np.int16)
    for level, low, high in ((5, 0, 8), (4, 8, 20), (3, 20, 32), (2, 32, 40)):
        levels[:, :, low:high] = level
    table = _shape(cord, Volume(levels, cord.grid))
    below = table["slice"] < 8
    table = Table.of({**table.columns, "trusted": np.where(below, 0, table["trusted"])})
    doubt = Table.of(
        {"level": [2, 3, 4, 5], "trusted": [0, 1, 1, 1], "why": ["C1/C2 is not labelled: ends at its usual height", "", "", ""]}
    )
    found = shape_levels(table, doubt, ranges="2:3,3:4")
    why = dict(zip(found["name"].tolist(), found["why"].tolist(), strict=True))
    assert why == {
        "whole cord": "", "C2": "C2: C1/C2 is not labelled: ends at its usual height", "C3": "", "C4": "",
        "C5": "none of its slices is trusted", "C2-C3": "C2: C1/C2 is not labelled: ends at its usual height", "C3-C4": "",
    }  # fmt: skip
    assert [bool(text) for text in found["why"]] == [not sure for sure in found["trusted"]]
    assert shape_levels(table)["trusted"].tolist() == [1, 1, 1, 1, 0]


def test_what_is_not_in_view_is_said():
    table = _shape(cylinder(extent=(30, 30, 20), fine=1))
    with pytest.warns(UserWarning, match="no pontomedullary junction"):
        assert len(shape_levels(table, pmj_distance=(64.0,))) == 1
    with pytest.warns(UserWarning, match="no slice of C2, C3"):
        assert len(shape_levels(table, ranges="2:3")) == 1
    for knobs in ({"ranges": "C2"}, {"ranges": "3:2"}, {"pmj_extent": 0.0}, {"pmj_distance": (-1.0,)}):
        with pytest.raises(ValueError, match=next(iter(knobs))):
            shape_levels(table, **knobs)
    with pytest.raises(ValueError, match="no slice"):
        shape_levels(table.where(np.zeros(20, dtype=bool)))
    assert [compact(np.array(one)) for one in ([4], [3, 4, 5], [1, 2, 9])] == ["4", "3:5", "1:2;9"]


def test_the_dummy_of_sct():
    """A box of 15 x 15 mm with the junction 5 mm above it: 8 mm below the PMJ, extent 4 mm, are slices 18:21, 4.0 mm."""
    data, mark = np.zeros((32, 32, 32), dtype=np.uint8), np.zeros((32, 32, 32), dtype=np.uint8)
    data[9:24, 9:24, 9:24] = 1
    mark[15, 15, 28] = 50
    grid = Grid.of(data.shape, np.eye(4))
    table = _shape(Volume(data, grid), None, Volume(mark, grid))
    row = list(shape_levels(table, pmj_distance=(8.0,), pmj_extent=4.0).rows())[-1]
    assert row["slices"] == "18:21" and row["length_sum"] == 4.0
    area = normalise_area(row["area_mean"], 0, 960606, 13942)
    assert area == pytest.approx(228.20973426502943, abs=1e-3)


def test_demographics():
    assert normalise_area(75, 1, 1_156_171.0) == pytest.approx(
        75 + 15.00754 * 0.56343 - 1.23894e-5 * (1_156_171 - 530_335)
    )
    assert normalise_area(75, 0, 1.3e6) < normalise_area(75, 0, 1.0e6)  # a large brain explains a large cord
    for wrong in ((2, 1e6, None), (1, -1, None), (1, 1e6, 0.0), (0, math.nan, None)):
        with pytest.raises(ValueError, match=r"sex|volume"):
            normalise_area(75, *wrong)


# ---- the Spinal Cord Toolbox ----

WITHIN = {"area": 0.03, "diameter_AP": 0.2, "diameter_AP_ellipse": 0.2, "diameter_RL": 0.2, "length_anterior": 0.2,
          "length_posterior": 0.2, "eccentricity": 0.01, "solidity": 0.01, "orientation": 1.0, "angle_AP": 0.01,
          "angle_RL": 0.01}  # fmt: skip
"""Largest difference per slice: area relative, mm, deg."""


@pytest.mark.shared
@pytest.mark.parametrize("case", ["ps_t2_perslice", "ps_t2_noangle"])
def test_every_slice_is_that_of_sct(case):
    cord = _load("sct-testing/t2/t2_seg-manual.nii.gz")
    table = _shape(cord, angle_correction="noangle" not in case)
    rows = _sct(case)
    assert [row["Slice (I->S)"] for row in rows] == [str(z) for z in table["slice"]]
    for name, limit in WITHIN.items():
        expected = np.array([float(row[f"MEAN({name})"]) for row in rows])
        difference = np.abs(table[name] - expected)
        assert (difference / (expected if name == "area" else 1)).max() < limit, name
    assert table["length"] == pytest.approx([float(row["SUM(length)"]) for row in rows], rel=1e-3)


@pytest.mark.shared
def test_slice_10():
    row = list(_shape(_load("sct-testing/t2/t2_seg-manual.nii.gz")).rows())[10]
    assert row["area"] == pytest.approx(78.58643257836141, rel=1e-3)
    assert row["diameter_AP"] == pytest.approx(7.842507960401277, abs=0.1)
    assert row["diameter_RL"] == pytest.approx(12.537767663676533, abs=0.1)
    assert row["orientation"] == pytest.approx(-5.435920797812814, abs=0.5)
    assert row["eccentricity"] == pytest.approx(0.7678714078545043, abs=0.005)
    assert row["solidity"] == pytest.approx(0.9691052891744933, abs=0.005)


def _painted(cord, rows):
    """Levels as the rows of SCT's table name them."""
    levels = np.zeros(cord.oriented("LAS").data.shape, dtype=np.int16)
    for row in rows:
        low, high = map(int, row["Slice (I->S)"].split(":"))
        levels[:, :, low : high + 1] = int(row["VertLevel"])
    upright = cord.oriented("LAS")
    return Volume(np.where(upright.data > 0, levels, 0), upright.grid).onto(cord.grid)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["ps_t2_vertfile_perlevel", "ps_t2_disc_perlevel", "ps_t2_all"])
def test_every_level_is_that_of_sct(case):
    cord, rows = _load("sct-testing/t2/t2_seg-manual.nii.gz"), _sct(case)
    levels = None
    if "vertfile" in case:
        levels = _load("sct-testing/t2/t2_seg-manual_labeled.nii.gz")
    elif "disc" in case:
        levels = _painted(cord, rows)
    found = shape_levels(_shape(cord, levels))
    if levels is not None:
        found = found.where(found["group"] == "level")
        rows = rows[::-1]  # SCT's go upwards
    assert found["slices"].tolist() == [row["Slice (I->S)"] for row in rows]
    if levels is not None:
        assert found["level"].tolist() == [row["VertLevel"] for row in rows]
    for number, row in enumerate(rows):
        for name, limit in WITHIN.items():
            mean, sd = (float(row[f"{kind}({name})"]) for kind in ("MEAN", "STD"))
            limit = 0.015 * mean if name == "area" else limit / 2
            assert found[f"{name}_mean"][number] == pytest.approx(mean, abs=limit), name
            assert found[f"{name}_sd"][number] == pytest.approx(sd, abs=limit), name
        assert found["length_sum"][number] == pytest.approx(float(row["SUM(length)"]), rel=1e-3)


@pytest.mark.shared
def test_chosen_slices_and_a_thick_axial_image():
    table = _shape(_load("sct-testing/t2/t2_seg-manual.nii.gz"))
    row = _sct("ps_t2_z")[0]
    for name in ("area", "diameter_AP", "diameter_RL", "solidity"):
        assert table[name][10:21].mean() == pytest.approx(float(row[f"MEAN({name})"]), rel=0.015)
    found = shape_levels(
        _shape(_load("sct-testing/t2s/t2s_seg-deepseg.nii.gz"), _load("sct-testing/t2s/MNI-Poly-AMU_level_crop.nii.gz"))
    )
    known = dict(zip(found["level"].tolist(), found["area_mean"], strict=True))
    for level, expected in (("5", 70.227), ("4", 71.767), ("3", 65.314)):
        assert known[level] == pytest.approx(expected, rel=1e-3)


@pytest.mark.shared
def test_symmetry_of_a_real_cord():
    """SCT's Dice depends on its version (.879 and .886 at slice 10); a mirror line that fits the cord gives more."""
    cord, image = _load("sct-testing/t2/t2_seg-manual.nii.gz"), _load("sct-testing/t2/t2.nii.gz")
    for one in (None, image):
        table = _shape(cord, None, None, one)
        assert 0.88 < table["symmetry_RL"][10] < 0.96 and 0.88 < table["symmetry_AP"][10] < 0.96
        assert np.abs(table["asymmetry_LR"]).max() < 0.06


@pytest.mark.shared
def test_grey_matter_with_the_centerline_of_the_cord():
    """Two horns: the area is right and the diameters are missing where they are not one."""
    line = bspline(_load("sct-testing/t2s/t2s_seg.nii.gz"))
    mask = _load("sct-testing/t2s/t2s_gmseg_manual.nii.gz")
    table = shape(mask, line)
    count = (mask.oriented("LAS").data > 0).sum(axis=(0, 1))[table["slice"]] * 0.25
    cosine = 7.5 / table["length"]
    assert table["area"] == pytest.approx(count * cosine, rel=0.01)
    assert (table["solidity"][~np.isnan(table["solidity"])] < 0.9).all()


@pytest.mark.shared
@pytest.mark.parametrize("subject", ["10062Ses1", "9418", "9604", "9669"])
def test_grey_matter_and_cord_of_the_challenge(subject):
    folder = f"gm-challenge/derivatives/labels/sub-{subject}/anat/sub-{subject}_run-1_T2starw"
    cord, grey = (_load(f"{folder}_{kind}-manual.nii.gz") for kind in ("seg", "gmseg"))
    line = bspline(cord)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # gaps
        whole, part = shape(cord, line), shape(grey, line)
    both = np.isin(whole["slice"], part["slice"])
    share = part["area"][np.isin(part["slice"], whole["slice"])] / whole["area"][both]
    assert 0.1 < np.nanmedian(share) < 0.35
    assert 40 < np.median(whole["area"]) < 110
    split = part["components"] > 1
    assert not part["trusted"][split].any()


# ---- bad masks ----


def test_several_parts_holes_ends_and_small_slices_are_flagged():
    cord = cylinder(extent=(40, 40, 30), fine=2)
    data = cord.data.copy()
    data[18:22, 17:23, 5] = 0  # a hole
    data[:, :, 10] = 0
    data[10:14, 18:22, 10] = data[26:30, 18:22, 10] = 1  # two parts of 16 mm2
    data[2:4, 2:4, 15] = 1  # a speck: the rest is still a section
    data[:22, :, 20] = 0  # more than half is missing
    data[17:20, 19:22, 22] = 1
    data[:17, :, 22] = data[20:, :, 22] = data[:, :19, 22] = data[:, 22:, 22] = 0  # 9 mm2 are left
    data[:, :, 25:27] = 0  # a gap
    with pytest.warns(UserWarning, match="1 gap"), pytest.warns(UserWarning, match="slice 20"):
        table = _shape(Volume(data, cord.grid))
    why = dict(zip(table["slice"].tolist(), table["why"].tolist(), strict=True))
    assert why[5] == "hole in the mask" and table["area"][5] == pytest.approx(table["area"][6] - 24, rel=0.01)
    assert why[10] == "2 separate parts; area far below that of its neighbours"
    assert table["components"][10] == 2 and table["area"][10] == pytest.approx(32, rel=0.01)
    assert np.isnan(table["diameter_AP"][10]) and np.isnan(table["symmetry_RL"][10])
    assert why[15] == "2 separate parts" and table["diameter_AP"][15] == pytest.approx(8, abs=0.2)
    assert why[20] == "beside the centerline; area far below that of its neighbours" and why[22] == "area under 10 mm2"
    assert why[24] == why[27] == "beside a gap in the mask" and 25 not in why
    assert why[0] == why[29] == "end of the field of view"
    assert table["trusted"].sum() == 28 - 9 and all(why[z] == "" for z in (1, 2, 12, 21))
    found = next(shape_levels(table).rows())
    assert found["n_slices"] == 28 and found["n_trusted"] == 19
    assert found["area_mean_trusted"] == pytest.approx(AREA, rel=0.02) and found["diameter_AP_mean"] > 7


def test_the_ends_of_a_mask_inside_the_view_and_a_cord_at_the_border():
    cord = cylinder(extent=(40, 40, 20), fine=1, shift=(15, 0))
    data = cord.data.copy()
    data[:, :, :4] = data[:, :, 16:] = 0
    table = _shape(Volume(data, cord.grid))
    assert table["why"][0] == "end of the mask; at the border of the image"
    assert (table["trusted"] == 0).all() and "border of the image" in table["why"][6]


def test_one_slice():
    cord = cylinder(extent=(40, 40, 1))
    with pytest.warns(UserWarning, match="one slice"):
        table = _shape(cord)
    assert len(table) == 1 and table["area"][0] == pytest.approx(AREA, rel=0.01) and not table["trusted"][0]
    found = next(shape_levels(table).rows())
    assert found["n_trusted"] == 0 and math.isnan(found["area_mean_trusted"])
    assert found["area_mean"] == pytest.approx(AREA, rel=0.01) and 0 < found["area_uncertainty"] < 4


def test_a_single_voxel_and_a_line_of_voxels_are_no_crash():
    grid = Grid.of((20, 20, 6), np.diag([-1, 1, 1, 1]))
    data = np.zeros(grid.shape, dtype=np.uint8)
    data[10, 10] = 1
    data[8:13, 10, 3:] = 1
    table = _shape(Volume(data, grid))
    assert table["area"][:3] == pytest.approx(1, rel=0.05) and not table["trusted"].any()
    assert all(np.isfinite(table[name]).all() for name in MEASURES)


def test_a_soft_haze_beside_the_cord_is_left_out():
    cord = cylinder(fine=2)
    data = cord.data.copy()
    data[:6, :6] = 0.3
    assert _shape(Volume(data, cord.grid))["area"] == pytest.approx(_shape(cord)["area"])


def test_wrong_input_is_refused():
    cord = cylinder(fine=1, extent=(40, 40, 20))
    line = bspline(cord)
    empty = Volume(cord.data * 0, cord.grid)
    broken = Volume(np.where(cord.data > 0, np.inf, 0), cord.grid)
    shifted = np.array(cord.grid.matrix)
    shifted[0, 3] += 1
    other = Volume(cord.data, Grid.of(cord.data.shape, shifted))
    for arguments, message in (
        ((empty, line), "empty"),
        ((broken, line), "finite"),
        ((cord, line.where(np.arange(0))), "none of the slices"),
        ((cord, line, other), "levels and cord lie on different grids"),
        ((cord, line, None, other), "pmj and cord lie on different grids"),
        ((cord, line, None, None, broken), "the image has values that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            shape(*arguments)


def test_slices_that_the_centerline_does_not_reach_are_empty():
    """Grey matter drawn beyond the cord, say: without its direction the slice says nothing."""
    cord = cylinder(fine=1, extent=(40, 40, 20), tilt=(10, 0))
    line = bspline(cord)
    table = shape(cord, line.where(np.arange(17)))
    assert np.isnan(table["area"][17:]).all() and np.isfinite(table["area"][:17]).all()
    assert table["why"][18] == "the centerline does not reach this slice" and not table["trusted"][17:].any()
    found = next(shape_levels(table).rows())
    assert found["area_mean"] == pytest.approx(AREA, rel=0.03) and math.isfinite(found["length_sum"])
    assert np.isfinite(shape(cord, line.where(np.arange(17)), angle_correction=False)["area"]).all()


@pytest.mark.parametrize("knob", [one.name for one in Method.of(shape).knobs if one.type is float])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_knobs_are_refused(knob, value):
    cord = cylinder(fine=1, extent=(40, 40, 4))
    with pytest.raises(ValueError, match=f"{knob}.*{value}"):
        _shape(cord, **{knob: value})


def test_inputs_are_not_changed():
    cord, image = cylinder(fine=1), cylinder(fine=1, values=True)
    copies = cord.data.copy(), image.data.copy()
    _shape(cord, None, None, image)
    assert np.array_equal(cord.data, copies[0]) and np.array_equal(image.data, copies[1])


def test_three_hundred_slices_are_quick():
    part = cylinder(extent=(60, 60, 300), tilt=(3, 4), fine=1)
    data = np.zeros((200, 200, 300), dtype=np.float32)
    data[70:130, 70:130] = part.data
    cord = Volume(data, Grid.of(data.shape, part.grid.matrix))
    line = bspline(cord)
    start = time.process_time()
    assert len(shape(cord, line)) == 300
    assert time.process_time() - start < 5
