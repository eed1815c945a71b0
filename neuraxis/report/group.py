"""The records of all units -> one table with its data dictionary, and one HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.pipelines import PIPELINES, QSM
from neuraxis.report.cohort import cohort_curves, strip
from neuraxis.report.plots import finite, metric_title, unit_of
from neuraxis.report.template import fill, number, within_sentence
from neuraxis.table import Table, cell

_STATISTICS = {"mean": "Mean", "sd": "Standard deviation", "median": "Median", "voxels": "Number of voxels"}
_PLOTTED = ("median", "sd")  # the mean of a referenced susceptibility is zero by its making
CORD_METRICS = ("area", "diameter_AP", "diameter_RL", "eccentricity", "solidity")
"""What is shown of the shape of the cord over all units."""

_MOST_COLUMNS = 10
STATES = {
    "ok": "all that was asked for is there",
    "partial": "some of it is there",
    "failed": "none of it is there",
    "nothing": "there was nothing to measure",
}
"""How a unit ends."""


def _columns() -> dict[str, dict[str, Any]]:
    """Column -> its description; the maps' columns follow from the glossary."""
    found: dict[str, dict[str, Any]] = {
        "participant_id": {"Description": "Participant"},
        "session_id": {"Description": "Session; n/a where the data set has none"},
        "unit": {"Description": "Unit of work: one acquisition, by its file name without the suffix of the map"},
        "status": {
            "Description": "How the unit ended",
            "Levels": STATES,
        },
    }
    for one in ARTIFACTS.values():
        if one.statistics:
            for name, title in _STATISTICS.items():
                found[f"{one.name}_{name}"] = {
                    "Description": f"{title} of the {within_sentence(one.title)} where it is not zero ({one.meaning})",
                    "Units": "voxels" if name == "voxels" else one.unit,
                }
    found["seconds"] = {"Description": "Time that the unit took in its last run", "Units": "s"}
    found["peak_memory_mb"] = {"Description": "Peak resident memory of the unit's process", "Units": "MiB"}
    found["warnings"] = {"Description": "Number of warnings", "Units": "count"}
    found["error"] = {"Description": "What went wrong; n/a when nothing did"}
    return {name: {"Units": "n/a", **what} for name, what in found.items()}


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "participant_id": f"sub-{record.get('participant', '')}",
        "session_id": f"ses-{record['session']}" if record.get("session") else None,
        "unit": record.get("unit"),
        "status": record.get("status"),
        "seconds": record.get("seconds"),
        "peak_memory_mb": record.get("peak_memory_mb") or None,
        "warnings": len(record.get("warnings") or ()),
        "error": record.get("error"),
    }
    for name, values in (record.get("statistics") or {}).items():
        row.update({f"{name}_{statistic}": values.get(statistic) for statistic in _STATISTICS})
    return row


