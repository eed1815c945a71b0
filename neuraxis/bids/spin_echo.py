"""Which images of a participant are echoes of a spin-echo train, and which of them a gradient-echo unit goes with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neuraxis.bids.dataset import Problem, Unit, check, echo_number, labelled_members, natural, without_parts
from neuraxis.bids.filters import Filters
from neuraxis.bids.images import grid_of_file
from neuraxis.errors import NeuraxisError

SUFFIXES = ("MESE",)
"""Suffixes whose magnitudes decay with R2."""


def spin_echo_units(
    bids_dir: Path, participant: str, filters: Filters | None = None, files: Mapping[str, Iterable[Path]] | None = None
) -> tuple[list[Unit], list[Problem]]:
    """The multi-echo spin-echo acquisitions of one participant (magnitudes at two echoes or more), and those that cannot be used."""
    groups, problems = labelled_members(Path(bids_dir), participant, filters, files, SUFFIXES)
    units = []
    for members in groups:
        entities, suffix, first = members[0]
        chosen = [(e, path) for e, _, path in members if e.get("part", "mag") == "mag" and "echo" in e]
        if suffix not in SUFFIXES or len(chosen) < 2:
            continue
        chosen.sort(key=lambda one: echo_number(one[1]))
        unit = Unit(
            Path(bids_dir), entities["sub"], entities.get("ses"), without_parts(entities), suffix, first.parent.name,
            magnitude=tuple(path for _, path in chosen), echoes=tuple(e["echo"] for e, _ in chosen), pipeline="spin_echo",
        )  # fmt: skip
        problem = check(unit)
        if problem:
            problems.append((unit.name, problem))
        else:
            units.append(unit)
    return sorted(units, key=lambda unit: natural(unit.name)), problems


def referred(units: Sequence[Unit], spin_echoes: Sequence[Unit]) -> list[Unit]:
    """Gradient-echo `units`, each with the spin echoes of its session as its reference: those on its own grid, else the first."""
    found = []
    for unit in units:
        there = [one for one in spin_echoes if one.session == unit.session]
        there.sort(key=lambda one: not _on_one_grid(one, unit))
        found.append(replace(unit, reference=there[0]) if there else unit)
    return found


def _on_one_grid(one: Unit, other: Unit) -> bool:
    try:
        return grid_of_file(one.paths()[0]).same_as(grid_of_file(other.paths()[0]))
    except NeuraxisError:  # told when the unit is read
        return False
