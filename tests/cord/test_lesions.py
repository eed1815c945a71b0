import numpy as np
import pytest
from cord import golden
from cord.phantoms import rotation
from documented import check_documented

from neuraxis.cord.bridges import tissue_bridges
from neuraxis.cord.lesion_shares import lesion_levels, lesion_tracts
from neuraxis.cord.lesions import lesions
from neuraxis.volume import Grid, Volume

SHAPE = (24, 30, 40)


def _grid(voxel=(1.0, 1.0, 1.0), turn=0.0, shape=SHAPE):
    affine = np.eye(4)
    affine[:3, :3] = rotation(turn) @ np.diag([-1, 1, 1]) @ np.diag(voxel)
    affine[:3, 3] = 5, -3, 11
    return Grid.of(shape, affine)


def _box(*ranges, shape=SHAPE, lean=0.0):
    """A box of voxels; `lean` moves it to the front by so many voxels per slice."""
    data = np.zeros(shape, np.float32)
    (x0, x1), (y0, y1), (z0, z1) = ranges
    for z in range(z0, z1):
        move = round(lean * (z - shape[2] // 2))
        data[x0:x1, y0 + move : y1 + move, z] = 1
    return data


CORD = ((6, 17), (8, 18), (2, 38))
LESION = ((9, 14), (11, 14), (15, 25))


def _measure(lesion=LESION, cord=CORD, grid=None, lean=0.0, **more):
    grid = grid or _grid()
    both = [Volume(_box(*one, lean=lean), grid) for one in (lesion, cord)]
    labels, table = lesions(*both, **more)
    return labels, list(table.rows())


def test_documented():
    for one in (lesions, tissue_bridges, lesion_levels, lesion_tracts):
        check_documented(one)


@pytest.mark.parametrize("turn", [0.0, 25.0])
@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (0.5, 0.8, 3.0)])
def test_a_box_in_a_box(voxel, turn):
    labels, rows = _measure(grid=_grid(voxel, turn))
    one, (px, py, pz) = rows[0], voxel
    assert labels.data.dtype == np.int16 and labels.data.sum() == 5 * 3 * 10
    assert one["lesion"] == 1 and one["volume"] == pytest.approx(150 * px * py * pz)
    assert one["length"] == pytest.approx(10 * pz) and one["width"] == pytest.approx(3 * py)
    assert one["max_equivalent_diameter"] == pytest.approx(2 * np.sqrt(15 * px * py / np.pi))
    assert one["max_axial_damage_ratio"] == pytest.approx(15 / 110)
    assert (one["slice_low"], one["slice_high"]) == (15, 24) and one["midsagittal_slice"] == pytest.approx(11)
    assert one["length_midsagittal"] == pytest.approx(10 * pz) and one["width_midsagittal"] == pytest.approx(3 * py)
    assert one["dorsal_bridge"] == pytest.approx(3 * py) and one["ventral_bridge"] == pytest.approx(4 * py)
    assert one["total_bridge"] == pytest.approx(7 * py) and one["bridge_from"] == "lesion"
    assert one["dorsal_bridge_ratio"] == pytest.approx(300 / 7)
    assert rows[1]["lesion"] == 0 and rows[1]["count"] == 1 and rows[1]["volume"] == one["volume"]


def test_a_tilted_cord_is_corrected():
    """A cord that leans by 30 degrees: slices are longer along it by 1 / cos, and thinner across it by cos."""
    cosine = np.cos(np.radians(30))
    _, rows = _measure(
        lean=np.tan(np.radians(30)), lesion=((9, 14), (11, 14), (15, 25)), cord=((6, 17), (8, 18), (8, 32))
    )
    one = rows[0]
    assert one["length"] == pytest.approx(10 / cosine, rel=0.01) and one["width"] == pytest.approx(3 * cosine, rel=0.01)
    assert one["max_equivalent_diameter"] == pytest.approx(2 * np.sqrt(15 * cosine / np.pi), rel=0.01)
    assert one["dorsal_bridge"] == pytest.approx(3 * cosine, rel=0.01)
    assert one["ventral_bridge"] == pytest.approx(4 * cosine, rel=0.01)


