import numpy as np
import pytest
from cord import golden
from documented import check_documented

from neuraxis.cord.pam50 import shape_pam50
from neuraxis.cord.vertebrae import PAM50_LEVELS
from neuraxis.table import Table


def _shape(spans, area=None, length=1.0):
    """{level: (first, last)} -> a table of shape with one row per slice."""
    slices = np.arange(min(a for a, _ in spans.values()), max(b for _, b in spans.values()) + 1)
    level = np.full(len(slices), np.nan)
    for one, (first, last) in spans.items():
        level[(slices >= first) & (slices <= last)] = one
    values = slices.astype(float) if area is None else area(slices)
    return Table.of(
        {
            "slice": slices,
            "level": level,
            "distance_pmj": np.full(len(slices), 3.0),
            "area": values,
            "length": np.full(len(slices), length),
            "components": np.ones(len(slices), int),
            "trusted": np.ones(len(slices), int),
            "why": np.array([""] * len(slices)),
        }
    )


THREE = {5: (0, 9), 4: (10, 29), 3: (30, 44), 2: (45, 52)}


def test_documented():
    check_documented(shape_pam50)


def test_inner_levels_fill_their_slices_and_outer_ones_keep_the_mean_scale():
    found = shape_pam50(_shape(THREE))
    assert set(found.columns) == {"slice", "level", "slice_image", "area", "trusted"}
    assert (np.diff(found["slice"]) > 0).all()
    for level in (3, 4):
        first, last = PAM50_LEVELS[level]
        rows = found["level"] == level
        assert found["slice"][rows].tolist() == list(range(first, last + 1))
        low, high = THREE[level]
        assert found["area"][rows] == pytest.approx(np.linspace(low, high, last - first + 1))
    factor = (37 / 20 + 37 / 15) / 2
    bottom = found.where(found["level"] == 5)
    assert len(bottom) == int(factor * 10) and bottom["slice"][-1] == PAM50_LEVELS[5][1]
    assert bottom["area"][0] == 0 and bottom["area"][-1] == 9
    top = found.where(found["level"] == 2)
    assert len(top) == int(factor * 8) and top["slice"][0] == PAM50_LEVELS[2][0]
    assert found["area"] == pytest.approx(found["slice_image"])


def test_an_outer_level_never_leaves_its_slices():
    found = shape_pam50(_shape({5: (0, 60), 4: (61, 70), 3: (71, 80), 2: (81, 140)}))
    for level in (2, 5):
        first, last = PAM50_LEVELS[level]
        rows = found["slice"][found["level"] == level]
        assert rows.min() == first and rows.max() == last


def test_no_level_is_an_empty_table_and_a_warning():
    shape = _shape(THREE)
    nothing = Table.of({**shape.columns, "level": np.full(len(shape), np.nan)})
    with pytest.warns(UserWarning, match="no vertebral level"):
        found = shape_pam50(nothing)
    assert len(found) == 0 and "area" in found and "slice" in found
    with pytest.raises(ValueError, match="slice and level"):
        shape_pam50(Table.of({"slice": [1]}))


def test_few_levels_are_said():
    with pytest.warns(UserWarning, match="only C3"):
        one = shape_pam50(_shape({3: (4, 20)}))
    assert one["slice"].tolist() == list(range(871, 908)) and one["area"][[0, -1]].tolist() == [4, 20]
    with pytest.warns(UserWarning, match="only two levels"):
        two = shape_pam50(_shape({4: (0, 9), 3: (10, 19)}, length=1.5))
    assert (two["level"] == 4).sum() == 30 and two["slice"][two["level"] == 4].max() == 870
    assert two["slice"][two["level"] == 3].tolist() == list(range(871, 901))
    with pytest.warns(UserWarning, match="PAM50 ends above L2, L4"):
        shape_pam50(_shape({23: (0, 3), 21: (4, 9), 20: (10, 20), 19: (21, 40), 18: (41, 60)}))


def test_missing_and_mistrusted_slices_stay_so():
    shape = _shape(THREE, area=lambda z: np.where(z == 20, np.nan, 70.0))
    trusted = shape["trusted"].copy()
    trusted[20] = 0
    found = shape_pam50(Table.of({**shape.columns, "trusted": trusted}))
    near = np.abs(found["slice_image"] - 20) < 0.9
    assert np.isnan(found["area"][near]).all() and (found["trusted"][near] == 0).all()
    far = np.abs(found["slice_image"] - 20) >= 1
    assert (found["area"][far] == 70).all() and (found["trusted"][far] == 1).all()


def test_a_level_in_doubt_stays_so_unless_only_its_open_end_is_unknown():
    table = {"level": [2, 3, 4, 5], "trusted": [0, 1, 0, 0]}
    end = "is not labelled: ends at its usual height"
    table["why"] = [f"C1/C2 {end}", "", "1.90 times the height expected", f"C6/C7 {end}"]
    found = shape_pam50(_shape(THREE), Table.of(table))
    assert set(found["level"][found["trusted"] == 0].tolist()) == {4} and set(found["level"].tolist()) == {2, 3, 4, 5}
    assert (found["trusted"][found["level"] == 4] == 0).all()


@pytest.mark.shared
def test_golden():
    expected = golden.shape_table("ps_t2_pam50/csa.csv")
    found = shape_pam50(golden.labelled_shape())
    assert found["slice"].tolist() == expected["slice"].tolist()
    assert found["level"].tolist() == expected["level"].tolist()
    for name in found.columns:
        if name in expected and name not in ("slice", "level"):
            assert found[name] == pytest.approx(expected[name], abs=1e-9), name
    at = {int(z): area for z, area in zip(found["slice"], found["area"], strict=True)}
    assert at[833] == pytest.approx(71.16703, abs=1e-4)
