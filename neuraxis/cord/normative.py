"""How a cord compares with those of healthy adults of the same sex and age, along PAM50."""

from __future__ import annotations

import csv
import functools
import gzip
import importlib.resources
import math
import warnings
from collections.abc import Sequence

import numpy as np

from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array

METRICS = ("area", "diameter_AP_ellipse", "diameter_RL", "eccentricity", "solidity")
"""Metrics that are compared unless others are asked for."""

_HEALTHY_NAMES = {"diameter_AP_ellipse": "diameter_AP"}
"""Name of ours -> name in the healthy table, whose antero-posterior diameter is the minor axis of the ellipse."""

_AGES = (("<25", -math.inf, 25), ("25-29", 25, 30), ("30-39", 30, 40), ("40+", 40, math.inf))
_OLDEST, _YOUNGEST = 52, 19
"""Range of age in the healthy table; years."""

LEAST_PEOPLE = 20
"""Fewest people of a stratum: below, the standard deviation itself is off by more than about 16 % (1 / sqrt(2 (n - 1)))."""


def normative(
    shape_pam50: Table,
    sex: str | None = None,
    age: float | None = None,
    *,
    metrics: tuple[str, ...] = METRICS,
    least_people: int = LEAST_PEOPLE,
) -> Table:
    """z-scores per vertebral level against healthy adults of the same sex and age.

    Each metric is averaged over the PAM50 slices of a level, in the participant and in the 203 healthy adults of the
    spine-generic database, over the same slices:

        z = (value - healthy_mean) / healthy_sd

    healthy_sd is the mean over slices of the standard deviation over people: it is the standard deviation of the level's
    mean if neighbouring slices of a person are fully correlated, and too large otherwise, so that |z| is never overstated.
    Slices that are not trusted are left out of the participant's mean and of the healthy one. The healthy adults were
    imaged with a T2-weighted 3-D sequence: with another contrast or another segmentation method, z holds an offset of some
    tenths.

    Parameters
    ----------
    shape_pam50
        Shape per slice of PAM50; mm2, mm or no unit.
    sex
        "M" or "F" (or male, female, in any case); anything else counts as unknown. The comparison is then with all.
    age
        Years. Where a sex has too few people of that age (<25, 25-29, 30-39, 40+), the comparison is with all ages of
        that sex, then with all people.
    metrics
        Metrics to compare: area, diameter_AP_ellipse, diameter_RL, eccentricity, solidity, orientation (its size).
        diameter_AP has no healthy counterpart: it is measured otherwise than in the healthy table.
    least_people
        Fewest people of a stratum; at least 2. Larger is steadier, smaller is nearer to the participant's age.

    Returns
    -------
    One row per level and metric: level, name, metric, value, healthy_mean, healthy_sd, n (people), z (standard deviations),
    stratum (sex and age of those people), slices (of PAM50 that were compared; fewer than
    the level has where the image or the trust ends). Empty where shape_pam50 is.

    Raises
    ------
    ValueError: a metric is unknown, least_people is below 2, or age is negative.

    References
    ----------
    Valosek 2024, doi:10.1162/imag_a_00075
    Cohen-Adad 2021, doi:10.1038/s41597-021-00941-8
    """
    if least_people < 2:
        raise ValueError(f"least_people must be at least 2, not {least_people}")
    names = [_healthy_name(metric) for metric in metrics]
    _check_age(age)
    rows: list[tuple[object, ...]] = []
    trusted = shape_pam50["trusted"] > 0 if "trusted" in shape_pam50 else np.ones(len(shape_pam50), bool)
    for level in sorted({int(v) for v in shape_pam50["level"]}):
        here = trusted & (shape_pam50["level"] == level)
        for metric, name in zip(metrics, names, strict=True):
            if metric not in shape_pam50:
                continue
            values = shape_pam50[metric] if metric != "orientation" else np.abs(shape_pam50[metric])
            used = here & np.isfinite(values)
            slices = shape_pam50["slice"][used]
            healthy, stratum = _matched(slices, sex, age, least_people)
            if healthy is None:
                continue
            found = np.isin(slices, healthy["slice"])
            at = np.searchsorted(healthy["slice"], slices[found])
            value = float(values[used][found].mean())
            mean, sd = (float(healthy[f"{name}_{part}"][at].mean()) for part in ("mean", "std"))
            people = int(healthy["n"][at].min())
            z = (value - mean) / sd
            rows.append((level, vertebra_name(level), metric, value, mean, sd, people, z, stratum, int(found.sum())))
    columns = ("level", "name", "metric", "value", "healthy_mean", "healthy_sd", "n", "z", "stratum", "slices")
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(columns)})