@pytest.mark.parametrize("codes", ["PSR", "RAI", "SLA"])
def test_orientation_does_not_matter(codes):
    grid = _grid((0.7, 0.8, 2.0), 20.0)
    parts = [_box(*one, lean=0.3) for one in (LESION, ((6, 17), (8, 18), (8, 32)))]
    parts[0][9:11, 20, 26] = 1
    parts[0] += _box((7, 9), (10, 12), (10, 12), lean=0.3)
    volumes = [Volume(one, grid) for one in parts]
    with pytest.warns(UserWarning, match="outside the cord"):
        labels, expected = lesions(*volumes)
    with pytest.warns(UserWarning, match="outside the cord"):
        turned, found = lesions(*(one.oriented(codes) for one in volumes))
    assert np.array_equal(turned.onto(grid).data, labels.data) and len(found) == 3
    for name, values in found.columns.items():
        if values.dtype.kind == "f":
            assert values == pytest.approx(expected[name], nan_ok=True), name


def test_the_midsagittal_slice_is_interpolated():
    """A cord of 10 columns has its middle between two of them; the lesion begins at another depth in each."""
    lesion = _box((11, 12), (12, 14), (15, 25)) + _box((12, 13), (10, 14), (15, 25))
    cord = _box((7, 17), (8, 18), (2, 38))
    _, table = lesions(Volume(lesion, _grid()), Volume(cord, _grid()))
    one = next(table.rows())
    assert one["midsagittal_slice"] == pytest.approx(11.5)
    assert one["dorsal_bridge"] == pytest.approx((4 + 2) / 2) and one["ventral_bridge"] == pytest.approx(4)
    assert one["width_midsagittal"] == pytest.approx((2 + 4) / 2)


def test_a_lesion_in_one_of_the_two_slices_counts_there_alone():
    lesion, cord = _box((12, 15), (10, 14), (15, 25)), _box((7, 17), (8, 18), (2, 38))
    _, table = lesions(Volume(lesion, _grid()), Volume(cord, _grid()))
    one = next(table.rows())
    assert one["dorsal_bridge"] == pytest.approx(2) and one["ventral_bridge"] == pytest.approx(4)
    assert one["length_midsagittal"] == pytest.approx(5)  # half of the lesion lies in the interpolated slice


def test_a_lesion_beside_the_middle_leaves_the_diameter_of_the_cord():
    _, rows = _measure(lesion=((7, 9), (10, 14), (15, 25)))
    assert rows[0]["bridge_from"] == "cord" and rows[0]["length_midsagittal"] == 0
    assert rows[0]["dorsal_bridge"] == pytest.approx(5) and rows[0]["total_bridge"] == pytest.approx(10)


def test_no_lesion_at_all():
    grid = _grid((1.0, 0.995, 1.0))
    cord, nothing = Volume(_box((6, 17), (8, 16), (2, 38)), grid), Volume(np.zeros(SHAPE, np.float32), grid)
    labels, table = lesions(nothing, cord)
    row = next(table.rows())
    assert len(table) == 1 and row["lesion"] == 0 and row["count"] == 0 and row["volume"] == 0 and not labels.data.any()
    assert np.isnan(row["dorsal_bridge"]) and row["bridge_from"] == ""
    _, table = lesions(nothing, cord, lesion_free_slice=20)
    row = next(table.rows())
    assert (row["dorsal_bridge"], row["ventral_bridge"]) == (pytest.approx(3.98), pytest.approx(3.98))
    assert row["total_bridge"] == pytest.approx(7.96) and row["bridge_from"] == "cord" and row["volume"] == 0
    with pytest.raises(ValueError, match="lesion_free_slice"):
        lesions(nothing, cord, lesion_free_slice=0)
    assert len(tissue_bridges(labels, cord)) == 0 and len(lesion_levels(labels, Volume(labels.data, grid))) == 0


