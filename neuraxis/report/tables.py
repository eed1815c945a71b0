"""A short table as it stands on a participant's page: the columns worth reading there, with unit and meaning."""

from __future__ import annotations

from typing import Any

from neuraxis.artifacts import ARTIFACTS
from neuraxis.report.tracts import tract_summary
from neuraxis.table import Table

MOST_ROWS = 60
_LEFT_OUT = ("_sd", "orientation_mean", "length_anterior_mean", "length_posterior_mean", "symmetry_AP_mean")
_UNITS = {"mm2": "mm²", "mm3": "mm³", "deg": "°", "1": "", "percent": "%"}


def short_table(name: str, table: Table) -> dict[str, Any] | None:
    """Caption, columns and rows of a table for the record; None of one with a row per slice, which is for a curve.

    Columns without a value are left out, and where there are more than twelve standard deviations and rarely read ones too,
    and whether a row is trusted comes before its figures; the file has them all.
    """
    if name == "tract_metrics":
        table = tract_summary(table)
    if not len(table) or len(table) > MOST_ROWS or ("slice" in table and len(table) > 12):
        return None
    known = ARTIFACTS[name].columns if name in ARTIFACTS else {}
    names = [name for name, values in table.columns.items() if any(v == v and v != "" for v in values.tolist())]
    if len(names) > 12:
        names = [one for one in names if not one.endswith(_LEFT_OUT) and not one.startswith("area_anterior")]
        names = [one for one in names if not one.startswith("area_posterior")]
        if "n_trusted" in names:
            judged = [one for one in ("trusted", "why") if one in names]
            names = [one for one in names if one not in judged]
            after = names.index("n_trusted") + 1
            names[after:after] = judged
    columns = []
    for one in names:
        unit = _UNITS.get(known[one].unit, known[one].unit) if one in known else ""
        said = one.removesuffix("_mean").replace("_", " ")
        columns.append(
            {
                "title": f"{said} ({unit})" if unit else said,
                "meaning": known[one].meaning if one in known else "",
                "number": table[one].dtype.kind in "if",
            }
        )
    rows = [[None if value != value else value for value in (row[one] for one in names)] for row in table.rows()]
    title = ARTIFACTS[name].title if name in ARTIFACTS else name.replace("_", " ").capitalize()
    return {"caption": title, "columns": columns, "rows": rows}
