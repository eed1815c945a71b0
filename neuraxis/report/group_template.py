"""The template of a cohort on the group's page: pictures, rounds, and how the heads lie on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from neuraxis.report.page import figure_in_page
from neuraxis.table import Table


def template_section(
    pictures: Sequence[Mapping[str, str]], rounds: Table, heads: Table, left_out: Sequence[str], folder: str, root: Path
) -> dict[str, Any]:
    """What the page draws of the template, and which units are not in it; `pictures` lie relative to `root`, its files in `folder`."""
    rows = [row | {"href": quote(row["participant_id"]) + ".html"} for row in heads.rows()]
    return {
        "figures": [figure_in_page(one, root, f"template-figure{number}") for number, one in enumerate(pictures, 1)],
        "rounds": list(rounds.rows()),
        "heads": sorted(rows, key=lambda row: row["overlap"]),
        "left_out": list(left_out),
        "folder": folder,
    }


def pam50_section(
    pictures: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, Any]], left_out: Sequence[tuple[str, str]], folder: str, root: Path
) -> dict[str, Any]:
    """What the page draws of the cords' maps in PAM50: pictures, a row for every map, and the units that are left out, with the reason."""
    return {
        "figures": [figure_in_page(one, root, f"pam50-figure{number}") for number, one in enumerate(pictures, 1)],
        "rows": list(rows),
        "left_out": [{"unit": unit, "why": why} for unit, why in left_out],
        "folder": folder,
    }
