"""Which slices are measured together: the whole cord, every vertebral level, ranges of levels."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from neuraxis.cord.aggregate import compact, level_ranges
from neuraxis.cord.levels import doubts
from neuraxis.cord.vertebrae import vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array


class Group(NamedTuple):
    """Slices that are measured together."""

    group: str
    """cord, level, range or slice."""
    level: str
    """The level, or first:last of a range."""
    name: str
    chosen: Array
    """Of the upright slices; bool, (Z,)."""
    why: str
    """What speaks against its levels."""

    @property
    def slices(self) -> str:
        return compact(np.flatnonzero(self.chosen))


def slice_levels(levels: Array) -> Array:
    """Level of every upright slice: the rounded mean of its voxels with a level, 0 without one; (X, Y, Z) -> (Z,)."""
    found = np.nan_to_num(levels)
    count = (found > 0).sum(axis=(0, 1))
    return np.rint(np.where(found > 0, found, 0).sum(axis=(0, 1)) / np.maximum(count, 1)).astype(int)


def groups_of(level: Array, there: Array, ranges: str = "", level_table: Table | None = None) -> list[Group]:
    """The whole cord, its levels from the head down, and the ranges that are asked for.

    Parameters
    ----------
    level
        Of every upright slice, 0 is unknown; (Z,).
    there
        Slices with any region of the atlas; bool, (Z,).
    ranges
        As "2:5,3:4"; ValueError where it cannot be read, a warning where nothing of a level is in view.
    level_table
        Which levels are trusted.
    """
    doubted = doubts(level_table, open_ends=True) if level_table is not None else {}
    known = [int(one) for one in np.unique(level[there]) if one > 0]
    found = [Group("cord", "all", "whole cord", there, "")]
    lowest = {one: int(np.flatnonzero(there & (level == one))[0]) for one in known}
    for one in sorted(known, key=lambda one: -lowest[one]):
        why = f"{vertebra_name(one)}: {doubted[one]}" if one in doubted else ""
        found.append(Group("level", str(one), vertebra_name(one), there & (level == one), why))
    for low, high in level_ranges(ranges):
        within = [one for one in known if low <= one <= high]
        absent = [vertebra_name(one) for one in range(low, high + 1) if one not in known]
        if absent:
            warnings.warn(f"no slice of {', '.join(absent)} in view for the range {low}:{high}", stacklevel=2)
        if within:
            why = "; ".join(f"{vertebra_name(one)}: {doubted[one]}" for one in within if one in doubted)
            name = f"{vertebra_name(low)}-{vertebra_name(high)}"
            found.append(Group("range", f"{low}:{high}", name, there & np.isin(level, within), why))
    return found


def single_slices(there: Array) -> list[Group]:
    """A group for every slice with any region, from the lowest."""
    return [Group("slice", "", "", np.arange(len(there)) == one, "") for one in np.flatnonzero(there)]
