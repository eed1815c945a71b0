"""What participants.tsv tells of the participants: sex, age and group."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path
from typing import Any

_NOBODY_KNOWS = ("", "n/a", "nan", "unknown")


def people(bids_dir: Path, group_column: str) -> dict[str, dict[str, Any]]:
    """Participant (with sub-) -> sex (F or M), age (years) and group, as far as participants.tsv tells them in a way that is understood."""
    found: dict[str, dict[str, Any]] = {}
    for row in participants(bids_dir):
        label = row.get("participant_id", "").removeprefix("sub-")
        one = found.setdefault(f"sub-{label}", {})
        sex = (row.get("sex") or row.get("gender") or "").strip().upper()
        if sex in ("F", "FEMALE", "M", "MALE"):
            one["sex"] = sex[0]
        with contextlib.suppress(ValueError):
            if 0 < (age := float(row.get("age") or "")) < 130:
                one["age"] = age
        if (word := row.get(group_column, "").strip()).lower() not in _NOBODY_KNOWS:
            one["group"] = word
    return found


def person(bids_dir: Path, participant: str) -> dict[str, Any]:
    """Sex (F or M) and age (years) of a participant, as far as they are known."""
    known = people(bids_dir, "").get(f"sub-{participant}", {})
    return {name: known[name] for name in ("sex", "age") if name in known}


def participants(bids: Path) -> list[dict[str, str]]:
    """The rows of participants.tsv; none when there is none."""
    try:
        with open(bids / "participants.tsv", encoding="utf-8-sig", newline="") as file:
            return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file, delimiter="\t")]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
