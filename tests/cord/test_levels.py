import numpy as np
import pytest
from conftest import SHARED
from cord.phantom_spine import centerline_of, laid, spine
from documented import check_documented

from neuraxis.cord.level_labels import continuous_levels
from neuraxis.cord.levels import levels
from neuraxis.cord.new_points import create
from neuraxis.cord.points import points_of
from neuraxis.cord.vertebrae import PAM50_DISCS
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume


def _cord(slices=(0, 200), length=200, thickness=1.0):
    grid = Grid.of((20, 60, length), np.diag([-1.0, 1.0, thickness, 1.0]))
    data = np.zeros(grid.shape, np.float32)
    data[8:13, 20:25, slices[0] : slices[1]] = 1
    return Volume(data, grid)


def _line(cord):
    return centerline_of(cord)


def _discs(cord, **at):
    """disc=slice, in front of the cord."""
    return create(cord, labels=":".join(f"10,32,{z},{name[1:]}" for name, z in at.items()))


def _spans(table):
    return {row["level"]: (row["slice_low"], row["slice_high"]) for row in table.rows()}


NECK = dict(d3=180, d4=161, d5=143, d6=126, d7=111, d8=94, d9=72)


def test_documented():
    check_documented(levels)


def test_slices_between_two_discs_belong_to_the_vertebra_between():
    cord = _cord((90, 185))
    painted, table = levels(cord, _line(cord), _discs(cord, **NECK))
    spans = _spans(table)
    assert spans == {
        2: (181, 184),
        3: (162, 180),
        4: (144, 161),
        5: (127, 143),
        6: (112, 126),
        7: (95, 111),
        8: (90, 94),
    }
    for level, (low, high) in spans.items():
        assert (painted.data[8:13, 20:25, low : high + 1] == level).all()
    assert painted.data.dtype == np.int16 and not painted.data[cord.data == 0].any()
    assert table["trusted"].all() and table["name"].tolist() == ["C2", "C3", "C4", "C5", "C6", "C7", "T1"]
    remarks = dict(zip(table["name"].tolist(), table["why"].tolist(), strict=True))
    assert remarks["C2"] == remarks["T1"] == "partly in view" and remarks["C5"] == ""
    assert table["body_slice"][1] == pytest.approx((180 + 161) / 2)


def test_a_vertebra_at_the_end_of_the_labels_is_not_endless():
    cord = _cord()
    painted, table = levels(cord, _line(cord), _discs(cord, **NECK))
    spans = _spans(table)
    assert spans[2] == (181, 196) and spans[9][1] == 72 and 47 <= spans[9][0] <= 51
    assert not painted.data[:, :, 197:].any() and not painted.data[:, :, :47].any()
    assert table["trusted"].tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    assert table["why"][0] == "C1/C2 is not labelled: ends at its usual height"


def test_a_missing_disc_is_put_where_the_template_has_it_and_not_trusted():
    cord = _cord((100, 185))
    at = {name: z for name, z in NECK.items() if name != "d5"}
    with pytest.warns(UserWarning, match=r"C3/C4 and C5/C6"):
        _, table = levels(cord, _line(cord), _discs(cord, **at))
    assert _spans(table)[5][1] == pytest.approx(143, abs=1)
    untrusted = {row["name"] for row in table.rows() if not row["trusted"]}
    assert untrusted == {"C4", "C5"}
    assert np.isnan([row["disc_above"] for row in table.rows() if row["name"] == "C5"][0])


def test_wrong_order_gives_no_level_at_all():
    cord = _cord()
    with pytest.warns(UserWarning, match="levels are not trusted: C4/C5 is labelled above C3/C4"):
        painted, table = levels(cord, _line(cord), _discs(cord, **{**NECK, "d4": 143, "d5": 161}))
    assert not painted.data.any() and len(table) == 0 and "level" in table


def test_two_discs_of_one_number_give_no_level_at_all():
    cord = _cord()
    discs = create(cord, _discs(cord, **NECK), labels="10,32,140,3")
    with pytest.warns(UserWarning, match="C2/C3 is labelled at two places"):
        painted, _ = levels(cord, _line(cord), discs)
    assert not painted.data.any()


