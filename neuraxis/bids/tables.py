"""Tables as TSV files with their data dictionary, and the tables of names that lie beside label images."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.artifacts import Artifact, Column, group
from neuraxis.brain import regions
from neuraxis.cord import vertebrae
from neuraxis.errors import DataError, MethodError
from neuraxis.table import Table, cell

WHO = {name: column.meaning for name, column in group.WHO.items()}
"""Columns in front of every table of a participant: tables of many can be put one below the other."""


def text(table: Table, artifact: Artifact, who: Mapping[str, str]) -> str:
    """The TSV file of a table; MethodError when it has a column that its row of the glossary does not know."""
    unknown = [name for name in table.columns if name not in artifact.columns]
    if unknown:
        raise MethodError(f"{artifact.name} has columns that the glossary does not know: {', '.join(unknown)}.")
    front = [cell(who.get(name, "")) for name in WHO]
    lines = ["\t".join([*WHO, *table.columns])]
    lines += ["\t".join([*front, *(cell(value) for value in row.values())]) for row in table.rows()]
    return "\n".join(lines) + "\n"


def dictionary(table: Table, artifact: Artifact) -> dict[str, Any]:
    """The columns of a table, as the data dictionary of BIDS wants them."""
    found: dict[str, Any] = {name: {"Description": meaning} for name, meaning in WHO.items()}
    return found | plain_dictionary(table, artifact)


def plain_text(table: Table) -> str:
    """The TSV file of a table that says itself whom its rows are about."""
    lines = ["\t".join(table.columns), *("\t".join(cell(value) for value in row.values()) for row in table.rows())]
    return "\n".join(lines) + "\n"


def plain_dictionary(table: Table, artifact: Artifact) -> dict[str, Any]:
    """Its data dictionary."""
    return {name: _column_text(artifact.columns[name]) for name in table.columns}


def _column_text(column: Column) -> dict[str, str]:
    return {"Description": column.meaning} | ({"Units": column.unit} if column.unit else {})


def read(path: Path, artifact: Artifact) -> Table:
    """A table of our own writing: columns of numbers where every cell is a number or n/a."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(io.StringIO(file.read()), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Remove it: it will be written again.") from error
    head, body = rows[0], rows[1:]
    if any(len(row) != len(head) for row in body):
        raise DataError(f"{path} is no whole table.", "Remove it: it will be written again.")
    return Table(
        {name: _column([r[n] for r in body], artifact, name) for n, name in enumerate(head) if name not in WHO}
    )


def _column(cells: list[str], artifact: Artifact, name: str) -> Any:
    if artifact.columns[name].text:
        return np.array(["" if one == "n/a" else one for one in cells], dtype=str)
    numbers = np.array([math.nan if one == "n/a" else float(one) for one in cells], dtype=float)
    if artifact.columns[name].whole and np.isfinite(numbers).all():
        return numbers.astype(np.int64)
    return numbers


_HIGHEST = 4
"""Folders above an image in which the table of its labels is looked for: those of datatype, session and participant, and the data set."""


def names_for(image: Path) -> Table | None:
    """The names of an image's labels: from the table of its own name, else, as BIDS inherits, from the nearest one above whose
    entities are all among the image's."""
    parts = image.name.removesuffix(".gz").removesuffix(".nii").split("_")
    for folder in [image.parent, *image.parents[1:_HIGHEST]]:
        fitting = [one for one in folder.glob(f"*{parts[-1]}.tsv") if set(one.stem.split("_")) <= set(parts)]
        for path in sorted(fitting, key=lambda one: -len(one.stem.split("_"))):
            if (found := read_names(path)) is not None:
                return found
    return None


def read_names(path: Path) -> Table | None:
    """A table of labels of other hands: index and name; None when it is not there or has not these columns."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return Table.of({"index": [int(row["index"]) for row in rows], "name": [str(row["name"]) for row in rows]}) if rows else None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError):
        return None


def label_table(names: str, data: Any, given: Table | None = None) -> str:
    """The table of names beside a label image: index and name of every label in it; of regions, as a given table calls them."""
    name_of = {
        "vertebrae": vertebrae.vertebra_name,
        "discs": vertebrae.disc_name,
        "spinal_levels": vertebrae.spinal_level_name,
        "lesions": lambda number: f"lesion {number}",
        "regions": lambda number: regions.name_of(number, given),
    }[names]
    found = [int(value) for value in np.unique(data) if value]
    return "index\tname\n" + "".join(f"{value}\t{name_of(value)}\n" for value in found)


def label_map(names: str) -> list[str]:
    """What the volumes of a map of probabilities are of, in order, as its sidecar says it (LabelMap)."""
    structures = {"nuclei": regions.NUCLEI}[names]
    return [regions.name_of(number) for one in structures for number in (one.left, one.right)]
