"""The records of a participant's units -> one HTML page that stands alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuraxis.artifacts import ARTIFACTS
from neuraxis.report.template import fill

_UNIT: dict[str, Any] = {
    "session": None, "pipeline": "", "status": "", "error": "", "hint": "", "version": "", "command": "", "started": "",
    "seconds": None, "peak_memory_mb": None, "device": "", "inputs": [], "notes": [], "warnings": [], "steps": [],
    "statistics": {}, "outputs": [], "missing": {}, "references": [], "references_text": "", "methods_text": "",
    "settings": "",
}  # fmt: skip
_STEP: dict[str, Any] = {
    "family": "", "title": "", "makes": [], "status": "", "reason": "", "method": "", "summary": "", "knobs": [],
    "dois": [], "seconds": None, "peak_memory_mb": None, "warnings": [], "figures": [], "tables": [],
}  # fmt: skip


def participant_page(records: Sequence[Mapping[str, Any]], figures_root: Path, *, settings: str = "") -> str:
    """The page of one participant: every unit, every step, with its pictures inside.

    Parameters
    ----------
    records
        One per unit. `methods_text` and `references_text`, where a record has them, are shown once per distinct text.
    figures_root
        The folder that the figures' file names are relative to.
    settings
        The text of `run.toml`.
    """
    units = [_unit(record, figures_root, number) for number, record in enumerate(records, 1)]
    participant = str(records[0].get("participant", "")) if records else ""
    return fill(
        "participant.html.jinja",
        participant=participant,
        units=units,
        methods=_by_text(units, "methods_text"),
        references=_by_text(units, "references_text"),
        settings=settings or next((unit["settings"] for unit in units if unit["settings"]), ""),
    )


def _unit(record: Mapping[str, Any], root: Path, number: int) -> dict[str, Any]:
    unit = {**_UNIT, **record}
    unit["id"] = f"unit{number}"
    unit["steps"] = [_step(step, root, f"unit{number}-step{n}") for n, step in enumerate(unit["steps"], 1)]
    if not unit["warnings"]:
        unit["warnings"] = [text for step in unit["steps"] for text in step["warnings"]]
    unit["statistics"] = [{"title": _title(name), **values} for name, values in unit["statistics"].items()]
    unit["missing"] = {_title(name): why for name, why in unit["missing"].items()}
    unit["counts"] = {s: n for s in ("computed", "cached", "given", "skipped", "failed")
                      if (n := sum(step["status"] == s for step in unit["steps"]))}  # fmt: skip
    if not unit["references_text"]:
        unit["references_text"] = "\n".join(map(str, unit["references"]))
    return unit


def _step(record: Mapping[str, Any], root: Path, name: str) -> dict[str, Any]:
    step = {**_STEP, **record, "id": name}
    step["makes"] = [_title(one) for one in step["makes"]]
    step["changed"] = sum(not knob.get("default", True) for knob in step["knobs"])
    step["figures"] = [figure_in_page(figure, root, f"{name}-figure{n}") for n, figure in enumerate(step["figures"], 1)]
    return step


def figure_in_page(figure: Mapping[str, Any], root: Path, name: str) -> dict[str, Any]:
    """A picture, and the one that lies over it where there is one: both inside the page."""
    plain = _embedded(root, figure["file"])
    over = _embedded(root, figure["over"])["src"] if figure.get("over") and plain["src"] else ""
    return {**figure, **plain, "over": over, "id": name}


def _title(name: str) -> str:
    return ARTIFACTS[name].title if name in ARTIFACTS else name


def _embedded(root: Path, file: str) -> dict[str, Any]:
    """A PNG as a data URI with its size; an empty one when it is not there."""
    try:
        content = (Path(root) / file).read_bytes()
    except OSError:
        return {"src": "", "width": 0, "height": 0}
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    return {"src": "data:image/png;base64," + base64.b64encode(content).decode(), "width": width, "height": height}


def _by_text(units: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Each distinct text once, with the units that it is about."""
    found: dict[str, list[str]] = {}
    for unit in units:
        if unit[name] and unit["steps"]:  # of a unit that never started there is nothing to cite
            found.setdefault(str(unit[name]).strip(), []).append(unit["unit"])
    return [
        {"text": text, "lines": [one for one in text.splitlines() if one], "units": about}
        for text, about in found.items()
    ]
