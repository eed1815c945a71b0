from __future__ import annotations

import numpy as np
import pytest
from cord.extraction.tract_phantom import SLICES, TRUTH, atlas, grid, levels, mixed
from documented import check_documented

from neuraxis.cord.extraction.groups import slice_levels
from neuraxis.cord.extraction.tract_metrics import tract_metrics
from neuraxis.cord.tracts import NUMBERS, members
from neuraxis.engine import Family, Pipeline, Step, make_plan
from neuraxis.pipelines import CORD_ANAT, _tracts
from neuraxis.signature import Method
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

NUMERIC = ("size", "volume", "fraction", "wa", "bin", "median", "max", "ml", "map", "sd", "ml_error", "map_error")


def _rows(table: Table) -> dict[tuple, dict]:
    return {(row["metric"], row["group"], row["level"], row["region"]): row for row in table.rows()}


def _slices(table: Table) -> dict[tuple, dict]:
    return {(row["metric"], row["slice"], row["region"]): row for row in table.rows()}


def test_documented():
    check_documented(tract_metrics)


def test_a_cord_without_noise():
    shares = atlas()
    table, single = tract_metrics(shares, levels(), fa=mixed(shares), ranges="4:5")
    rows, slices = _rows(table), _slices(single)
    groups = [("cord", "all"), ("level", "4"), ("level", "5"), ("range", "4:5")]
    assert list(rows) == [("fa", *group, number) for group in groups for number in NUMBERS]
    found = {name: np.array([row[name] for row in rows.values()]).reshape(4, -1) for name in NUMERIC}
    assert found["ml"][:, :37] == pytest.approx(np.tile(TRUTH, (4, 1)), abs=1e-6)
    weights = shares.data.astype(float) @ members()
    assert found["size"][0] == pytest.approx(weights.sum((0, 1, 2)))
    assert found["fraction"][0] == pytest.approx((weights**2).sum((0, 1, 2)) / weights.sum((0, 1, 2)))
    assert found["size"][1] + found["size"][2] == pytest.approx(found["size"][0])
    for name in NUMERIC:
        assert found[name][3] == pytest.approx(found[name][0])
    assert rows["fa", "level", "4", 51]["slices"] == "2:3" and rows["fa", "level", "4", 51]["name"] == "C4"
    assert rows["fa", "range", "4:5", 0]["name"] == "C4-C5" and rows["fa", "cord", "all", 55]["region_name"] == "ventral funiculi"
    assert rows["fa", "cord", "all", 51]["map"] == pytest.approx(TRUTH[:30].mean(), abs=0.05)
    assert rows["fa", "cord", "all", 51]["bin"] < TRUTH[:30].mean() - 0.5
    assert {key[1] for key in slices} == set(range(SLICES)) and slices["fa", 0, 3]["level"] == 5
    assert slices["fa", 2, 36]["ml"] == pytest.approx(5, abs=1e-6)
    one = weights[:, :, 1, 40]
    values = mixed(shares).data[:, :, 1]
    assert slices["fa", 1, 53]["wa"] == pytest.approx((one * values).sum() / one.sum())


def test_every_map_has_its_own_rows_and_the_inputs_stay():
    shares, level = atlas(), levels()
    maps = {name: mixed(shares, TRUTH * scale, 0.1) for name, scale in (("fa", 0.01), ("md", 2e-5), ("chi", -1.0))}
    before = [one.data.copy() for one in (shares, level, *maps.values())]
    table, _ = tract_metrics(shares, level, **maps)
    for now, then in zip((shares, level, *maps.values()), before, strict=True):
        assert np.array_equal(now.data, then)
    assert list(dict.fromkeys(table["metric"].tolist())) == ["fa", "md", "chi"]
    alone, _ = tract_metrics(shares, level, chi=maps["chi"])
    together = table.where(table["metric"] == "chi")
    assert all(np.array_equal(alone[name], together[name], equal_nan=alone[name].dtype.kind == "f") for name in alone.columns)


