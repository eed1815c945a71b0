"""The glossary: one row per thing that flows, with its unit, its sign, its file, its columns and its picture.

Signs, for the whole app: a stronger field, a positive field map and a positive phase are one and the same; paramagnetic
susceptibility is positive. Letters in shapes: X Y Z space, E echoes, T time, C classes, N rows of a table.
"""

from __future__ import annotations

from neuraxis.artifacts import brain, cord, cord_mt, cord_series, cord_template, group, qsm, tools
from neuraxis.artifacts.row import Artifact, Column, File, View

__all__ = ["ARTIFACTS", "Artifact", "Column", "File", "View"]

_ROOMS = (qsm, brain, cord, cord_template, cord_mt, cord_series, group, tools)

ARTIFACTS: dict[str, Artifact] = {one.name: one for room in _ROOMS for one in room.ROWS}
