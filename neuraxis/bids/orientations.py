"""Which gradient-echo acquisitions of a session may be one head in several positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neuraxis.bids.dataset import Unit


def joined(units: Sequence[Unit]) -> list[Unit]:
    """Units of two or more gradient-echo `units` with phase and magnitude that differ in acq- and run- alone.

    BIDS has no entity for the position of the head. The first is the reference: its grid is that of the results. Entities that all
    of them share stay in the name.
    """
    groups: dict[object, list[Unit]] = {}
    for unit in units:
        if unit.has_phase and unit.has_magnitude:
            kept = frozenset((key, value) for key, value in unit.entities if key not in ("acq", "run"))
            groups.setdefault((kept, unit.suffix, unit.datatype, unit.label), []).append(unit)
    found = []
    for group in (one for one in groups.values() if len(one) > 1):
        shared = set(group[0].entities).intersection(*(unit.entities for unit in group))
        entities = tuple(pair for pair in group[0].entities if pair in shared)
        found.append(
            replace(group[0], entities=entities, orientations=tuple(group), pipeline="orientations", reference=None, echoes=())
        )
    return found