def test_several_lesions_from_the_head_down():
    lesion = _box((9, 14), (11, 14), (5, 10)) + _box((9, 12), (11, 15), (30, 32)) + _box((10, 12), (10, 12), (20, 24))
    image = np.where(lesion > 0, 7.0, 1.0).astype(np.float32)
    image[9:14, 11:14, 5:10] = 3.0
    image[9, 11, 5] = 0.0
    grid = _grid()
    labels, table = lesions(Volume(lesion, grid), Volume(_box(*CORD), grid), Volume(image, grid))
    rows = list(table.rows())
    assert (
        [row["lesion"] for row in rows] == [1, 2, 3, 0] and labels.data[9, 11, 31] == 1 and labels.data[10, 12, 8] == 3
    )
    assert [row["volume"] for row in rows] == [24, 16, 75, 115]
    assert rows[2]["mean"] == 3 and rows[2]["std"] == 0 and rows[0]["mean"] == 7
    assert (
        rows[3]["count"] == 3 and rows[3]["length"] == pytest.approx(2 + 4 + 5) and rows[3]["width"] == pytest.approx(4)
    )
    assert rows[3]["dorsal_bridge"] == pytest.approx(2) and rows[3]["slice_high"] == 31


def test_voxels_that_share_an_edge_are_one_lesion_and_a_corner_two():
    for step, count in (((1, 1, 0), 1), ((1, 1, 1), 2)):
        lesion = np.zeros(SHAPE, np.float32)
        lesion[10, 12, 20] = 1
        lesion[10 + step[0], 12 + step[1], 20 + step[2]] = 1
        _, table = lesions(Volume(lesion, _grid()), Volume(_box(*CORD), _grid()))
        assert table["count"][-1] == count


def test_lesion_outside_the_cord_is_said_and_holes_belong_to_the_cord():
    with pytest.warns(UserWarning, match=r"20.0 mm3 of lesion \(25.0 %\)"):
        _, rows = _measure(lesion=((14, 18), (11, 13), (15, 25)))
    assert rows[0]["volume"] == 60
    lesion, cord = _box(*LESION), _box(*CORD)
    _, table = lesions(Volume(lesion, _grid()), Volume(cord - lesion, _grid()))
    assert table["volume"][0] == 150 and table["max_axial_damage_ratio"][0] == pytest.approx(15 / 110)
    with pytest.raises(ValueError, match="do not belong together"):
        lesions(Volume(_box((0, 3), (0, 3), (5, 8)), _grid()), Volume(cord, _grid()))
    with pytest.raises(ValueError, match="cord is empty"):
        lesions(Volume(lesion * 0, _grid()), Volume(cord * 0, _grid()))
    with pytest.raises(ValueError, match="different grids"):
        lesions(Volume(lesion, _grid()), Volume(cord, _grid((2.0, 1.0, 1.0))))


def test_levels_and_their_shares():
    levels = np.zeros(SHAPE, np.int16)
    for level, (low, high) in {4: (2, 18), 3: (18, 38)}.items():
        levels[6:17, 8:18, low:high] = level
    grid = _grid()
    labels, table = lesions(Volume(_box(*LESION), grid), Volume(_box(*CORD), grid), None, Volume(levels, grid))
    row = next(table.rows())
    assert (row["level_top"], row["level_bottom"], row["levels"]) == (3, 4, "C3-C4")
    found = list(lesion_levels(labels, Volume(levels, grid)).rows())
    assert [(r["lesion"], r["name"], r["share"]) for r in found[:2]] == [(1, "C3", 70.0), (1, "C4", 30.0)]
    assert found[0]["volume"] == 105 and found[0]["occupied"] == pytest.approx(100 * 105 / (110 * 20))
    assert [r["lesion"] for r in found] == [1, 1, 0, 0]
    none = list(lesion_levels(labels, Volume(levels * 0, grid)).rows())
    assert none[0]["level"] == 0 and none[0]["share"] == 100 and np.isnan(none[0]["occupied"])