def test_a_label_drawn_with_a_brush_is_one_label():
    cord = _cord((100, 185))
    discs = create(cord, _discs(cord, **NECK), labels="10,32,181,3:10,32,179,3:11,32,180,3")
    _, table = levels(cord, _line(cord), discs)
    assert _spans(table)[3] == (162, 180)


def test_a_label_far_from_the_cord_is_not_used():
    cord = _cord((100, 185))
    discs = create(cord, _discs(cord, **NECK), labels="10,59,175,2")
    with pytest.warns(UserWarning, match="C1/C2 is 37 mm from the cord: not used"):
        _, table = levels(cord, _line(cord), discs, farthest=30)
    assert _spans(table)[3] == (162, 180)


def test_labels_beyond_the_ends_of_the_cord_are_not_lost():
    cord = _cord((146, 155))
    painted, table = levels(cord, _line(cord), _discs(cord, d3=180, d4=161, d5=142))
    assert _spans(table) == {4: (146, 154)}
    assert (painted.data[cord.data > 0] == 4).all()
    assert table["disc_above"].tolist() == [161] and table["disc_below"].tolist() == [142]


def test_a_vertebra_of_impossible_height_is_not_trusted():
    cord = _cord((30, 185))
    with pytest.warns(UserWarning, match=r"C7 \(2.* times the height expected\)"):
        _, table = levels(cord, _line(cord), _discs(cord, d3=180, d4=162, d5=144, d6=128, d7=113, d8=73, d9=52, d10=30))
    assert [row["name"] for row in table.rows() if not row["trusted"]] == ["C7"]


def test_a_spine_of_impossible_size_is_not_trusted():
    cord = _cord((20, 185))
    with pytest.warns(UserWarning, match="times that of PAM50"):
        _, table = levels(cord, _line(cord), _discs(cord, d3=180, d4=140, d5=100, d6=65))
    assert not table["trusted"].any()


def test_nothing_is_a_level_below_the_conus():
    cord = _cord((0, 200))
    painted, table = levels(cord, _line(cord), _discs(cord, d18=180, d19=149, d20=118, d21=85, d60=60))
    assert not painted.data[:, :, :60].any() and painted.data[10, 22, 60] == 21
    assert _spans(table)[20] == (86, 118) and _spans(table)[21] == (60, 85)
    with pytest.warns(UserWarning, match="the conus is labelled above T10/T11"):
        painted, _ = levels(cord, _line(cord), _discs(cord, d18=120, d19=90, d60=160))
    assert not painted.data.any()


def test_no_discs_no_levels_and_no_warning():
    cord = _cord()
    painted, table = levels(cord, _line(cord), Volume(np.zeros(cord.grid.shape, np.int16), cord.grid))
    assert not painted.data.any() and len(table) == 0
    pmj_only = create(cord, labels="10,30,190,50")
    assert not levels(cord, _line(cord), pmj_only)[0].data.any()


def test_one_label_is_enough_for_its_neighbours():
    cord = _cord((100, 190))
    _, table = levels(cord, _line(cord), _discs(cord, d5=150))
    assert set(_spans(table)) == {4, 5}


@pytest.mark.filterwarnings("ignore:levels that are not trusted")
@pytest.mark.parametrize("codes", ["PSR", "RAI"])
def test_any_order_of_axes_and_oblique(codes):
    one = spine(length=150, above=30)
    drawn = np.zeros(one.image.grid.shape, np.int16)
    back = np.linalg.inv(one.image.grid.matrix)
    for number, place in one.tips.items():
        drawn[tuple(np.rint(back[:3, :3] @ place + back[:3, 3]).astype(int))] = number
    discs = Volume(drawn, one.image.grid)
    painted, table = levels(one.cord, centerline_of(one.cord), discs)
    cord = laid(one.cord, codes, 17)
    other, same = levels(cord, centerline_of(cord), laid(discs, codes, 17))
    assert np.array_equal(other.data, laid(painted, codes).data) and _spans(table) == _spans(same)


