"""A cohort's figures per region: who lies apart, and what goes with age, sex, group and session."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array

_FEWEST = 5
"""Values below which nobody lies apart."""

_NORMAL = 0.6745
"""Median absolute deviation of a normal distribution of standard deviation 1."""

_FREEDOM = 3
"""Least degrees of freedom that a model leaves."""

_COVERAGE = 0.95

WHAT = ("acquisition", "map", "unit", "region", "hemisphere")
"""What makes rows comparable."""


def region_outliers(rows: Table, *, limit: float = 3.5) -> Table:
    """Who lies apart in a region.

    z = 0.6745 (value - median) / (median of |value - median|), over all values of one region, map and acquisition, from five on.

    Parameters
    ----------
    rows
        One row per image, map and region: participant_id, session_id, image, acquisition, map, unit, region, hemisphere, mean, trusted.
    limit
        |z| above which a value is told; above 0.

    Returns
    -------
    The rows beyond the limit with the median of all and robust_z, the farthest first.

    Raises
    ------
    ValueError: the limit is outside its range.

    References
    ----------
    Leys 2013, doi:10.1016/j.jesp.2013.03.013
    """
    if not limit > 0:
        raise ValueError(f"limit must be above 0, not {limit}")
    found = []
    for what, mine in _comparable(rows):
        values = np.array([row["mean"] for row in mine], float)
        middle = float(np.median(values))
        spread = float(np.median(np.abs(values - middle)))
        if len(values) < _FEWEST or not spread > 0:
            continue
        for row, z in zip(mine, _NORMAL * (values - middle) / spread, strict=True):
            if abs(z) > limit:
                who = {name: row[name] for name in ("participant_id", "session_id", "image")}
                found.append({**who, **what, "value": row["mean"], "median": middle, "robust_z": float(z)})
    found.sort(key=lambda row: -abs(row["robust_z"]))
    return _table(found, ("participant_id", "session_id", "image", *WHAT), ("value", "median", "robust_z"))


def region_models(rows: Table, people: Mapping[str, Mapping[str, Any]]) -> Table:
    """What the mean of a map in a region goes with: age, sex, group, session.

    Ordinary least squares, one model per region, map, acquisition and question:

        mean = b0 + b1 age + b2 [sex is M] + b3 [group is B] + ...

    with everything else that is known of all participants of that question, so that each effect is adjusted for the others, while three
    degrees of freedom are left (few participants: adjusted_for says for what, age before sex before group). A
    participant counts once: runs, then sessions are averaged. Sessions are compared with the first one by the differences within
    participants. Values that are not trusted are left out. The p-values of one question are corrected (false discovery rate) over the
    regions, those of both halves together and of the middle for themselves, those of single halves for themselves.

    Parameters
    ----------
    rows
        As for `region_outliers`.
    people
        Participant -> what is known of age (years), sex (F, M) and group (a word).

    Returns
    -------
    One row per effect: acquisition, map, unit, region, hemisphere, effect, compared, adjusted_for, participants, estimate (in the unit;
    per year for age), its 95 % confidence interval low and high, standardised (by the residual standard deviation), p, p_corrected.

    References
    ----------
    Benjamini 1995, doi:10.1111/j.2517-6161.1995.tb02031.x
    Seabold 2010, doi:10.25080/Majora-92bf1922-011
    """
    found = []
    for what, mine in _comparable(rows):
        by_session: dict[str, dict[str, list[float]]] = {}
        for row in mine:
            by_session.setdefault(row["participant_id"], {}).setdefault(row["session_id"], []).append(row["mean"])
        means = {who: {one: float(np.mean(values)) for one, values in of.items()} for who, of in by_session.items()}
        found += [what | row for row in (*_between(means, people), *_within(means))]
    _correct(found)
    numbers = ("participants", "estimate", "low", "high", "standardised", "p", "p_corrected")
    return _table(found, (*WHAT, "effect", "compared", "adjusted_for"), numbers)


def _comparable(rows: Table) -> Iterator[tuple[dict[str, str], list[dict[str, Any]]]]:
    """The trusted rows that can be compared with each other, and what they are of."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows.rows():
        if row["trusted"] == 1 and np.isfinite(row["mean"]):
            groups.setdefault(tuple(row[name] for name in WHAT), []).append(row)
    for key, mine in groups.items():
        yield dict(zip(WHAT, key, strict=True)), mine