def test_shares_in_an_atlas():
    grid, labels = _grid(), np.zeros(SHAPE, np.int16)
    labels[9:13, 11:13, 20:22] = 1
    atlas = np.zeros((*SHAPE, 3), np.float32)
    atlas[:11, ..., 0], atlas[11:, ..., 1] = 1.0, 0.5
    levels = np.where(np.arange(SHAPE[2]) < 21, 4, 3) * np.ones(SHAPE, int)
    found = lesion_tracts(Volume(labels, grid), Volume(atlas, grid), Volume(levels, grid))
    rows = {(r["lesion"], r["level"], r["region"]): r for r in found.rows()}
    assert rows[1, 0, 0]["share"] == pytest.approx(50) and rows[1, 0, 1]["share"] == pytest.approx(25)
    assert rows[1, 3, 0]["share"] == pytest.approx(25) and np.isnan(rows[1, 0, 2]["occupied"])
    assert rows[1, 0, 0]["occupied"] == pytest.approx(100 * 8 / (11 * 30 * 40)) and rows[0, 0, 1][
        "volume"
    ] == pytest.approx(4)
    with pytest.raises(ValueError, match="four axes"):
        lesion_tracts(Volume(labels, grid), Volume(labels, grid))


def test_bridges_of_every_sagittal_slice():
    labels, _ = _measure()
    found = tissue_bridges(labels, Volume(_box(*CORD), _grid()))
    assert found["sagittal_slice"].tolist() == [9, 10, 11, 12, 13]
    assert found["dorsal_bridge"] == pytest.approx(3) and found["total_bridge"] == pytest.approx(7)


@pytest.mark.shared
def test_golden():
    lesion, cord, image = (
        golden.volume(golden.T2 / f"t2_fake_lesion{name}.nii.gz") for name in ("_lesion_seg", "_sc_seg", "")
    )
    labels, table = lesions(lesion, cord, image)
    found, expected = next(table.rows()), golden.rows("les_basic/measures.csv")[0]
    assert labels.grid.same_as(lesion.grid) and len(table) == 2
    for ours, theirs in {
        "volume": "volume [mm3]",
        "length": "length [mm]",
        "width": "width [mm]",
        "max_equivalent_diameter": "max_equivalent_diameter [mm]",
        "max_axial_damage_ratio": "max_axial_damage_ratio []",
        "mean": "mean_t2_fake_lesion",
        "std": "std_t2_fake_lesion",
        "length_midsagittal": "length_interpolated_midsagittal_slice [mm]",
        "width_midsagittal": "width_interpolated_midsagittal_slice [mm]",
        "dorsal_bridge": "interpolated_dorsal_bridge_width [mm]",
        "ventral_bridge": "interpolated_ventral_bridge_width [mm]",
        "total_bridge": "interpolated_total_bridge_width [mm]",
        "dorsal_bridge_ratio": "dorsal_bridge_ratio [%]",
        "ventral_bridge_ratio": "ventral_bridge_ratio [%]",
    }.items():
        assert found[ours] == pytest.approx(float(expected[theirs]), rel=1e-5), ours
    last = cord.oriented("LAS").data.shape[0] - 1  # the other program counts sagittal slices from the left here
    assert last - found["midsagittal_slice"] == pytest.approx(float(expected["interpolated_midsagittal_slice"]))
    for row in tissue_bridges(labels, cord).rows():
        for side in ("dorsal", "ventral", "total"):
            theirs = float(expected[f"slice_{last - row['sagittal_slice']}_{side}_bridge_width [mm]"])
            assert row[f"{side}_bridge"] == pytest.approx(theirs, rel=1e-5)


def test_values_that_are_not_finite_are_neither_lesion_nor_cord():
    grid, lesion, cord = _grid(), _box(*LESION), _box(*CORD)
    image = np.full(SHAPE, 5.0, np.float32)
    lesion[9, 11, 15], cord[0, 0, 0], image[10, 12, 16] = np.nan, np.nan, np.nan
    _, table = lesions(Volume(lesion, grid), Volume(cord, grid), Volume(image, grid))
    assert table["volume"][0] == 149 and table["mean"][0] == 5
