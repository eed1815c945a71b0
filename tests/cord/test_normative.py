import json
from pathlib import Path

import numpy as np
import pytest
from cord import golden
from documented import check_documented

import neuraxis
from neuraxis.cord.normative import METRICS, _healthy, healthy_band, healthy_mean, normative
from neuraxis.cord.pam50 import shape_pam50
from neuraxis.table import Table


def _participant(shift=0.0, sex="all", age="all", levels=(3, 4), **columns):
    """A participant who is `shift` standard deviations above the mean of a stratum in every metric."""
    healthy = _healthy()[sex, age]
    table = healthy.where(np.isin(healthy["level"], levels))
    theirs = {"diameter_AP_ellipse": "diameter_AP"}
    made = {m: table[f"{theirs.get(m, m)}_mean"] + shift * table[f"{theirs.get(m, m)}_std"] for m in METRICS}
    whole = {"slice": table["slice"], "level": table["level"], "trusted": np.ones(len(table), int)}
    return Table.of({**whole, **made, **columns})


def test_documented():
    check_documented(normative)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 1.5])
def test_z_is_what_was_put_in(shift):
    found = normative(_participant(shift))
    assert found["z"] == pytest.approx(shift, abs=1e-9) and len(found) == 2 * len(METRICS)
    assert set(found["stratum"]) == {"men and women, all ages"} and (found["n"] == 203).all()
    assert found["name"][0] == "C3" and found["slices"][0] == 37
    assert found["value"] == pytest.approx(found["healthy_mean"] + shift * found["healthy_sd"])


@pytest.mark.parametrize(
    "sex, age, stratum",
    [
        ("M", 31.0, "men, 30-39 years"),
        ("female", 22.0, "women, <25 years"),
        ("F", 45.0, "women, all ages"),  # six women are above 40
        ("M", None, "men, all ages"),
        (None, 27.0, "men and women, 25-29 years"),
        (None, 45.0, "men and women, all ages"),
        ("n/a", float("nan"), "men and women, all ages"),
    ],
)
def test_the_nearest_stratum_with_enough_people(sex, age, stratum):
    found = normative(_participant(), sex, age)
    assert set(found["stratum"]) == {stratum} and (found["n"] >= 20).all()


def test_men_are_compared_with_men():
    man = _participant(0.0, "M", "25-29")
    assert np.abs(normative(man, "M", 27.0)["z"]).max() < 1e-9
    areas = [normative(man, sex, 27.0) for sex in ("M", "F")]
    z = [one["z"][one["metric"] == "area"] for one in areas]
    assert (z[1] > z[0] + 0.3).all()


def test_few_people_are_enough_when_so_wished():
    found = normative(_participant(), "F", 45.0, least_people=5)
    assert set(found["stratum"]) == {"women, 40+ years"}


def test_an_age_beyond_the_table_is_said_and_nonsense_refused():
    with pytest.warns(UserWarning, match="19 to 52 years"):
        normative(_participant(), "M", 70.0)
    with pytest.raises(ValueError, match="negative"):
        normative(_participant(), "M", -1.0)
    with pytest.raises(ValueError, match="least_people"):
        normative(_participant(), least_people=1)
    with pytest.raises(ValueError, match="diameter_AP_ellipse"):
        normative(_participant(), metrics=("diameter_AP",))


def test_mistrusted_and_missing_slices_do_not_count():
    person = _participant()
    area, trusted = person["area"].copy(), person["trusted"].copy()
    area[:5], trusted[:5], area[7] = 500.0, 0, np.nan
    found = normative(Table.of({**person.columns, "area": area, "trusted": trusted}))
    assert found["z"] == pytest.approx(0, abs=1e-9)
    assert len(normative(person.where(np.zeros(len(person), bool)))) == 0


def test_orientation_is_compared_by_its_size():
    healthy = _healthy()["all", "all"].where(_healthy()["all", "all"]["level"] == 3)
    person = Table.of(
        {"slice": healthy["slice"], "level": healthy["level"], "orientation": -healthy["orientation_mean"]}
    )
    assert normative(person, metrics=("orientation",))["z"] == pytest.approx(0, abs=1e-9)


def test_the_healthy_diameter_is_that_of_the_ellipse():
    """Why diameter_AP has no healthy counterpart: area and eccentricity of the table's axes are those of an ellipse."""
    healthy = _healthy()["all", "all"]
    cervical = healthy.where((healthy["slice"] > 736) & (healthy["slice"] < 939))
    ellipse = np.pi / 4 * cervical["diameter_AP_mean"] * cervical["diameter_RL_mean"]
    assert ellipse / cervical["area_mean"] == pytest.approx(1, abs=0.01)
    eccentricity = np.sqrt(1 - (cervical["diameter_AP_mean"] / cervical["diameter_RL_mean"]) ** 2)
    assert (eccentricity > cervical["eccentricity_mean"]).all() and (
        eccentricity < cervical["eccentricity_mean"] + 0.015
    ).all()


def test_band():
    band = healthy_band("diameter_AP_ellipse", "M", 31.0)
    table = _healthy()["M", "30-39"]
    assert (np.diff(band["slice"]) > 0).all() and (band["n"] >= 20).all() and len(band) > 200
    at = np.isin(table["slice"], band["slice"])
    assert band["mean"] == pytest.approx(table["diameter_AP_mean"][at])
    mean, stratum = healthy_mean(np.array([890, 5000]), "area", "F", 45.0)
    assert stratum == "women, all ages" and mean[0] == pytest.approx(70, abs=5) and np.isnan(mean[1])


def test_the_table_says_where_it_comes_from():
    text = json.loads((Path(neuraxis.__file__).parent / "data" / "normative_pam50.json").read_text())
    assert text["License"] == "MIT" and "r20250321" in text["Source"]


@pytest.mark.shared
def test_a_real_cord():
    found = normative(shape_pam50(golden.labelled_shape()), "M", 30.0)
    assert set(found["level"]) == {2, 3, 4, 5} and np.abs(found["z"]).max() < 3