def healthy_band(
    metric: str, sex: str | None = None, age: float | None = None, *, least_people: int = LEAST_PEOPLE
) -> Table:
    """Mean and standard deviation of a metric in matched healthy adults, per slice of PAM50: slice, level, mean, sd, n.

    Of the nearest stratum of which at least `least_people` are known at most slices; slices with fewer are left out.
    """
    name = _healthy_name(metric)
    _check_age(age)
    for label in _strata(sex, age):
        table = _healthy().get(label)
        if table is not None and np.median(table["n"]) >= least_people:
            break
    assert table is not None
    kept = table.where(table["n"] >= least_people)
    return Table.of(
        {
            "slice": kept["slice"],
            "level": kept["level"],
            "mean": kept[f"{name}_mean"],
            "sd": kept[f"{name}_std"],
            "n": kept["n"],
        }
    )


def healthy_mean(slices: Array, metric: str, sex: str | None = None, age: float | None = None) -> tuple[Array, str]:
    """Healthy mean of a metric at PAM50 slices (NaN where nobody has one), and the stratum it is of."""
    name = _HEALTHY_NAMES.get(metric, metric)
    healthy, stratum = _matched(slices, sex, age, LEAST_PEOPLE)
    found = np.full(len(slices), np.nan)
    if healthy is not None and f"{name}_mean" in healthy:
        known = np.isin(slices, healthy["slice"])
        found[known] = healthy[f"{name}_mean"][np.searchsorted(healthy["slice"], slices[known])]
    return found, stratum


def _matched(slices: Sequence[int] | Array, sex: str | None, age: float | None, least: int) -> tuple[Table | None, str]:
    """The nearest stratum of which enough people are known at the slices (their median), and its name."""
    for label in _strata(sex, age):
        table = _healthy().get(label)
        if table is None:
            continue
        people = table["n"][np.isin(table["slice"], slices)]
        if len(people) and np.median(people) >= least:
            return table, _stratum_name(label)
    return None, ""


def _strata(sex: str | None, age: float | None) -> list[tuple[str, str]]:
    """(sex, age) of the healthy table, the nearest first."""
    of = _sex(sex)
    years = next((label for label, low, high in _AGES if age is not None and low <= age < high), "all")
    return list(dict.fromkeys([(of, years), (of, "all"), ("all", "all")]))


def _stratum_name(label: tuple[str, str]) -> str:
    who = {"M": "men", "F": "women", "all": "men and women"}[label[0]]
    return f"{who}, {'all ages' if label[1] == 'all' else label[1] + ' years'}"


def _sex(sex: str | None) -> str:
    word = (sex or "").strip().lower()
    return "M" if word in ("m", "male", "man") else "F" if word in ("f", "female", "woman") else "all"


def _check_age(age: float | None) -> None:
    if age is None or math.isnan(age):
        return
    if age < 0:
        raise ValueError(f"age must not be negative, and is {age}")
    if not _YOUNGEST <= age < _OLDEST + 1:
        warnings.warn(
            f"the healthy adults are {_YOUNGEST} to {_OLDEST} years old, the participant is {age:g}", stacklevel=3
        )


def _healthy_name(metric: str) -> str:
    known = {column.rsplit("_", 1)[0] for column in _healthy()["all", "all"].columns if column.endswith("_mean")}
    name = _HEALTHY_NAMES.get(metric, metric)
    if name not in known or metric in _HEALTHY_NAMES.values():
        ours = sorted({ours for ours, theirs in _HEALTHY_NAMES.items()} | known - set(_HEALTHY_NAMES.values()))
        raise ValueError(f"healthy values are known of {', '.join(ours)}, not of {metric}")
    return name


@functools.cache
def _healthy() -> dict[tuple[str, str], Table]:
    """(sex, age) -> mean, standard deviation and number of people per slice, sorted by slice."""
    file = importlib.resources.files("neuraxis") / "data" / "normative_pam50.tsv.gz"
    header, *lines = csv.reader(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter="\t")
    labels = np.array([line[:2] for line in lines])
    numbers = np.array([line[2:] for line in lines], dtype=float)
    found = {}
    for sex, age in sorted({(str(a), str(b)) for a, b in labels}):
        chosen = numbers[(labels[:, 0] == sex) & (labels[:, 1] == age)]
        chosen = chosen[np.argsort(chosen[:, 0])]
        columns = {name: chosen[:, i] for i, name in enumerate(header[2:])}
        whole = {name: columns[name].astype(np.int64) for name in ("slice", "level", "n")}
        found[sex, age] = Table.of({**columns, **whole})
    return found
