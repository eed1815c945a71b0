"""The level `group`: tables of all participants, what goes with age, sex, group and session, and the page over them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis import cohort_pam50, cohort_template
from neuraxis.artifacts import ARTIFACTS, Artifact
from neuraxis.artifacts.cord_template import SPACE
from neuraxis.bids import tables
from neuraxis.bids.derivatives import read_json, write_atomically, write_json
from neuraxis.bids.people import participants, people
from neuraxis.brain.group_statistics import region_models, region_outliers
from neuraxis.brain.group_template import build
from neuraxis.brain.labels import from_template
from neuraxis.cohort_processes import LABEL
from neuraxis.errors import NeuraxisError, UsageError
from neuraxis.options import GROUP_COLUMN, Options
from neuraxis.pipelines import CORD_ANAT, ORIENTATIONS, QSM, SPIN_ECHO
from neuraxis.report import group
from neuraxis.report.group_regions import region_section
from neuraxis.report.group_template import pam50_section, template_section
from neuraxis.signature import Method
from neuraxis.summary import GROUP_RECORD
from neuraxis.table import Table


def write_group(options: Options, records: list[dict[str, Any]]) -> None:
    """The group's tables with their data dictionaries, its template where it is asked for, `group.html`, and the record of its steps.

    Raises what kept the template from being made, after all else is written.
    """
    out, bids = options.output_dir.resolve(), options.bids_dir
    files: dict[str, str] = {}
    maps = [record for record in records if record.get("pipeline") in (QSM.name, SPIN_ECHO.name, ORIENTATIONS.name)]
    if maps:
        table, dictionary = group.group_table(maps)
        write_atomically(out / "group_qsm.tsv", table)
        write_atomically(out / "group_qsm.json", dictionary)
        files[SPIN_ECHO.name] = "group_qsm.tsv"
    for artifact in (one for one in ARTIFACTS.values() if one.pooled):
        name = f"group_{artifact.name.replace('_', '')}"
        text, pooled = pool(out, records, artifact)
        if text:
            write_atomically(out / f"{name}.tsv", text)
            write_json(out / f"{name}.json", pooled)
            files.setdefault(CORD_ANAT.name, f"{name}.tsv")
    found = {record["unit"]: mine for record in records if (mine := tables_of(out, record))}
    regions, steps = None, []
    if len(rows := _region_rows(records, found)):
        about = people(bids, options.group_column)
        models, outliers = region_models(rows, about), region_outliers(rows)
        names = {one: _write(out, one, table) for one, table in (("region_models", models), ("region_outliers", outliers))}
        links = {str(record["unit"]): f"sub-{record['participant']}.html" for record in records}
        regions = region_section(rows, models, outliers, about, links, names)
        steps = [_step("Effects on the regions", region_models), _step("Who lies apart", region_outliers)]
    made, failed = cohort_template.former(out), None
    if options.group_template:
        try:
            made = cohort_template.make(options, records)
        except NeuraxisError as error:  # the tables and the page are written all the same
            made, failed = None, error
    if made:
        steps += [_step("Template of the group", build), _step("Regions of the template", from_template)]
    cords = cohort_pam50.make(out, records)
    write_json(out / GROUP_RECORD, {"steps": steps})  # later runs of participants alone name them too
    template = template_section(
        made.pictures, made.rounds, made.heads, cohort_template.left_out(records, made.heads), f"tpl-{LABEL}", out
    ) if made else None  # fmt: skip
    pam50 = pam50_section(cords.pictures, cords.rows, cords.left_out, f"tpl-{SPACE}", out) if cords else None
    write_atomically(out / "group.html", group.group_page(records, participants(bids), found, files, regions, template, pam50))
    if failed is not None:
        raise failed


def check_column(bids: Path, name: str) -> None:
    """UsageError where the column of participants.tsv that was asked for is not there."""
    rows = participants(bids)
    if name != GROUP_COLUMN and not any(name in row for row in rows):
        there = ", ".join(one for one in (rows[0] if rows else {}) if one != "participant_id") or "none"
        raise UsageError(f"participants.tsv has no column {name!r}.", f"Name one with --group-column; there are: {there}.")


def _region_rows(records: Sequence[Mapping[str, Any]], found: Mapping[str, Mapping[str, Table]]) -> Table:
    """The figures per region of all images, one below the other."""
    parts: list[dict[str, Any]] = []
    for record in records:
        table = found.get(record["unit"], {}).get("region_statistics")
        if table is None or not len(table):
            continue
        words = str(record["unit"]).split("_")
        who = {
            "participant_id": f"sub-{record['participant']}",
            "session_id": f"ses-{record['session']}" if record.get("session") else "",
            "image": str(record["unit"]),
            "acquisition": "_".join(word for word in words if not word.startswith(("sub-", "ses-", "run-"))),
        }
        parts.append({**{name: np.full(len(table), text) for name, text in who.items()}, **table.columns})
    wanted = ("participant_id", "session_id", "image", "acquisition", "map", "unit", "region", "hemisphere", "mean", "trusted")
    return Table({name: np.concatenate([part[name] for part in parts]) for name in wanted} if parts else {})


def _write(out: Path, name: str, table: Table) -> str:
    """A table over the cohort, and its data dictionary; the name of the file."""
    file = f"group_{name.replace('_', '')}.tsv"
    write_atomically(out / file, tables.plain_text(table))
    write_json(out / file.replace(".tsv", ".json"), tables.plain_dictionary(table, ARTIFACTS[name]))
    return file


def _step(title: str, function: Callable[..., Any]) -> dict[str, Any]:
    """What the references and the methods text are told of a step over the cohort."""
    method = Method.of(function)
    return {"title": title, "method": method.path, "status": "computed", "summary": method.summary, "dois": list(method.dois), "knobs": []}


def pool(out: Path, records: list[dict[str, Any]], artifact: Artifact) -> tuple[str, dict[str, Any]]:
    """The rows of one kind of table over all units, one below the other, and the data dictionary; empty without any."""
    rows: list[dict[str, str]] = []
    heads: dict[str, None] = {}
    found: dict[str, Any] = {}
    for path in (out / file for record in records for file in record.get("files", {}).get(artifact.name, ())):
        try:
            head, *lines = path.read_text("utf-8").splitlines()
        except (OSError, ValueError):
            continue
        columns = head.split("\t")
        heads |= dict.fromkeys(columns)
        rows += [dict(zip(columns, line.split("\t"), strict=False)) for line in lines]
        found |= {name: text for name, text in read_json(path.with_suffix(".json")).items() if name in columns}
    lines = ["\t".join(heads), *("\t".join(row.get(name, "n/a") for name in heads) for row in rows)]
    return ("\n".join(lines) + "\n", found) if rows else ("", {})


def tables_of(out: Path, record: dict[str, Any]) -> dict[str, Table]:
    """The tables of a unit that its record tells of and that can be read."""
    found = {}
    for name, (file, *_) in record.get("files", {}).items():
        if name in ARTIFACTS and ARTIFACTS[name].kind == "table":
            with contextlib.suppress(NeuraxisError):
                found[name] = tables.read(out / file, ARTIFACTS[name])
    return found
