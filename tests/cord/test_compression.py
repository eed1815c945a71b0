import numpy as np
import pytest
from cord import golden
from documented import check_documented

from neuraxis.cord.centerline import bspline
from neuraxis.cord.compression import METRICS, compression_ratio, compression_ratios, compression_risk
from neuraxis.cord.normative import _healthy
from neuraxis.cord.pam50 import shape_pam50
from neuraxis.cord.shape import shape
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

LEVELS = {5: (0, 19), 4: (20, 39), 3: (40, 59), 2: (60, 79), 1: (80, 99)}


def _line(count=100, step=1.0):
    return Table.of(
        {"slice": np.arange(count), "arc_mm": step * np.arange(count), "dx": np.zeros(count), "dy": np.zeros(count)}
    )


def _table(diameter, count=100):
    """A cord with the diameter given by a function of the slice."""
    z = np.arange(count)
    level = np.full(count, np.nan)
    for one, (first, last) in LEVELS.items():
        level[(z >= first) & (z <= last)] = one
    values = np.array([float(diameter(one)) for one in z])
    return Table.of(
        {
            "slice": z,
            "level": level,
            "area": 10 * values,
            "diameter_AP": values,
            "diameter_AP_ellipse": values,
            "diameter_RL": 20 - values,
            "eccentricity": np.full(count, 0.8),
            "solidity": np.full(count, 0.95),
            "length": np.ones(count),
        }
    )


def _marks(*slices, count=100, codes="LAS"):
    data = np.zeros((5, 6, count), np.uint8)
    data[2, 3, list(slices)] = 1
    return Volume(data, Grid.of(data.shape, np.diag([-1, 1, 1, 1]))).oriented(codes)


def _row(found, metric="diameter_AP", number=0):
    return [row for row in found.rows() if row["metric"] == metric][number]


def test_documented():
    check_documented(compression_ratios)
    check_documented(compression_risk)


def test_the_formula():
    assert compression_ratio(6.85, 7.65, 7.02) == pytest.approx(6.612133606, abs=1e-9)
    assert compression_ratio(6.0, 8.0, np.nan) == pytest.approx(25)
    assert np.isnan(compression_ratio(6.0, np.nan, np.nan)) and np.isnan(compression_ratio(np.nan, 8.0, 8.0))


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RAI"])
@pytest.mark.parametrize("step", [1.0, 1.25])
def test_references_lie_where_they_should(codes, step):
    found = compression_ratios(_table(lambda z: z), _line(step=step), _marks(50, codes=codes), distance=10, extent=20)
    row, near, far = _row(found), round(10 / step), round(30 / step)
    assert row["slice"] == 50 and row["value"] == 50 and row["level"] == 3 and row["name"] == "C3"
    assert row["reference_above"] == np.arange(50 + near, 50 + far).mean()
    assert row["reference_below"] == np.arange(50 - far, 50 - near).mean()
    assert [r["metric"] for r in found.rows()] == list(METRICS)


def test_ratio_of_every_metric():
    found = compression_ratios(_table(lambda z: 6.0 if z == 50 else 8.0), _line(), _marks(50))
    ratios = {row["metric"]: row["ratio"] for row in found.rows()}
    assert ratios["diameter_AP"] == pytest.approx(25) and ratios["area"] == pytest.approx(25)
    assert ratios["diameter_RL"] == pytest.approx(100 * (1 - 14 / 12)) and ratios["solidity"] == pytest.approx(0)
    assert not any(row["why"].startswith("no reference") for row in found.rows())


def test_several_compressions_share_the_outer_references():
    table = _table(lambda z: {45: 4.0, 55: 6.0}.get(z, 10.0 if z > 55 else 7.0 if z > 45 else 8.0))
    found = compression_ratios(table, _line(), _marks(45, 55), distance=5, extent=10)
    first, second = _row(found), _row(found, number=1)
    assert (first["slice"], second["slice"]) == (45, 55)
    for row in (first, second):
        assert row["reference_above"] == 10 and row["reference_below"] == 8
    assert first["ratio"] == pytest.approx(100 * (1 - 4 / 9)) and second["ratio"] == pytest.approx(100 * (1 - 6 / 9))