@pytest.mark.parametrize("codes", ["RAS", "PSR", "SLA", "IRP"])
def test_orientation_and_shape_of_voxels_do_not_matter(codes):
    plain, turned = {}, {}
    for voxel, into in (((1.0, 1.0, 1.0), plain), ((0.5, 0.8, 5.0), turned)):
        shares, level = atlas(voxel), levels(voxel)
        maps = [shares, level, mixed(shares, noise=2.0)]
        into["tables"] = tract_metrics(*(maps[:2] if into is plain else [one.oriented(codes) for one in maps[:2]]),
                                       mtr=maps[2] if into is plain else maps[2].oriented(codes))  # fmt: skip
    for one, other in zip(plain["tables"], turned["tables"], strict=True):
        for name in one.columns:
            if one[name].dtype.kind == "U":
                assert one[name].tolist() == other[name].tolist()
            elif name == "volume":
                assert other[name] == pytest.approx(one[name] * 0.5 * 0.8 * 5.0)
            else:
                assert other[name] == pytest.approx(one[name], rel=1e-6, nan_ok=True)


def test_voxels_that_are_no_number_are_left_out_and_counted():
    shares = atlas()
    data = mixed(shares).data.copy()
    holes = np.zeros(data.shape, bool)
    holes[::3, 1::4] = True
    data[holes] = np.nan
    data[9, 9, 2] = -np.inf
    holes[9, 9, 2] = True
    rows = _rows(tract_metrics(shares, fa=Volume(data, shares.grid))[0])
    for number in range(37):
        row = rows["fa", "cord", "all", number]
        assert row["ml"] == pytest.approx(TRUTH[number], abs=1e-6)
        assert row["left_out"] == (shares.data[..., number] > 0)[holes].sum()
        assert row["size"] == pytest.approx(shares.data[..., number][~holes].sum(), rel=1e-6)


def test_zeros_of_a_computed_map_are_not_known_and_those_of_an_image_are():
    """A map fitted only where more than half is cord, zero outside."""
    shares = atlas()
    data = np.where(shares.data[..., :36].sum(3) > 0.5, mixed(shares).data, 0)
    fa = Volume(data, shares.grid)
    rows = _rows(tract_metrics(shares, fa=fa, least_voxels=0)[0])
    for number in range(36):
        row = rows["fa", "cord", "all", number]
        assert row["ml"] == pytest.approx(TRUTH[number], abs=1e-6)
        assert row["left_out"] == ((data == 0) & (shares.data[..., number] > 0)).sum()
    fluid = rows["fa", "cord", "all", 36]
    assert not fluid["trusted"] and "not known in a part" in fluid["why"]
    biased = _rows(tract_metrics(shares, image=fa)[0])
    same = _rows(tract_metrics(shares, fa=fa, zeros="values")[0])
    for column in ("wa", "ml", "map", "size"):
        assert biased["image", "cord", "all", 5][column] == same["fa", "cord", "all", 5][column]
    assert same["fa", "cord", "all", 5]["wa"] < rows["fa", "cord", "all", 5]["wa"] - 1 and same["fa", "cord", "all", 5]["left_out"] == 0
    assert same["fa", "cord", "all", 36]["ml"] < TRUTH[36] - 2 and fluid["ml"] == pytest.approx(TRUTH[36], abs=1e-6)


def test_a_region_where_the_map_is_not_known_says_so():
    shares = atlas()
    data = mixed(shares).data.copy()
    data[shares.data[..., 2] > 0] = np.nan
    data[(shares.data[..., 20] > 0) & (np.arange(SLICES) == 0)] = np.nan
    rows = _rows(tract_metrics(shares, fa=Volume(data, shares.grid), least_voxels=0)[0])
    gone, part = rows["fa", "cord", "all", 2], rows["fa", "cord", "all", 20]
    assert gone["size"] == 0 and np.isnan([gone["wa"], gone["ml"], gone["map"], gone["max"], gone["median"]]).all()
    assert gone["trusted"] == 0 and gone["why"] == "the map is not known in it" and gone["left_out"] > 0
    assert part["trusted"] == 0 and "not known in a part" in part["why"] and part["ml"] == pytest.approx(TRUTH[20], abs=1e-6)
    loose = _rows(tract_metrics(shares, fa=Volume(data, shares.grid), least_voxels=0, least_known=0.5)[0])
    assert loose["fa", "cord", "all", 20]["trusted"] == 1


