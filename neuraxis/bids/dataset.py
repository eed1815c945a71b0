"""The input: which participants there are, and which of their images make a unit of work. Only what is chosen is indexed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuraxis.errors import DataError, NeuraxisError, NothingSelected, UsageError

PARTS = ("phase", "mag", "real", "imag")
FOLDERS = ("anat", "swi")
NOT_QUANTITATIVE = ("T1w", "T2w", "FLAIR", "PDw", "UNIT1", "MP2RAGE", "MPRAGE")
_ENTITY = re.compile(r"^[a-z]+$")
_LABEL = re.compile(r"^[0-9a-zA-Z+]+$")
_KEYS = {"session": "ses", "run": "run", "acquisition": "acq", "reconstruction": "rec", "subject": "sub", "task": "task",
         "ceagent": "ce", "inv": "inv", "mt": "mt", "flip": "flip", "direction": "dir"}  # fmt: skip


def natural(text: str) -> tuple[Any, ...]:
    """A key that sorts sub-2 before sub-10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text))


def participants(bids_dir: Path) -> list[str]:
    """Labels of all participants, without sub-, in natural order."""
    with os.scandir(bids_dir) as entries:
        labels = [one.name.removeprefix("sub-") for one in entries if one.name.startswith("sub-") and one.is_dir()]
    return sorted((label for label in labels if _LABEL.match(label)), key=natural)


def labels_of(given: Iterable[str], prefix: str) -> list[str]:
    """Labels as given on the command line: with or without prefix, or a text file with one per line; each once."""
    found: list[str] = []
    for item in given:
        path = Path(item)
        lines = path.read_text().split() if os.sep in item and path.is_file() or item.endswith(".txt") and path.is_file() else [item]
        found += [line.strip().removeprefix(f"{prefix}-") for line in lines if line.strip()]
    return list(dict.fromkeys(found))


def choose_participants(bids_dir: Path, given: Sequence[str]) -> list[str]:
    """The participants to work on; NothingSelected names those that are not there."""
    there = participants(bids_dir)
    if not there:
        raise NothingSelected(f"{bids_dir} has no folder of a participant (sub-*).", "Is it a BIDS data set?")
    if not given:
        return there
    wanted = labels_of(given, "sub")
    absent = [label for label in wanted if label not in there]
    if absent:
        shown = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
        raise NothingSelected(f"There is no participant {', '.join(absent)} in {bids_dir}.", f"There are: {shown}.")
    return wanted


@dataclass(frozen=True)
class Filters:
    """Which images are chosen: entity -> labels or, from a filter file, text, pattern or None (absent)."""

    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(filter_file: Path | None = None, **labels: Sequence[str]) -> Filters:
        """Filters of the command line: `session`, `run`, `acquisition`, `rec` (labels) and a filter file."""
        short = {"session": "ses", "run": "run", "acquisition": "acq", "rec": "rec"}
        wanted = {short[name]: labels_of(values, short[name]) for name, values in labels.items() if values}
        return Filters(wanted, _read_filter_file(filter_file) if filter_file else {})

    def accept(self, entities: Mapping[str, str]) -> bool:
        """Whether an image with these entities is chosen. An image that lacks an entity is not filtered out by labels."""
        for name, labels in self.wanted.items():
            if name in entities and not any(_same(entities[name], label) for label in labels):
                return False
        for key, value in self.query.items():
            name = _KEYS.get(key, key)
            if name in ("datatype", "extension", "suffix", "part"):
                continue
            if not _matches(entities.get(name), value):
                return False
        return True


def _same(found: str, wanted: str) -> bool:
    return found == wanted or (found.isdigit() and wanted.isdigit() and int(found) == int(wanted))


def _matches(found: str | None, wanted: Any) -> bool:
    if wanted is None or wanted == "Query.NONE":
        return found is None
    if wanted in ("Query.ANY", "*"):
        return found is not None
    if wanted == "Query.OPTIONAL":
        return True
    if isinstance(wanted, list):
        return any(_matches(found, one) for one in wanted)
    return found is not None and (_same(found, str(wanted)) or re.fullmatch(str(wanted), found) is not None)