def test_neighbouring_slices_are_one_compression():
    table = _table(lambda z: {49: 4.0, 50: 5.0, 51: 6.0}.get(z, 10.0))
    found = compression_ratios(table, _line(), _marks(49, 50, 51))
    assert len(found) == len(METRICS) and _row(found)["slice"] == 50 and _row(found)["ratio"] == pytest.approx(50)


def test_a_missing_side_is_said():
    table = _table(lambda z: 6.0 if z == 95 else 8.0)
    row = _row(compression_ratios(table, _line(), _marks(95)))
    assert row["ratio"] == pytest.approx(25) and np.isnan(row["reference_above"])
    assert row["why"].startswith("no reference above")
    row = _row(compression_ratios(table, _line(), _marks(95), distance=98.0))
    assert np.isnan(row["ratio"]) and "no cord above or below" in row["why"]
    row = _row(compression_ratios(table, _line(), _marks(80), distance=10, extent=30))
    assert row["reference_above"] == pytest.approx(7.8) and row["why"].startswith("reference above is 10 mm long")


def test_nothing_marked_is_an_empty_table():
    found = compression_ratios(_table(lambda z: 8.0), _line(), _marks())
    assert len(found) == 0 and "ratio" in found


def test_a_mark_outside_the_cord_is_said():
    table = _table(lambda z: 8.0)
    row = _row(compression_ratios(table.where(table["slice"] < 60), _line(60), _marks(90)))
    assert np.isnan(row["ratio"]) and row["why"].startswith("the cord has no shape in slice 90")


@pytest.mark.parametrize("knobs", [{"distance": -1.0}, {"extent": 0.0}])
def test_bad_knobs(knobs):
    with pytest.raises(ValueError, match="mm"):
        compression_ratios(_table(lambda z: 8.0), _line(), _marks(50), **knobs)


def test_normalising_takes_out_the_healthy_curve():
    """A cord that is 3/4 of healthy in one place and healthy elsewhere has a ratio of 25 %, though its curve is not flat."""
    table = _table(lambda z: 8.0)
    template = shape_pam50(table)
    healthy = _healthy()["M", "all"]
    curve = np.interp(template["slice"], healthy["slice"], healthy["diameter_AP_mean"])
    narrow = np.rint(template["slice_image"]) == 50
    template = Table.of({**template.columns, "diameter_AP": np.where(narrow, 0.75, 1.0) * curve})
    row = _row(compression_ratios(table, _line(), _marks(50), template, "M"))
    assert row["ratio_pam50_normalised"] == pytest.approx(25, abs=1e-9) and row["stratum"] == "men, all ages"
    assert abs(row["ratio_pam50"] - 25) > 0.5
    without = _row(compression_ratios(table, _line(), _marks(50)))
    assert np.isnan(without["ratio_pam50"]) and without["why"] == "no vertebral levels, so no PAM50"


def _risk_table(orientation=None, count=40, **values):
    made = {"area": 78.5, "diameter_AP": 7.84, "diameter_RL": 12.5, "solidity": 0.969} | values
    turns = np.zeros(count) if orientation is None else orientation
    return Table.of(
        {"slice": np.arange(count), "orientation": turns, **{n: np.full(count, v) for n, v in made.items()}}
    )


def _discs(places, count=40):
    data = np.zeros((4, 5, count), np.int16)
    for disc, z in places.items():
        data[1, 2, z] = disc
    return Volume(data, Grid.of(data.shape, np.diag([-1, 1, 1, 1])))


def test_risk_follows_the_model():
    turns = 1.5 * (np.arange(40) % 2)
    found = list(compression_risk(_risk_table(turns), _discs({3: 30, 4: 20, 7: 10})).rows())
    assert [(r["disc"], r["name"], r["slice"]) for r in found] == [(4, "C3/C4", 20), (7, "C6/C7", 10)]
    score = 57.501 - 0.273 * 100 * 7.84 / 12.5 - 0.102 * 78.5 - 0.408 * 96.9 + 2.168 * 1.5
    assert found[0]["torsion"] == pytest.approx(1.5)
    assert found[0]["probability"] == pytest.approx(1 / (1 + np.exp(-score)))
    assert found[1]["probability"] == pytest.approx(1 / (1 + np.exp(-(score - 2.729))))
    assert found[0]["category"] == "no"


