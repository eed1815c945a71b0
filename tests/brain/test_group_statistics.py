"""Effects over a cohort against numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from documented import check_documented
from scipy import stats

from neuraxis.artifacts import ARTIFACTS
from neuraxis.brain.group_statistics import region_models, region_outliers
from neuraxis.table import Table

RANDOM = np.random.default_rng(7)
BEGIN = RANDOM.bit_generator.state


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order():
    RANDOM.bit_generator.state = BEGIN


def _rows(values, region="putamen", hemisphere="LR", trusted=None, session="", **more):
    """A row per participant."""
    number = len(values)
    same = {"map": "chi", "unit": "ppm", "region": region, "hemisphere": hemisphere, "acquisition": "MEGRE", **more}
    return {
        "participant_id": np.array([f"sub-{n:02d}" for n in range(number)]),
        "session_id": np.full(number, session),
        "image": np.array([f"sub-{n:02d}_{session}MEGRE" for n in range(number)]),
        **{name: np.full(number, text) for name, text in same.items()},
        "mean": np.asarray(values, float),
        "trusted": np.ones(number, int) if trusted is None else np.asarray(trusted),
    }


def _table(*parts):
    return Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _only(table, **wanted):
    found = [row for row in table.rows() if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("method", [region_models, region_outliers])
def test_documented(method):
    check_documented(method)


def test_columns_stand_in_the_glossary():
    rows = _table(_rows(RANDOM.normal(size=8)))
    people = {f"sub-{n:02d}": {"age": 20.0 + n} for n in range(8)}
    assert set(region_models(rows, people).columns) == set(ARTIFACTS["region_models"].columns)
    assert set(region_outliers(rows).columns) == set(ARTIFACTS["region_outliers"].columns)
    nothing = region_models(rows, {})
    assert len(nothing) == 0 and set(nothing.columns) == set(ARTIFACTS["region_models"].columns)


def test_age_alone_is_a_straight_line():
    age = np.array([20.0, 31, 44, 52, 60, 71, 35, 28])
    values = 0.05 + 0.001 * age + RANDOM.normal(0, 0.004, 8)
    people = {f"sub-{n:02d}": {"age": one} for n, one in enumerate(age)}
    found = _only(region_models(_table(_rows(values)), people), effect="age")
    line = stats.linregress(age, values)
    assert found["estimate"] == pytest.approx(line.slope) and found["p"] == pytest.approx(line.pvalue)
    half = stats.t.ppf(0.975, 6) * line.stderr
    assert found["low"] == pytest.approx(line.slope - half) and found["high"] == pytest.approx(line.slope + half)
    assert found["participants"] == 8 and found["compared"] == "per year" and found["adjusted_for"] == ""
    residual = values - line.intercept - line.slope * age
    assert found["standardised"] == pytest.approx(line.slope / np.sqrt((residual**2).sum() / 6))


def test_two_groups_are_a_t_test():
    values = RANDOM.normal(0.1, 0.02, 11)
    people = {f"sub-{n:02d}": {"group": "patient" if n < 5 else "control"} for n in range(11)}
    found = _only(region_models(_table(_rows(values)), people), effect="group")
    test = stats.ttest_ind(values[:5], values[5:])
    assert found["compared"] == "patient - control" and found["estimate"] == pytest.approx(values[:5].mean() - values[5:].mean())
    assert found["p"] == pytest.approx(test.pvalue)


def test_three_groups_are_compared_in_pairs_and_one_person_is_no_group():
    values = RANDOM.normal(0.1, 0.02, 13)
    people = {f"sub-{n:02d}": {"group": "abc"[n // 4] if n < 12 else "d"} for n in range(13)}
    table = region_models(_table(_rows(values)), people)
    assert sorted(table["compared"].tolist()) == ["b - a", "c - a", "c - b"] and set(table["participants"].tolist()) == {12}
    assert _only(table, compared="c - b")["estimate"] == pytest.approx(values[8:12].mean() - values[4:8].mean())


def test_an_effect_is_adjusted_for_what_else_is_known():
    """Groups differ in age only: the group effect vanishes once age is in the model."""
    age = np.concatenate([np.linspace(20, 50, 12), np.linspace(45, 80, 12)])
    values = 0.002 * age + RANDOM.normal(0, 0.003, 24)
    people = {f"sub-{n:02d}": {"age": one, "group": "old" if n >= 12 else "young", "sex": "FM"[n % 2]} for n, one in enumerate(age)}
    table = region_models(_table(_rows(values)), people)
    found = _only(table, effect="group")
    assert found["adjusted_for"] == "age, sex" and abs(found["estimate"]) < 0.01 < values[12:].mean() - values[:12].mean()
    design = np.column_stack([np.ones(24), age, np.arange(24) % 2, np.arange(24) >= 12])
    assert found["estimate"] == pytest.approx(-np.linalg.lstsq(design, values, rcond=None)[0][3])  # young - old
    assert _only(table, effect="age")["estimate"] == pytest.approx(0.002, abs=3e-4)
    half_known = people | {"sub-00": {"group": "young", "sex": "F"}}  # one age is not known
    assert _only(region_models(_table(_rows(values)), half_known), effect="group")["adjusted_for"] == "sex"
    assert _only(region_models(_table(_rows(values)), half_known), effect="age")["participants"] == 23


def test_few_participants_are_adjusted_for_less():
    age, values = np.array([20.0, 31, 45, 52, 66, 70]), RANDOM.normal(0.1, 0.02, 6)
    people = {f"sub-{n:02d}": {"age": one, "sex": "FMMFFM"[n], "group": "ababab"[n]} for n, one in enumerate(age)}
    table = region_models(_table(_rows(values)), people)
    assert [_only(table, effect=one)["adjusted_for"] for one in ("age", "sex", "group")] == ["sex", "age", "age"]
    design = np.column_stack([np.ones(6), np.array([one == "M" for one in "FMMFFM"], float), age])
    assert _only(table, effect="age")["estimate"] == pytest.approx(np.linalg.lstsq(design, values, rcond=None)[0][2])
    few = {who: people[who] for who in list(people)[:5]}
    assert _only(region_models(_table(_rows(values[:5])), few), effect="age")["adjusted_for"] == ""


def test_sex_that_is_the_same_as_the_group_cannot_be_told_from_it():
    people = {f"sub-{n:02d}": {"sex": "FM"[n % 2], "group": "ab"[n % 2]} for n in range(10)}
    table = region_models(_table(_rows(RANDOM.normal(size=10))), people)
    assert _only(table, effect="sex")["adjusted_for"] == "" and _only(table, effect="group")["adjusted_for"] == ""


def test_sessions_are_compared_within_participants():
    first, off = RANDOM.normal(0.1, 0.05, 7), RANDOM.normal(0.01, 0.002, 7)
    rows = _table(_rows(first, session="ses-2"), _rows(first + off, session="ses-10"), _rows(first[:3], session="ses-11"))
    found = _only(region_models(rows, {}), effect="session")  # three in the third session are too few
    test = stats.ttest_rel(first + off, first)
    assert found["compared"] == "ses-10 - ses-2" and found["participants"] == 7
    assert found["estimate"] == pytest.approx(off.mean()) and found["p"] == pytest.approx(test.pvalue)


def test_runs_and_sessions_of_one_participant_are_no_more_participants():
    values = RANDOM.normal(0.1, 0.02, 8)
    people = {f"sub-{n:02d}": {"age": 20.0 + n * n} for n in range(8)}
    once = region_models(_table(_rows(values)), people)
    twice = region_models(_table(_rows(values + 0.01), _rows(values - 0.01)), people)
    for name in ("participants", "estimate", "p"):
        assert twice[name].tolist() == pytest.approx(once[name].tolist())


def test_what_is_not_trusted_does_not_count():
    values = RANDOM.normal(0.1, 0.02, 9)
    values[8] = 50.0
    people = {f"sub-{n:02d}": {"age": 20.0 + n} for n in range(9)}
    trusted = [1] * 8 + [0]
    assert _only(region_models(_table(_rows(values, trusted=trusted)), people), effect="age")["participants"] == 8
    assert not len(region_outliers(_table(_rows(values, trusted=trusted))))


def test_p_values_are_corrected_over_regions_halves_for_themselves():
    people = {f"sub-{n:02d}": {"age": 20.0 + n} for n in range(8)}
    parts = [_rows(RANDOM.normal(size=8), region=name) for name in "abcd"]
    halves = [_rows(RANDOM.normal(size=8), region=name, hemisphere=side) for name in "ab" for side in "LR"]
    table = region_models(_table(*parts, *halves), people)
    for sides in (("LR",), ("L", "R")):
        mine = table.where(np.isin(table["hemisphere"], sides))
        assert len(mine) == 4
        order = np.argsort(mine["p"])
        expected = np.minimum.accumulate((mine["p"][order] * 4 / np.arange(1, 5))[::-1])[::-1].clip(max=1)
        assert mine["p_corrected"][order].tolist() == pytest.approx(expected.tolist())


def test_few_participants_and_equal_values_give_no_effect():
    people = {f"sub-{n:02d}": {"age": 20.0 + n} for n in range(9)}
    assert not len(region_models(_table(_rows(RANDOM.normal(size=4))), people))
    assert not len(region_models(_table(_rows(np.full(9, 0.1))), people))


def test_who_lies_apart():
    values = np.array([0.10, 0.11, 0.09, 0.105, 0.095, 0.30])
    found = _only(region_outliers(_table(_rows(values))))
    middle = np.median(values)
    assert found["participant_id"] == "sub-05" and found["value"] == 0.30 and found["median"] == middle
    assert found["robust_z"] == pytest.approx(0.6745 * (0.30 - middle) / np.median(np.abs(values - middle)))
    assert not len(region_outliers(_table(_rows(values[:4])))), "four values tell nothing"
    assert not len(region_outliers(_table(_rows(values)), limit=100))
    assert not len(region_outliers(_table(_rows([1.0, 1, 1, 1, 1, 9])))), "no spread"
    with pytest.raises(ValueError, match="limit"):
        region_outliers(_table(_rows(values)), limit=0)