def test_a_map_that_is_known_nowhere():
    shares = atlas()
    table, single = tract_metrics(shares, fa=Volume(np.full(shares.data.shape[:3], np.nan), shares.grid))
    assert set(table["trusted"]) == {0} and set(table["why"]) == {"the map is not known in it"} and len(single) == 0


def test_regions_beyond_the_image_are_empty_and_the_others_right():
    """The image ends in the middle of the cord."""
    whole = atlas()
    affine = whole.grid.matrix.copy()
    shares = Volume(whole.data[:10], Grid.of((10, *whole.data.shape[1:3]), affine))
    table, single = tract_metrics(shares, fa=mixed(shares))
    rows = _rows(table)
    empty = [number for number in range(37) if not shares.data[..., number].any()]
    assert len(empty) > 8 and not {number for _, _, number in _slices(single)} & set(empty)
    for number in range(37):
        row = rows["fa", "cord", "all", number]
        if number in empty:
            assert row["size"] == 0 and np.isnan(row["ml"]) and row["why"] == "not in the image" and not row["trusted"]
        elif row["trusted"]:
            assert row["ml"] == pytest.approx(TRUTH[number], abs=1e-6)


def test_an_empty_atlas_has_rows_of_size_zero():
    shares = Volume(np.zeros_like(atlas().data), grid())
    table, single = tract_metrics(shares, levels(), fa=mixed(atlas()))
    assert len(table) == 43 and not table["size"].any() and set(table["why"]) == {"not in the image"} and len(single) == 0
    assert set(single.columns) >= {"slice", "map", "why"}


def test_what_cannot_be_told_apart_is_flagged_not_hidden():
    shares = atlas()
    data = shares.data.copy()
    both = data[..., 8] + data[..., 9]
    data[..., 8], data[..., 9] = both / 2, both / 2
    rows = _rows(tract_metrics(Volume(data, shares.grid), fa=mixed(shares), least_voxels=0)[0])
    for number in (8, 9):
        row = rows["fa", "cord", "all", number]
        assert not row["trusted"] and row["why"] == "ml is not determined by these voxels" and np.isfinite(row["ml"])
        assert row["map"] == pytest.approx(TRUTH[[8, 9]].mean(), abs=0.2)
    assert rows["fa", "cord", "all", 7]["trusted"] == 1
    assert rows["fa", "cord", "all", 54]["trusted"] == 1  # the funiculus has both in it


def test_neighbours_hard_to_tell_apart_are_judged_by_the_knob():
    shares = atlas()
    data = shares.data.copy()
    data[..., 8], data[..., 9] = 0.55 * data[..., 8] + 0.45 * data[..., 9], 0.45 * data[..., 8] + 0.55 * data[..., 9]
    said = []
    for most in (10.0, 1e6):
        rows = _rows(tract_metrics(Volume(data, shares.grid), fa=mixed(shares), least_voxels=0, most_inflation=most)[0])
        said.append(rows["fa", "cord", "all", 8]["why"])
    assert said == ["ml hardly tells it from its neighbours", ""]


def test_small_regions_are_flagged():
    shares = atlas()
    rows = _rows(tract_metrics(shares, fa=mixed(shares), least_voxels=40)[0])
    row = rows["fa", "cord", "all", 0]
    assert row["why"] == "few voxels" and not row["trusted"] and row["ml"] == pytest.approx(TRUTH[0], abs=1e-6)
    assert rows["fa", "cord", "all", 51]["trusted"] == 1


