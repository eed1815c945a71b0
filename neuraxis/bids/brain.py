"""Which T1w of a participant goes with which gradient echo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neuraxis.bids.cord import in_view
from neuraxis.bids.dataset import Problem, Unit, labelled_members, natural, without_parts
from neuraxis.bids.filters import Filters
from neuraxis.bids.images import grid_of_file
from neuraxis.errors import NeuraxisError

SUFFIXES = ("T1w",)


def t1w_units(
    bids_dir: Path, participant: str, filters: Filters | None = None, files: Mapping[str, Iterable[Path]] | None = None
) -> tuple[list[Unit], list[Problem]]:
    """The T1w images of one participant's head, in natural order, and those that cannot be used."""
    groups, problems = labelled_members(Path(bids_dir), participant, filters, files, SUFFIXES)
    units = []
    for members in groups:
        entities, suffix, first = members[0]
        chosen = [path for e, _, path in members if e.get("part", "mag") == "mag"]
        if suffix not in SUFFIXES or len(chosen) != 1:
            continue
        unit = Unit(
            Path(bids_dir), entities["sub"], entities.get("ses"), without_parts(entities), suffix, first.parent.name,
            magnitude=tuple(chosen), pipeline="brain_anat",
        )  # fmt: skip
        try:
            if in_view(unit, grid_of_file(chosen[0])) != "cord":
                units.append(unit)
        except NeuraxisError as error:
            problems.append((unit.name, error))
    return sorted(units, key=lambda unit: natural(unit.name)), problems


def referred(units: Sequence[Unit], t1w: Sequence[Unit]) -> list[Unit]:
    """Gradient-echo `units`, each with the first T1w of its session, or of another session where its own has none."""
    found = []
    for unit in units:
        own = [one for one in t1w if one.session == unit.session] or list(t1w)
        found.append(replace(unit, t1w=own[0]) if own and unit.has_magnitude else unit)
    return found