def group_table(records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """One row per unit as tab-separated text, and its data dictionary as JSON text."""
    columns = _columns()
    rows = [list(columns)]
    for record in sorted(records, key=_order):
        row = _row(record)
        rows.append([cell(row.get(name), 6, whole=False) for name in columns])
    table = "".join("\t".join(row) + "\n" for row in rows)
    return table, json.dumps(columns, indent=2, ensure_ascii=False) + "\n"


def _order(record: Mapping[str, Any]) -> tuple[str, str]:
    return str(record.get("participant", "")), str(record.get("unit", ""))


def group_page(
    records: Sequence[Mapping[str, Any]],
    participants_rows: Sequence[Mapping[str, str]] = (),
    tables: Mapping[str, Mapping[str, Table]] | None = None,
    files: Mapping[str, str] | None = None,
    regions: Mapping[str, Any] | None = None,
    template: Mapping[str, Any] | None = None,
    pam50: Mapping[str, Any] | None = None,
) -> str:
    """The page over all units: failures first, then for each pipeline its distributions, curves and table.

    Parameters
    ----------
    records
        One per unit.
    participants_rows
        Those of participants.tsv; their columns stand in the table.
    tables
        Unit -> artifact -> table: of `shape_levels` values per level are drawn, of `shape_pam50` (or else `shape`, where
        every slice knows its distance to the PMJ) curves along the cord.
    files
        Pipeline -> name of the file with the same numbers.
    regions
        What `region_section` makes of the figures per region.
    template
        What `template_section` makes of the template of the cohort.
    pam50
        What `pam50_section` makes of the cords' maps in PAM50.
    """
    known = {str(row.get("participant_id", "")): row for row in participants_rows}
    extra = [
        name for name in (participants_rows[0] if participants_rows else {}) if name not in ("participant_id", None)
    ]
    units = []
    for record in sorted(records, key=_order):
        row = _row(record)
        about = [known.get(row["participant_id"], {}).get(name) or "" for name in extra]
        href = quote(row["participant_id"]) + ".html"
        units.append({"hint": "", "statistics": {}, **record, "row": row, "href": href, "about": about})
    counts = {status: sum(unit.get("status") == status for unit in units) for status in STATES}
    pipelines = list(dict.fromkeys(str(unit.get("pipeline", "")) for unit in units)) or [""]
    files = {"qsm": "group_qsm.tsv", **(files or {})}
    sections = [
        _section(
            name, [unit for unit in units if str(unit.get("pipeline", "")) == name], tables or {}, files.get(name, "")
        )
        for name in pipelines
    ]
    for section in sections if regions else ():
        if section["name"] == QSM.name:
            section["cards"] += regions["cards"]  # type: ignore[index]
            section["regions"] = regions
    for place, section in enumerate(sections, 1):
        section["id"] = "units" if len(sections) == 1 else f"units{place}"
    return fill(
        "group.html.jinja",
        template=template,
        pam50=pam50,
        units=units,
        extra=extra,
        sections=sections,
        counts={status: count for status, count in counts.items() if count},
        participants=len({unit["row"]["participant_id"] for unit in units}),
    )


def _section(
    pipeline: str, units: Sequence[Mapping[str, Any]], tables: Mapping[str, Mapping[str, Table]], file: str
) -> dict[str, Any]:
    """What the page shows of the units of one pipeline."""
    maps = [
        one for one in ARTIFACTS.values() if one.statistics and any(one.name in unit["statistics"] for unit in units)
    ]
    cards: list[dict[str, Any]] = [
        {
            "id": f"map-{one.name}",
            "title": one.title,
            "unit": _printed(one.unit),
            "curve": None,
            "more": [],
            "more_title": "",
            "plots": [
                strip(_STATISTICS[name], [(u["row"].get(f"{one.name}_{name}"), u["unit"], u["href"]) for u in units])
                for name in _PLOTTED
            ],
        }
        for one in maps
    ]
    columns = [
        {
            "title": f"{one.title}, mean ± SD" + (f" ({_printed(one.unit)})" if _printed(one.unit) else ""),
            "cells": [_mean_and_sd(unit["statistics"].get(one.name, {})) for unit in units],
        }
        for one in maps
    ]
    mine = {unit["unit"]: tables[unit["unit"]] for unit in units if unit.get("unit") in tables}
    links = {unit["unit"]: unit["href"] for unit in units if "unit" in unit}
    by_level = {unit: found["shape_levels"] for unit, found in mine.items() if "shape_levels" in found}
    for metric in CORD_METRICS:
        values = _level_means(by_level, f"{metric}_mean")
        curve = _curve(mine, metric)
        if not values and curve is None:
            continue
        strips = _strips(values, links)
        title = metric_title(metric)
        if curve:
            curve["lines"] = [{**line, "href": links[line["unit"]]} for line in curve["lines"]]
        cards.append(
            {
                "id": f"cord-{metric}",
                "title": title,
                "unit": unit_of(metric),
                "curve": curve,
                "plots": [] if curve else strips[:1],
                "more": strips if curve else strips[1:],
                "more_title": "Level by level" if curve else "Further levels",
            }
        )
        if metric == CORD_METRICS[0]:
            for level, of in list(values.items())[:_MOST_COLUMNS]:
                cells = [_cell(of.get(unit.get("unit", ""))) for unit in units]
                columns.append({"title": f"{title}, {level} ({unit_of(metric)})", "cells": cells})
    for name in dict.fromkeys(one for found in mine.values() for one in _structures_of(found)):
        of_one = {
            unit: found["structure_levels"].where(found["structure_levels"]["structure"] == name)
            for unit, found in mine.items()
            if name in _structures_of(found)
        }
        values = _level_means(of_one, "area")
        strips = _strips(values, links)
        title = f"{name.replace('_', ' ').capitalize()}, area"
        cards.append(
            {
                "id": f"cord-{name}",
                "title": title,
                "unit": unit_of("area"),
                "curve": None,
                "plots": strips[:1],
                "more": strips[1:],
                "more_title": "Further levels",
            }
        )
    title = next((one.title for one in PIPELINES if one.name == pipeline), pipeline)
    return {"name": pipeline, "title": title, "units": units, "cards": cards, "columns": columns, "file": file, "regions": None}


def _printed(unit: str) -> str:
    return "" if unit in ("1", "arbitrary") else unit


def _mean_and_sd(values: Mapping[str, Any]) -> tuple[float | None, str]:
    mean = values.get("mean")
    return mean, "\u2013" if mean is None else f"{number(mean, 3)} ± {number(values.get('sd'), 3)}"


def _cell(found: tuple[float, bool] | None) -> tuple[float | None, str]:
    """A value to sort by and its text, in brackets where it is not trusted."""
    value, sure = found or (None, True)
    return value, number(value, 3) if sure else f"({number(value, 3)})"


def _structures_of(found: Mapping[str, Table]) -> list[str]:
    return sorted(set(found["structure_levels"]["structure"].tolist())) if "structure_levels" in found else []


def _strips(values: Mapping[str, Mapping[str, tuple[float, bool]]], links: Mapping[str, str]) -> list[dict[str, Any]]:
    """A strip plot per level."""
    return [
        strip(
            level,
            [(value, unit, links[unit]) for unit, (value, _) in of.items()],
            {unit for unit, (_, sure) in of.items() if not sure},
        )
        for level, of in values.items()
    ]


def _level_means(tables: Mapping[str, Table], column: str) -> dict[str, dict[str, tuple[float, bool]]]:
    """Name of a level -> unit -> value of the column there and whether it is trusted; from the head downwards.

    A unit whose levels are not known has one value, that of the whole cord in view.
    """
    found: dict[tuple[int, str], dict[str, tuple[float, bool]]] = {}
    for unit, table in tables.items():
        if column not in table:
            continue
        rows = [(_place(row), row) for row in table.rows() if row.get("group", "level") in ("cord", "level")]
        levels = [(place, row) for place, row in rows if place]
        for place, row in levels or rows[:1]:
            name = str(row.get("name") or vertebra_name(max(1, place)))
            found.setdefault((place, name), {})[unit] = row[column], row.get("trusted", 1) != 0
    kept = {key: {u: v for u, v in of.items() if math.isfinite(v[0])} for key, of in sorted(found.items())}
    return {name: of for (_, name), of in kept.items() if of}


def _place(row: Mapping[str, Any]) -> int:
    """Number of a row's level, 0 for the whole cord."""
    level = str(row.get("level", "")).removesuffix(".0")
    return int(level) if level.isdigit() else 0


def _curve(tables: Mapping[str, Mapping[str, Table]], metric: str) -> dict[str, Any] | None:
    template = {unit: found["shape_pam50"] for unit, found in tables.items() if "shape_pam50" in found}
    if any(len(table) for table in template.values()):
        return cohort_curves(
            {u: Table({k: v for k, v in t.columns.items() if k != "distance_pmj"}) for u, t in template.items()}, metric
        )
    native = {
        unit: found["shape"]
        for unit, found in tables.items()
        if "shape" in found and len(found["shape"]) and np.isfinite(finite(found["shape"], "distance_pmj")).any()
    }
    return cohort_curves(native, metric) if native else None