def test_variances_draw_towards_the_tissue_or_let_go():
    shares = atlas()
    made = {}
    for ratio in (1e-6, 1.0, 1e6):
        rows = _rows(tract_metrics(shares, fa=mixed(shares, noise=3.0), noise_variance=ratio)[0])
        made[ratio] = np.array([[rows["fa", "cord", "all", n][name] for name in ("ml", "map")] for n in range(30)])
    assert made[1e-6][:, 1] == pytest.approx(made[1e-6][:, 0], abs=1e-4)
    assert np.ptp(made[1e6][:, 1]) < 1e-3 < np.ptp(made[1.0][:, 1]) < np.ptp(made[1.0][:, 0])
    other = _rows(tract_metrics(shares, fa=mixed(shares, noise=3.0), label_variance=1e-6)[0])
    assert other["fa", "cord", "all", 3]["map"] == pytest.approx(made[1e6][3, 1])


def test_what_is_combined_is_one_column():
    """Dorsal columns as one: the least squares of them and the other regions one by one."""
    shares = atlas()
    fa = mixed(shares, noise=2.0)
    row = _rows(tract_metrics(shares, fa=fa)[0])["fa", "cord", "all", 53]
    weights = shares.data.reshape(-1, 37).astype(float)
    plain = np.linalg.lstsq(np.column_stack([weights[:, :4].sum(1), weights[:, 4:]]), np.where(weights.any(1), fa.data.ravel(), 0))[0]
    assert row["ml"] == pytest.approx(plain[0])


def test_the_median_can_be_free_of_the_surroundings():
    shares = atlas()
    values = mixed(shares, noise=2.0).data
    around = values.copy()
    around[~shares.data.any(axis=3)] = np.random.default_rng(5).uniform(0, 60, (~shares.data.any(axis=3)).sum())
    found = {}
    for points in ("slices", "region"):
        found[points] = [
            tract_metrics(shares, fa=Volume(one, shares.grid), median_points=points)[0]["median"] for one in (values, around)
        ]
    assert np.array_equal(*found["region"]) and not np.array_equal(*found["slices"])
    assert found["slices"][1] == pytest.approx(found["region"][1], abs=3)


def test_levels_are_the_rounded_mean_of_a_slice():
    data = np.zeros((3, 3, 4))
    data[0, 0, 0], data[:2, 0, 1], data[2, 2, 2] = 5, (4, 5), np.nan
    data[:, 1, 1] = 5
    assert slice_levels(data).tolist() == [5, 5, 0, 0]


def test_levels_in_doubt_are_told():
    shares = atlas()
    table = Table.of({"level": [4, 5], "trusted": [1, 0], "why": ["", "a disc is missing"]})
    rows = _rows(tract_metrics(shares, levels(), table, fa=mixed(shares), ranges="4:5,4", least_voxels=0)[0])
    said = {key[1:3]: row["why"] for key, row in rows.items() if key[3] == 51}
    assert said == {
        ("cord", "all"): "", ("level", "4"): "", ("level", "5"): "C5: a disc is missing", ("range", "4:5"): "C5: a disc is missing",
        ("range", "4:4"): "",
    }  # fmt: skip


def test_without_levels_there_is_the_whole_cord_and_its_slices():
    shares = atlas()
    table, single = tract_metrics(shares, image=Volume((100 * mixed(shares).data).astype(np.int16), shares.grid))
    assert set(table["group"]) == {"cord"} and np.isnan(single["level"]).all()
    assert table["ml"][0] == pytest.approx(100 * TRUTH[0], abs=2)