def test_risk_categories():
    for area, category in ((50.0, "yes"), (4.905 / 0.102, "possible"), (90.0, "no")):
        base = dict(diameter_AP=6.0, diameter_RL=12.0, solidity=0.95)
        level = 57.501 - 0.273 * 50 - 0.408 * 95
        if category == "possible":
            area = (level - np.log(0.4 / 0.6)) / 0.102
        found = compression_risk(_risk_table(area=area, **base), _discs({5: 20}))
        assert found["category"][0] == category
    assert len(compression_risk(_risk_table(), _discs({}))) == 0


def test_torsion_is_dropped_at_the_ends_and_turns_are_the_shorter_way():
    found = compression_risk(_risk_table(), _discs({4: 38}))
    assert np.isnan(found["torsion"][0]) and "too low" in found["why"][0] and np.isfinite(found["probability"][0])
    turns = np.where(np.arange(40) % 2, 89.0, -89.0)
    assert compression_risk(_risk_table(turns), _discs({4: 20}))["torsion"][0] == pytest.approx(2)


def test_more_slices_around_a_disc():
    found = compression_risk(_risk_table(), _discs({4: 20}), slices=2)
    assert found["slice"].tolist() == [18, 19, 20, 21, 22]
    missing = compression_risk(_risk_table(count=10), _discs({4: 20}))
    assert np.isnan(missing["probability"][0]) and missing["category"][0] == "" and "no shape" in missing["why"][0]
    with pytest.raises(ValueError, match="slices"):
        compression_risk(_risk_table(), _discs({4: 20}), slices=-1)


@pytest.mark.shared
def test_golden_ratio_of_the_formula_on_the_other_programs_shape():
    table, cord = golden.labelled_shape(), golden.volume(golden.T2 / "t2_seg-manual.nii.gz")
    upright = cord.oriented("LAS")
    marks = np.zeros(upright.data.shape, np.uint8)
    marks[30, 25, 27] = 1
    found = compression_ratios(
        table, bspline(cord), Volume(marks, upright.grid), shape_pam50(table), distance=5, extent=10
    )
    row, expected = _row(found), golden.rows("comp_nohc/comp.csv")[0]
    assert row["slice"] == int(expected["Slice (I->S)"]) and row["level"] == float(expected["compression_level"])
    assert row["ratio"] == pytest.approx(float(expected["diameter_AP_ratio"]), abs=1e-9)
    assert row["ratio_pam50"] == pytest.approx(-5.8420, abs=1e-4)
    assert row["ratio_pam50_normalised"] == pytest.approx(-5.9171, abs=1e-3)


@pytest.mark.shared
def test_golden_ratio_and_risk_with_our_own_shape():
    cord = golden.volume(golden.T2 / "t2_seg-manual.nii.gz")
    line = bspline(cord)
    table = shape(cord, line, golden.volume(golden.T2 / "t2_seg-manual_labeled.nii.gz"))
    grid = cord.oriented("LAS").grid
    marks = np.zeros(grid.shape, np.int16)
    marks[30, 25, 27] = 1
    found = compression_ratios(table, line, Volume(marks, grid), shape_pam50(table), distance=5, extent=10)
    row = _row(found)
    assert row["ratio"] == pytest.approx(-6.1516, abs=0.1) and row["ratio_pam50"] == pytest.approx(-5.8420, abs=0.1)
    assert row["ratio_pam50_normalised"] == pytest.approx(-5.9171, abs=0.1)
    marks[:], marks[30, 25, 9] = 0, 4
    exact = compression_risk(golden.labelled_shape(), Volume(marks, grid))
    assert exact["area"][0] == pytest.approx(78.532, abs=1e-3)
    assert exact["probability"][0] == pytest.approx(0.01101889, abs=1e-7)
    assert compression_risk(table, Volume(marks, grid))["probability"][0] == pytest.approx(0.011, abs=0.003)