def _between(means: Mapping[str, Mapping[str, float]], people: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Effects of what is known of the participants."""
    values = {who: float(np.mean(list(of.values()))) for who, of in means.items()}
    for question in ("age", "sex", "group"):
        known = {who: people.get(who, {}) for who in values if people.get(who, {}).get(question) is not None}
        kinds = sorted({str(of[question]) for of in known.values()}, key=_natural)
        if question != "age":
            enough = [kind for kind in kinds if sum(str(of[question]) == kind for of in known.values()) >= 2]
            known = {who: of for who, of in known.items() if str(of[question]) in enough}
            kinds = enough
        if len(kinds) < 2:
            continue
        others = [name for name in ("age", "sex", "group") if name != question and all(of.get(name) is not None for of in known.values())]
        people_of = list(known.values())
        columns, names = _columns(people_of, question)
        adjusted, extra = [], [np.ones(len(known))]
        for name in others:
            more, _ = _columns(people_of, name)
            room = len(known) - len(extra) - len(columns) - len(more) >= _FREEDOM
            if more and room and np.linalg.matrix_rank(np.column_stack([*extra, *columns, *more])) == len(extra) + len(columns) + len(more):
                extra += more
                adjusted.append(name)
        design = np.column_stack([*extra, *columns])
        measured = np.array([values[who] for who in known])
        if len(measured) - design.shape[1] < _FREEDOM or not np.ptp(measured) > 0:
            continue
        first = len(extra)
        if question == "age":
            contrasts = {"per year": np.eye(design.shape[1])[first]}
        else:  # the first kind has no column of its own
            places = {kind: np.eye(design.shape[1])[first + n] for n, kind in enumerate(names)}
            zero = np.zeros(design.shape[1])
            contrasts = {f"{b} - {a}": places.get(b, zero) - places.get(a, zero) for a, b in itertools.combinations(kinds, 2)}
        for compared, result in _fitted(measured, design, contrasts):
            yield {"effect": question, "compared": compared, "adjusted_for": ", ".join(adjusted), **result}


def _columns(people: Sequence[Mapping[str, Any]], name: str) -> tuple[list[Array], list[str]]:
    """What stands for age (its distance from the mean), sex or group in a model: columns and, for the latter, their kinds."""
    if name == "age":
        age = np.array([float(of[name]) for of in people])
        return ([age - age.mean()], [name]) if np.ptp(age) > 0 else ([], [])
    kinds = sorted({str(of[name]) for of in people}, key=_natural)
    return [np.array([float(str(of[name]) == kind) for of in people]) for kind in kinds[1:]], kinds[1:]


def _within(means: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    """Differences of sessions within participants."""
    sessions = sorted({session for of in means.values() for session in of}, key=_natural)
    for later in sessions[1:]:
        first = sessions[0]
        off = np.array([of[later] - of[first] for of in means.values() if first in of and later in of])
        if len(off) - 1 < _FREEDOM or not np.ptp(off) > 0:
            continue
        for compared, result in _fitted(off, np.ones((len(off), 1)), {f"{later} - {first}": np.ones(1)}):
            yield {"effect": "session", "compared": compared, "adjusted_for": "", **result}


def _fitted(measured: Array, design: Array, contrasts: Mapping[str, Array]) -> Iterator[tuple[str, dict[str, Any]]]:
    from statsmodels.api import OLS

    model = OLS(measured, design).fit()
    residual = float(np.sqrt(model.mse_resid))
    for name, contrast in contrasts.items():
        tested = model.t_test(contrast)
        (low, high), estimate = tested.conf_int(alpha=1 - _COVERAGE)[0], float(np.ravel(tested.effect)[0])
        yield name, {
            "participants": len(measured), "estimate": estimate, "low": float(low), "high": float(high),
            "standardised": estimate / residual if residual > 0 else float("nan"), "p": float(np.ravel(tested.pvalue)[0]),
        }  # fmt: skip


def _correct(found: list[dict[str, Any]]) -> None:
    """Adds p_corrected."""
    from statsmodels.stats.multitest import multipletests

    families: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in found:
        key = (row["acquisition"], row["map"], row["effect"], row["compared"], row["hemisphere"] in ("L", "R"))
        families.setdefault(key, []).append(row)
    for rows in families.values():
        p = np.array([row["p"] for row in rows])
        for row, corrected in zip(rows, multipletests(p, method="fdr_bh")[1], strict=True):
            row["p_corrected"] = float(corrected)


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """Sorts numbers in words as numbers."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part)


def _table(rows: Sequence[Mapping[str, Any]], words: Sequence[str], numbers: Sequence[str]) -> Table:
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows], dtype=str) for name in words}
    columns |= {name: np.array([row[name] for row in rows], dtype=np.int64 if name == "participants" else float) for name in numbers}
    return Table(columns)
