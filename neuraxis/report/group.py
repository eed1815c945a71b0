"""The records of all units -> one table with its data dictionary, and one HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from neuraxis.artifacts import ARTIFACTS
from neuraxis.report.template import fill

_STATISTICS = {"mean": "Mean", "sd": "Standard deviation", "median": "Median", "voxels": "Number of voxels"}
_PLOTTED = ("median", "sd")  # the mean of a referenced susceptibility is zero by its making
_WIDTH, _HEIGHT, _EDGE = 420, 92, 18


def _columns() -> dict[str, dict[str, Any]]:
    """Column -> its description; the maps' columns follow from the glossary."""
    found: dict[str, dict[str, Any]] = {
        "participant_id": {"Description": "Participant"},
        "session_id": {"Description": "Session; n/a where the data set has none"},
        "unit": {"Description": "Unit of work: one acquisition, by its file name without the suffix of the map"},
        "status": {
            "Description": "How the unit ended",
            "Levels": {
                "ok": "all that was asked for is there",
                "partial": "some of it is there",
                "failed": "none of it is there",
            },
        },
    }
    for one in ARTIFACTS.values():
        if one.statistics:
            for name, title in _STATISTICS.items():
                found[f"{one.name}_{name}"] = {
                    "Description": f"{title} of the {_lower(one.title)} where it is not zero ({one.meaning})",
                    "Units": "voxels" if name == "voxels" else one.unit,
                }
    found["seconds"] = {"Description": "Time that the unit took in its last run", "Units": "s"}
    found["peak_memory_mb"] = {"Description": "Peak resident memory of the unit's process", "Units": "MiB"}
    found["warnings"] = {"Description": "Number of warnings", "Units": "count"}
    found["error"] = {"Description": "What went wrong; n/a when nothing did"}
    return {name: {"Units": "n/a", **what} for name, what in found.items()}


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


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


def _cell(value: Any) -> str:
    """A cell of a BIDS table: one line, no tab, n/a for what is not there, six significant digits."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "n/a"
    return " ".join(str(value).split()) or "n/a" if value is not None else "n/a"


def group_table(records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """One row per unit as tab-separated text, and its data dictionary as JSON text."""
    columns = _columns()
    rows = [list(columns)]
    for record in sorted(records, key=_order):
        row = _row(record)
        rows.append([_cell(row.get(name)) for name in columns])
    table = "".join("\t".join(row) + "\n" for row in rows)
    return table, json.dumps(columns, indent=2, ensure_ascii=False) + "\n"


def _order(record: Mapping[str, Any]) -> tuple[str, str]:
    return str(record.get("participant", "")), str(record.get("unit", ""))


def group_page(records: Sequence[Mapping[str, Any]], participants_rows: Sequence[Mapping[str, str]] = ()) -> str:
    """The page over all units: failures first, then distributions of every map, then a table that can be sorted.

    `participants_rows` are those of participants.tsv; their columns stand in the table.
    """
    known = {str(row.get("participant_id", "")): row for row in participants_rows}
    extra = [
        name for name in (participants_rows[0] if participants_rows else {}) if name not in ("participant_id", None)
    ]
    units = []
    for record in sorted(records, key=_order):
        row = _row(record)
        units.append(
            {
                **{"hint": "", "statistics": {}},
                **record,
                "row": row,
                "href": quote(row["participant_id"]) + ".html",
                "about": [known.get(row["participant_id"], {}).get(name) or "" for name in extra],
            }
        )
    maps = [
        one for one in ARTIFACTS.values() if one.statistics and any(one.name in unit["statistics"] for unit in units)
    ]
    counts = {status: sum(unit.get("status") == status for unit in units) for status in ("ok", "partial", "failed")}
    return fill(
        "group.html.jinja",
        units=units,
        extra=extra,
        maps=maps,
        plots={one.name: [_plot(units, one.name, name) for name in _PLOTTED] for one in maps},
        counts={status: number for status, number in counts.items() if number},
        participants=len({unit["row"]["participant_id"] for unit in units}),
    )


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    place = fraction * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _plot(units: Sequence[Mapping[str, Any]], name: str, statistic: str) -> dict[str, Any]:
    """Where the marks of a strip plot with its box lie; points beyond 1.5 interquartile ranges are far."""
    column = f"{name}_{statistic}"
    found = [(unit["row"].get(column), unit) for unit in units]
    points = [(float(v), unit) for v, unit in found if isinstance(v, (int, float)) and math.isfinite(v)]
    plot: dict[str, Any] = {
        "title": _STATISTICS[statistic],
        "box": None,
        "points": [],
        "ticks": [],
        "width": _WIDTH,
        "height": _HEIGHT,
    }
    if not points:
        return plot
    values = sorted(value for value, _ in points)
    spread = values[-1] - values[0] or abs(values[0]) or 1.0
    low, high = values[0] - 0.06 * spread, values[-1] + 0.06 * spread

    def x(value: float) -> float:
        return round(_EDGE + (value - low) / (high - low) * (_WIDTH - 2 * _EDGE), 1)

    lower, middle, upper = (_quantile(values, fraction) for fraction in (0.25, 0.5, 0.75))
    reach = 1.5 * (upper - lower)
    inside = [v for v in values if lower - reach <= v <= upper + reach]
    if len(values) >= 4:
        plot["box"] = {
            "lower": x(lower),
            "middle": x(middle),
            "upper": x(upper),
            "least": x(inside[0]),
            "most": x(inside[-1]),
        }
    for number, (value, unit) in enumerate(points):
        far = len(values) >= 4 and not inside[0] <= value <= inside[-1]
        y = 26 + 18 * ((number * 0.618034) % 1)  # spread in height, the same at every writing
        plot["points"].append(
            {"x": x(value), "y": round(y, 1), "value": value, "unit": unit["unit"], "href": unit["href"], "far": far}
        )
    plot["ticks"] = [{"x": x(value), "value": value} for value in _ticks(low, high)]
    return plot


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends, three to six of them."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    return [round(n * step, 12) for n in range(first, math.floor(high / step) + 1)]