def _read_filter_file(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        found = content.get("gre", content.get("megre", {}))
        for value in found.values():
            re.compile(str(value))
    except (OSError, ValueError, AttributeError, re.error) as error:
        raise UsageError(f"--bids-filter-file {path} cannot be used: {error}.", "It holds a JSON object of queries.") from error
    return dict(found)


@dataclass(frozen=True)
class Unit:
    """One gradient-echo acquisition: its entities without echo and part, and its files by part, in order of the echo."""

    bids_dir: Path
    participant: str
    session: str | None
    entities: tuple[tuple[str, str], ...]
    suffix: str
    files: tuple[tuple[str, tuple[Path, ...]], ...]
    echoes: tuple[str, ...]
    label: str = ""

    @property
    def stem(self) -> str:
        return "_".join(f"{name}-{value}" for name, value in self.entities)

    @property
    def name(self) -> str:
        return f"{self.stem}_{self.suffix}"

    def part(self, name: str) -> tuple[Path, ...]:
        """Files of a part (phase, mag, real, imag), by echo; none when it is not there."""
        return dict(self.files).get(name, ())

    def paths(self) -> tuple[Path, ...]:
        return tuple(path for _, paths in self.files for path in paths)

    @property
    def has_phase(self) -> bool:
        return bool(self.part("phase") or self.part("real"))

    @property
    def has_magnitude(self) -> bool:
        return bool(self.part("mag") or self.part("real"))


def layout(bids_dir: Path, labels: Sequence[str], database: Path | None = None) -> list[Path]:
    """Images of the chosen participants, found with pybids; nothing else of the data set is indexed."""
    from bids import BIDSLayout, BIDSLayoutIndexer

    if database is not None:
        found = BIDSLayout(bids_dir, validate=False, database_path=database)
    else:
        chosen = "|".join(re.escape(label) for label in labels)
        ignore = [re.compile(rf"^/sub-(?!({chosen})(/|$))"), re.compile(r"^/(derivatives|code|sourcedata|stimuli|\.)")]
        indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
        found = BIDSLayout(bids_dir, validate=False, indexer=indexer)
    return [Path(path) for path in sorted(found.files)]


def gre_units(bids_dir: Path, label: str, filters: Filters, files: Iterable[Path]) -> tuple[list[Unit], list[tuple[str, NeuraxisError]]]:
    """Units of one participant among `files`, and what is wrong with those that cannot be used: (name, error)."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Path]]] = {}
    for path in files:
        if not path.name.startswith(f"sub-{label}_") or path.parent.name not in FOLDERS:
            continue
        stem, _, extension = path.name.partition(".")
        if extension not in ("nii", "nii.gz"):
            continue
        *pairs, suffix = stem.split("_")
        entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
        part, echo = entities.pop("part", "mag"), entities.pop("echo", "")
        if suffix in NOT_QUANTITATIVE or part not in PARTS or not filters.accept(entities):
            continue
        key = (tuple(entities.items()), suffix)
        groups.setdefault(key, {}).setdefault(part, {})[echo] = path
    units: list[Unit] = []
    problems: list[tuple[str, NeuraxisError]] = []
    for (pairs_, suffix), parts in groups.items():
        entities = dict(pairs_)
        complex_ = "real" in parts and "imag" in parts
        if "phase" not in parts and not complex_ and len(parts.get("mag", {})) < 2:
            continue
        used = {name: parts[name] for name in PARTS if name in parts and not (name in ("real", "imag") and "phase" in parts)}
        echoes = sorted(next(iter(used.values())), key=natural)
        unit = Unit(Path(bids_dir), label, entities.get("ses"), pairs_, suffix,
                    tuple((name, tuple(by_echo[e] for e in sorted(by_echo, key=natural))) for name, by_echo in used.items()),
                    tuple(e for e in echoes if e))  # fmt: skip
        first, by_echo = next(iter(used.items()))
        for name, other in used.items():
            if set(other) != set(by_echo):
                missing = sorted(set(other) ^ set(by_echo), key=natural)
                problems.append((unit.name, DataError(
                    f"{unit.name}: part-{first} and part-{name} do not have the same echoes (echo {', '.join(missing)} is in one of them only).",
                    "Add the missing files, or remove those without partner.")))  # fmt: skip
                break
        else:
            units.append(unit)
    return _told_apart(units), problems


def _told_apart(units: list[Unit]) -> list[Unit]:
    """Units that would write the same names get their suffix as a label, all but the MEGRE one."""
    from dataclasses import replace

    stems = [unit.stem for unit in units]
    return [replace(unit, label=unit.suffix) if stems.count(unit.stem) > 1 and unit.suffix != "MEGRE" else unit for unit in units]