def test_a_range_out_of_view_is_a_warning():
    shares = atlas()
    with pytest.warns(UserWarning, match="no slice of C6"):
        table, _ = tract_metrics(shares, levels(), fa=mixed(shares), ranges="5:6")
    assert set(table["level"][table["group"] == "range"]) == {"5:6"}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"noise_variance": 0.0}, "noise_variance"), ({"label_variance": -1.0}, "label_variance"), ({"least_voxels": -1.0}, "least_voxels"),
        ({"least_known": 1.5}, "least_known"), ({"most_inflation": 0.5}, "most_inflation"), ({"ranges": "3-5"}, "ranges"),
    ],
)  # fmt: skip
def test_knobs_outside_their_range(wrong, text):
    with pytest.raises(ValueError, match=text):
        tract_metrics(atlas(), fa=mixed(atlas()), **wrong)


def test_what_does_not_fit_together_is_refused():
    shares = atlas()
    fa, moved = mixed(shares), atlas((1.0, 1.0, 1.1))
    with pytest.raises(ValueError, match="no map"):
        tract_metrics(shares)
    for maps in ({"fa": mixed(moved)}, {"fa": fa, "levels": levels((1.0, 1.0, 1.1))}):
        with pytest.raises(ValueError, match="different grids"):
            tract_metrics(shares, **maps)
    for data, text in ((shares.data[..., :36], "37"), (100 * shares.data, "0 to 1"), (shares.data[..., 0], "four axes")):
        with pytest.raises(ValueError, match=text):
            tract_metrics(Volume(data, shares.grid), fa=fa)


def _ratio(mt_off: Volume, mt_on: Volume) -> Volume:
    """Makes a map."""
    return mt_off


def test_every_series_measures_its_own_maps_and_takes_the_others_where_they_are():
    made = Step(("mtr",), by=Family("ratio", "Ratio", (Method.of(_ratio),)))
    series = Pipeline("mt", "mt", ("mt_off", "mt_on", "tract_atlas", "levels", "level_table"), (made, _tracts("mtr")))
    series.check()
    given = dict.fromkeys(("mt_off", "mt_on", "tract_atlas"), "key")
    assert make_plan(series, {}, {}, given, ("tract_metrics",)).steps[1].takes == ("tract_atlas", "mtr")
    given.pop("tract_atlas")
    assert "tract_atlas" in make_plan(series, {}, {}, given, ("tract_metrics",)).missing["tract_metrics"]
    anatomy = make_plan(CORD_ANAT, {}, {}, {"image": "key", "tract_atlas": "key"}, ("tract_metrics",))
    step = next(one for one in anatomy.steps if "tract_metrics" in one.step.makes)
    assert step.fate == "run" and set(step.takes) == {"tract_atlas", "levels", "level_table", "image"}


def test_the_five_voxels_of_sct_s_own_test():
    """Its figures are asked for within 1 %: bin 36.66, ml 39.9, map 40.0; wa, max and median are exact."""
    data, shares = np.zeros((5, 1, 1), np.float32), np.zeros((5, 1, 1, 37), np.float32)
    data[:, 0, 0] = 19, 21, 30, 39, 41
    shares[:, 0, 0, 30] = 0, 0, 0.5, 1, 1  # one region of grey matter, and two of white matter, of which one is small
    shares[:, 0, 0, 0] = 0.9, 1, 0.5, 0, 0
    shares[:, 0, 0, 1] = 0.1, 0, 0, 0, 0
    grid = Grid.of((5, 1, 1), np.eye(4))
    table, _ = tract_metrics(Volume(shares, grid), image=Volume(data, grid), least_voxels=0)
    rows = {row["region"]: row for row in table.rows()}
    gray, white = rows[30], rows[51]
    assert gray["wa"] == pytest.approx(38.0) and gray["max"] == 41 and gray["median"] == pytest.approx(39.5)
    assert gray["bin"] == pytest.approx(36.66, rel=1e-3) and gray["ml"] == pytest.approx(39.9, rel=0.01)
    assert gray["map"] == pytest.approx(40.0, rel=0.01)
    assert white["wa"] == pytest.approx(22.0) and white["map"] == pytest.approx(20.0, rel=0.01)
