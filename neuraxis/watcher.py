"""Keeps the record of a run while it goes on: what was done, how long it took, what it looks like."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids.dataset import Unit
from neuraxis.bids.derivatives import UnitStore, write_atomically
from neuraxis.engine import Plan, PlannedStep
from neuraxis.errors import NeuraxisError
from neuraxis.executor import PeakMemory
from neuraxis.report.tables import short_table
from neuraxis.table import Table
from neuraxis.volume import Volume


def tell(text: str) -> None:
    """A line on stderr, in one piece: other processes write beside it."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Watcher:
    """Keeps the record of a run: what was done, how long it took, what it looks like."""

    def __init__(self, unit: Unit, plan: Plan, store: UnitStore) -> None:
        self.plan, self.store, self.participant = plan, store, unit.participant
        self.certain = unit.sure
        """Whether a failure is one: in a doubtful unit the first one says that there is nothing in it."""
        self.memory = PeakMemory()
        self.steps: dict[str, dict[str, Any]] = {}
        self.statistics: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        self.errors: list[NeuraxisError] = []
        self.warned: list[str] = []
        self.unit = unit.name

    def say(self, text: str) -> None:
        tell(f"[{self.unit}] {text}")

    def started(self, one: PlannedStep) -> None:
        self.memory.reset()

    def finished(self, one: PlannedStep, made: Mapping[str, Any], seconds: float, warned: Sequence[str]) -> None:
        peak = self.memory.read()
        self.certain |= any(ARTIFACTS[name].keep == "always" for name in made)
        self.say(f"{one.step.by.title} ({one.method.name}): {seconds:.1f} s, {peak:.0f} MiB")
        for text in warned:
            self.say(f"warning: {text}")
        entry = step_entry(self.plan, one, "computed")
        entry |= {
            "seconds": round(seconds, 2),
            "peak_memory_mb": round(peak),
            "warnings": list(warned),
            "figures": [],
        }
        self.seen |= made
        entry["figures"] = [figure for name, value in made.items() for figure in self.figures(name, value)]
        results = {n: v for n, v in made.items() if isinstance(v, Table) and ARTIFACTS[n].keep in ("always", "made")}
        entry["tables"] = [short for n, v in results.items() if (short := short_table(n, v))]
        self.steps[one.step.by.name] = entry
        for name, value in made.items():
            if ARTIFACTS[name].statistics:
                self.statistics[name] = statistics(ARTIFACTS[name].unit, value.data)

    def failed(self, one: PlannedStep, error: NeuraxisError) -> None:
        self.say(f"{'failed' if self.certain else 'nothing to measure'}: {error.sentence()}")
        self.errors.append(error)
        status = "failed" if self.certain else "skipped"
        self.steps[one.step.by.name] = step_entry(self.plan, one, status) | {"reason": error.sentence()}

    def blocked(self, one: PlannedStep, reason: str) -> None:
        self.steps[one.step.by.name] = step_entry(self.plan, one, "skipped") | {"reason": reason}

    def given(self, values: Mapping[str, Any]) -> None:
        """Draws what came from other hands: it carries the results as much as what was made."""
        for one in self.plan.steps:
            if one.fate == "given":
                here = [name for name in one.step.makes if name in values]
                entry = step_entry(self.plan, one, "given")
                entry["figures"] = [figure for name in here for figure in self.figures(name, values[name])]
                self.steps[one.step.by.name] = entry

    def figures(self, name: str, value: Any) -> list[dict[str, str]]:
        """Draws an artifact that has a view, and says where the pictures lie."""
        self.seen[name] = value
        view = ARTIFACTS[name].view
        if view is None:
            return []
        base = f"sub-{self.participant}/figures/{self.unit}_{name.replace('_', '')}"
        try:
            draw = {"map": self._map, "outline": self._map, "regions": self._regions}.get(view.kind)
            pictures = draw(name, value) if draw else self._cord(name, view.kind)
        except (ValueError, ArithmeticError, KeyError, IndexError) as error:  # a picture is no reason to lose a result
            self.warned.append(f"no picture of {name}: {error}")
            self.say(f"warning: {self.warned[-1]}")
            return []
        told: list[dict[str, str]] = []
        for ending, picture, text, over, flicker in pictures:
            told.append({"file": f"{base}{ending}.png", "caption": text} | ({"flicker": "yes"} if flicker else {}))
            write_atomically(self.store.out / told[-1]["file"], picture)
            if over is not None:
                told[-1]["over"] = f"{base}{ending}_over.png"
                write_atomically(self.store.out / told[-1]["over"], over)
        return told

    def _map(self, name: str, value: Volume) -> Sequence[tuple[str, bytes, str, bytes | None, bool]]:
        from neuraxis.report.figures import caption, draw

        artifact = ARTIFACTS[name]
        assert artifact.view is not None
        under = self.seen.get(artifact.view.on)
        if artifact.view.kind == "outline" and under is None:
            return []
        echoes = [f"{1e3 * time:.1f} ms" for time in self.store.echo_times] if value.data.ndim == 4 else []
        region = self.seen.get("mask")
        if region is not None and not region.grid.same_as(value.grid):  # slabs lie on a grid of their own
            region = None
        picture = draw(artifact, value, under=under, region=region, labels=echoes)
        return [("", picture, caption(artifact), None, False)]

    def _regions(self, name: str, value: Volume) -> Sequence[tuple[str, bytes, str, bytes | None, bool]]:
        from neuraxis.report.figures import caption
        from neuraxis.report.regions import regions_picture

        view = ARTIFACTS[name].view
        under = self.seen.get(view.on) if view else None
        if under is None or not under.grid.same_as(value.grid):
            return []
        picture, over = regions_picture(under, value, self.seen.get("region_names"))
        return [("", picture, caption(ARTIFACTS[name]), over, False)]

    def _cord(self, name: str, kind: str) -> Sequence[tuple[str, bytes, str, bytes | None, bool]]:
        from neuraxis.report.cord import draw_cord

        plan, store = self.plan, self.store
        for other, key in plan.keys.items():  # of a former run
            if (
                other not in self.seen
                and ARTIFACTS[other].kind not in ("number", "numbers", "text")
                and store.has(other, key)
            ):
                self.seen[other] = store.load(other)
        return draw_cord(kind, name, self.seen)


def statistics(unit: str, values: Any) -> dict[str, Any]:
    """Mean, SD and median of a map inside its mask (the map is zero outside)."""
    inside = values[values != 0].astype(float)
    if not inside.size:
        return {"unit": unit, "voxels": 0, "mean": None, "sd": None, "median": None}
    return {
        "unit": unit,
        "voxels": int(inside.size),
        "mean": float(inside.mean()),
        "sd": float(inside.std()),
        "median": float(np.median(inside)),
    }


def step_entry(plan: Plan, one: PlannedStep, status: str) -> dict[str, Any]:
    """What a record says of a step before it has run."""
    knobs = [
        {"name": k.name, "value": one.knobs[k.name], "default": one.knobs[k.name] == k.default, "help": k.help}
        for k in one.method.knobs
    ]
    return {
        "family": one.step.by.name,
        "title": one.step.by.title,
        "makes": list(one.step.makes),
        "status": status,
        "reason": one.reason,
        "method": one.method.path,
        "summary": one.method.summary,
        "text": one.method.text,
        "knobs": knobs,
        "dois": list(one.method.dois),
        "key": next((plan.keys[name] for name in one.step.makes if name in plan.keys), ""),
        "seconds": None,
        "peak_memory_mb": None,
        "warnings": [],
        "figures": [],
        "tables": [],
    }
