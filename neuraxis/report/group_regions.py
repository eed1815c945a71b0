"""Figures per region of a cohort -> what the group's page shows of them: strips, scatter plots over age, effects, who lies apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.brain.regions import SIDE_WORDS, STRUCTURES
from neuraxis.report.cohort import scatter, strip
from neuraxis.report.template import number
from neuraxis.table import Table

_SHOWN = 4
"""Plots of a card that are seen without opening the rest."""

_MOST_OUTLIERS = 20

_ORDER = {one.name: place for place, one in enumerate(STRUCTURES)}


def region_section(
    rows: Table,
    models: Table,
    outliers: Table,
    people: Mapping[str, Mapping[str, Any]],
    links: Mapping[str, str],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """Cards, effects and outliers for the group's page.

    Parameters
    ----------
    rows, models, outliers
        As `brain.group_statistics` takes and makes them.
    people
        Participant -> age.
    links
        Image -> its page.
    files
        Table -> name of its file.
    """
    acquisitions = sorted(set(rows["acquisition"].tolist()))
    cards = []
    for acquisition, name in itertools.product(acquisitions, dict.fromkeys(rows["map"].tolist())):
        chosen = (rows["acquisition"] == acquisition) & (rows["map"] == name) & np.isin(rows["hemisphere"], ("LR", "B"))
        mine = rows.where(chosen & np.isfinite(rows["mean"]))
        if not len(mine):
            continue
        suffix = f"-{acquisitions.index(acquisition)}" if len(acquisitions) > 1 else ""
        title = ARTIFACTS[name].title
        about = {"unit": ARTIFACTS[name].unit, "curve": None, "more_title": "Further regions"}
        where = f", {acquisition}" if len(acquisitions) > 1 else ""
        strips = _strips(mine, links)
        cards.append(about | {"id": f"regions-{name}{suffix}", "title": f"{title} in the regions (mean){where}",
                              "plots": strips[:_SHOWN], "more": strips[_SHOWN:]})  # fmt: skip
        plots = _over_age(mine, models, people, links)
        if plots:
            cards.append(about | {"id": f"age-{name}{suffix}", "title": f"{title} over age (years){where}",
                                  "plots": plots[:_SHOWN], "more": plots[_SHOWN:]})  # fmt: skip
    return {
        "cards": cards,
        "effects": _effects(models, len(acquisitions) > 1),
        "outliers": _told(outliers, links),
        "outliers_left": max(0, len(outliers) - _MOST_OUTLIERS),
        "files": dict(files),
    }


def _region_order(name: str) -> tuple[int, str]:
    return _ORDER.get(name, len(_ORDER)), name


def _strips(rows: Table, links: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for region in sorted(set(rows["region"].tolist()), key=_region_order):
        mine = list(rows.where(rows["region"] == region).rows())
        points = [(row["mean"], row["image"], links.get(row["image"], "")) for row in mine]
        found.append(strip(region, points, {row["image"] for row in mine if row["trusted"] != 1}))
    return found


def _over_age(rows: Table, models: Table, people: Mapping[str, Mapping[str, Any]], links: Mapping[str, str]) -> list[dict[str, Any]]:
    """A scatter plot for every region that has a model of age, with its line; the surest first."""
    if not len(models):
        return []
    found = []
    name, acquisition = rows["map"][0], rows["acquisition"][0]
    fits = models.where((models["effect"] == "age") & (models["map"] == name) & (models["acquisition"] == acquisition))
    for fit in sorted(fits.rows(), key=lambda row: row["p"]):
        if fit["hemisphere"] not in ("LR", "B"):
            continue
        mine = [row for row in rows.where(rows["region"] == fit["region"]).rows() if row["trusted"] == 1]
        points = [
            (float(age), row["mean"], row["image"], links.get(row["image"], ""))
            for row in mine
            if (age := people.get(row["participant_id"], {}).get("age")) is not None
        ]
        title = f"{fit['region']}: {number(fit['estimate'], 2)} per year, p {number(fit['p_corrected'], 2)}"
        found.append(scatter(title, points, fit["estimate"]))
    return found


def _effects(models: Table, several: bool) -> list[dict[str, Any]]:
    """Rows of the table of effects: those of both halves and of the middle."""
    found = []
    for row in sorted(models.rows(), key=lambda row: (row["p_corrected"], row["p"])):
        if row["hemisphere"] not in ("LR", "B"):
            continue
        unit = row["unit"] + ("/year" if row["effect"] == "age" else "")
        found.append(
            {
                "what": ", ".join([ARTIFACTS[row["map"]].title, row["region"], *([row["acquisition"]] if several else [])]),
                "effect": row["effect"],
                "compared": row["compared"] if row["effect"] != "age" else "",
                "adjusted": row["adjusted_for"],
                "n": row["participants"],
                "estimate": row["estimate"],
                "text": f"{number(row['estimate'], 3)} ({number(row['low'], 3)} to {number(row['high'], 3)}) {unit}",
                "standardised": row["standardised"],
                "p": row["p"],
                "p_corrected": row["p_corrected"],
                "sure": math.isfinite(row["p_corrected"]) and row["p_corrected"] < 0.05,
            }
        )
    return found


def _told(outliers: Table, links: Mapping[str, str]) -> list[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = list(outliers.rows())[:_MOST_OUTLIERS]
    return [
        {
            "image": row["image"],
            "href": links.get(row["image"], ""),
            "text": f"{ARTIFACTS[row['map']].title}, {SIDE_WORDS.get(row['hemisphere'], '')}{row['region']}: {number(row['value'], 3)} "
            f"{row['unit']} where the median is {number(row['median'], 3)} (robust z {row['robust_z']:.1f})",
        }
        for row in found
    ]