def test_a_tilted_cord_takes_the_nearest_point_not_the_same_slice():
    grid = Grid.of((10, 120, 100), np.diag([-1.0, 1, 1, 1]))
    line = Table.of({"slice": np.arange(100), "x": np.full(100, 5.0), "y": 10 + 0.8 * np.arange(100)})
    data = np.zeros(grid.shape, np.float32)
    for z, y in zip(line["slice"], line["y"], strict=True):
        data[3:8, int(y) - 2 : int(y) + 3, z] = 1
    cord = Volume(data, grid)
    # 12 mm square to the line from its points at slices 60 and 43
    across = np.array([1.0, -0.8]) / np.hypot(1, 0.8) * 12
    places = [(10 + 0.8 * z + across[0], z + across[1], n) for z, n in ((60, 3), (43, 4))]
    discs = create(cord, labels=":".join(f"5,{round(y)},{round(z)},{n}" for y, z, n in places))
    _, table = levels(cord, line, discs)
    low, high = _spans(table)[3]
    assert abs(high - 60) <= 1 and abs(low - 44) <= 1


@pytest.mark.parametrize(("knob", "value"), [("farthest", 0), ("least", -1), ("least", 2), ("most", 0.5)])
def test_wrong_knobs_are_refused(knob, value):
    cord = _cord()
    with pytest.raises(ValueError, match=knob):
        levels(cord, _line(cord), _discs(cord, **NECK), **{knob: value})


def test_another_grid_is_refused():
    cord = _cord()
    with pytest.raises(ValueError, match="two grids"):
        levels(cord, _line(cord), Volume(np.zeros((4, 4, 4), np.int16), Grid.of((4, 4, 4), np.eye(4))))


def test_levels_with_a_fraction():
    cord = _cord((90, 185))
    _, table = levels(cord, _line(cord), _discs(cord, **NECK))
    along = continuous_levels(cord, table).data[10, 22]
    assert along[180] == pytest.approx(3, abs=1e-4) and along[161] == pytest.approx(4, abs=1e-4)
    assert along[152] == pytest.approx(4.5, abs=0.03)
    assert (np.diff(along[90:185]) < 0).all() and not along[:90].any()
    assert not continuous_levels(cord, table.where(np.zeros(len(table), bool))).data.any()


def _load(path):
    nibabel = pytest.importorskip("nibabel")
    if not (SHARED / path).exists():
        pytest.skip(f"{path} is not beside the checkout")
    image = nibabel.load(SHARED / path)
    return Volume(np.asarray(image.dataobj).astype(np.float32), Grid.of(image.shape, image.affine))


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:levels that are not trusted")
def test_the_template_has_its_own_levels():
    cord = _load("resources/PAM50/template/PAM50_cord.nii.gz")
    discs = _load("resources/PAM50/template/PAM50_label_disc.nii.gz")
    painted, _ = levels(cord, centerline_of(cord), discs)
    own = _load("resources/PAM50/template/PAM50_levels.nii.gz")
    both = (painted.data > 0) & (own.data > 0)
    assert (
        np.mean(painted.data[both] == own.data[both]) > 0.97
    )  # a slice at each disc: PAM50 gives it to the vertebra above
    for level in range(2, 20):
        slices = np.flatnonzero((painted.data == level).any(axis=(0, 1)))
        assert abs(slices[-1] - PAM50_DISCS[level]) <= 1 and abs(slices[0] - PAM50_DISCS[level + 1] - 1) <= 1


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:levels that are not trusted")
def test_same_slices_as_the_spinal_cord_toolbox():
    """sct-outputs/ps_t2_disc_perlevel: C2 45:54, C3 from 44 down, C5 0:9; the toolbox calls all between C3, without C4."""
    cord, discs = (_load(f"cord/sct-testing/t2/{name}.nii.gz") for name in ("t2_seg-manual", "labels"))
    _, table = levels(cord, centerline_of(cord), discs)
    spans = _spans(table)
    assert spans[2] == (45, 54) and spans[3][1] == 44 and spans[5] == (0, 9)
    assert not [row["trusted"] for row in table.rows() if row["name"] in ("C3", "C4")][0]
    assert points_of(discs)["value"].tolist() == [3, 5]
