"""One unit of work: its inputs, its plan, its run and its record. What a worker process does."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis import __version__, given_files
from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import images, tables
from neuraxis.bids.dataset import Unit
from neuraxis.bids.derivatives import UnitStore, read_image, read_json, write_json
from neuraxis.bids.nifti import read_warp
from neuraxis.engine import Family, Pipeline, Plan, make_plan, to_run
from neuraxis.engine import run as run_plan
from neuraxis.errors import MissingInput, NeuraxisError, UsageError
from neuraxis.executor import set_threads
from neuraxis.kinds import Facts, Kind, kind_of
from neuraxis.options import Options
from neuraxis.pipelines import PIPELINES
from neuraxis.signature import Method
from neuraxis.table import Table
from neuraxis.volume import Volume
from neuraxis.watcher import Watcher, step_entry


@dataclass(frozen=True)
class Task:
    """What a worker is given."""

    unit: Unit
    options: Options
    device: str
    argv: tuple[str, ...]
    work: Path


@dataclass
class Prepared:
    """A unit with its plan, before anything is computed."""

    task: Task
    store: UnitStore
    plan: Plan
    given: dict[str, Path]
    inputs: dict[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return kind_of(self.task.unit)

    def stored(self, name: str, key: str) -> bool:
        return name in self.kind.pipeline.inputs or name in self.given or self.store.has(name, key)

    def text(self) -> str:
        """The plan in words, for `--dry-run`."""
        todo = to_run(self.plan, self.stored)
        lines = [self.task.unit.name]
        for number, one in enumerate(self.plan.steps):
            fate = one.reason if one.fate != "run" else "will run" if number in todo else "already there"
            label = {"skipped": "skipped: ", "unwanted": "not wanted: ", "given": "given: "}.get(one.fate, "")
            lines.append(f"  {one.step.by.name:<14} {one.method.name:<24} {label}{fate}")
        made = [name for one in self.plan.steps if one.fate == "run" for name in one.step.makes]
        for name in (one for one in made if one not in self.given):
            for path in self.store.paths(name):
                there = "there" if self.store.has(name, self.plan.keys[name]) else "to write"
                lines.append(f"  {there:<9} {path.relative_to(self.store.out)}")
        return "\n".join(lines)


def results(pipeline: Pipeline) -> tuple[str, ...]:
    """The artifacts of a pipeline that are results."""
    return tuple(name for name in pipeline.makes if ARTIFACTS[name].keep == "always")


def check_outputs(options: Options) -> None:
    """UsageError when an output is asked for that no pipeline makes."""
    made = {name for pipeline in PIPELINES for name in pipeline.makes}
    for name in options.outputs:
        if name not in made or ARTIFACTS[name].file is None:
            raise UsageError(f"There is no output {name!r}.", "`neuraxis outputs` lists them.")


def asked(options: Options) -> frozenset[str]:
    """What `--outputs` names, and what another pipeline takes for that, or for its results where nothing is named."""
    wanted = set(options.outputs)
    for other in PIPELINES:
        lent = {name for one in PIPELINES if one is not other for name in one.makes} & set(other.inputs) - set(other.reads)
        needed = set(options.outputs or results(other))
        for step in reversed(other.steps):
            if needed & set(step.makes):  # what comes from files is often not there: no other unit works for that alone
                able = [one for one in _thinkable(step.by, options, lent) if not any(n.name in other.reads and not n.optional for n in one.needs)]
                needed |= {need.name for method in able for need in method.needs}
        wanted |= needed & lent
    return frozenset(wanted)


def _thinkable(family: Family, options: Options, lent: set[str]) -> Iterator[Method]:
    """The methods that may be taken: the chosen one, else those up to the first that needs nothing lent."""
    if family.name in options.methods:
        yield family.method(options.methods[family.name])
        return
    for method in family.methods:
        yield method
        if not any(need.name in lent for need in method.needs if not need.optional):
            return


def targets(pipeline: Pipeline, options: Options) -> tuple[str, ...]:
    """What is asked of a pipeline: every result or what `--outputs` names, and what another pipeline takes for that."""
    wanted = asked(options) | (set() if options.outputs else set(results(pipeline)))
    return tuple(name for name in pipeline.makes if name in wanted)


def prepare(task: Task) -> Prepared:
    """Reads the unit's metadata and finds what is there; raises when the unit cannot run."""
    unit, options = task.unit, task.options
    kind = kind_of(unit)
    facts = kind.facts(unit)
    store = store_of(task, unit, facts)
    folders = given_files.folders(options)
    given = given_files.files_of(unit, store, folders)
    borrowed = kind.borrow(unit, [_findings(task, other, folders) for other in unit.before])
    if "discs" in given:  # what was drawn on the image itself goes before what another lends
        borrowed.pop("session_warp", None)
    inputs = facts.inputs | given_files.atlas(options, kind) | borrowed | given_files.names_beside(given)
    store.region_names = inputs.get("region_names")
    keys = {name: _text(value) for name, value in inputs.items()}
    if options.dry_run:  # what the units before will make
        coming = {name for other in unit.before for name in kind_of(other).pipeline.makes}
        keys |= {name: "to come" for name in kind.pipeline.inputs if name in coming and name not in keys}
    if kind.images(unit):
        content = images.content_hash(unit.paths())
        keys |= dict.fromkeys(kind.images(unit), f"{content}, {unit.reading}" if unit.reading else content)
    keys |= given_files.template_keys(kind) | {name: images.content_hash([path]) for name, path in given.items()}
    wanted = targets(kind.pipeline, options)
    plan = make_plan(kind.pipeline, options.methods, options.knobs, keys, wanted, facts.lacking, _handed(task, folders))
    for name, why in plan.missing.items():
        if name in options.outputs:
            hint = f"It is taken from {', '.join(one.name for one in unit.before)}: did they run?" if unit.before else ""
            raise MissingInput(f"{unit.name}: {name} was asked for and cannot be made: {why}.", hint)
    if not plan.targets:
        reasons = dict.fromkeys(plan.missing.values())
        raise MissingInput(f"{unit.name}: nothing can be made of it ({'; '.join(reasons)}).", "See the methods' needs.")
    return Prepared(task, store, plan, given, inputs, facts.doubts)


def spared(task: Task, tasks: Sequence[Task]) -> bool:
    """Whether a unit is there for others alone and none of them takes anything of it, because what it would lend was given."""
    made = set(kind_of(task.unit).pipeline.makes)
    takers = [other for other in tasks if task.unit in other.unit.before]
    if not takers or not task.options.outputs or made & set(task.options.outputs):
        return False
    for taker in takers:
        lent = made & set(kind_of(taker.unit).pipeline.inputs)
        try:
            store = store_of(taker, taker.unit, kind_of(taker.unit).facts(taker.unit))
            if not given_files.files_of(taker.unit, store, given_files.folders(taker.options)):
                return False  # without reading the images
            plan = prepare(replace(taker, options=replace(taker.options, dry_run=True))).plan
        except NeuraxisError:  # told when its own turn comes
            return False
        if any(lent & set(one.takes) for one in plan.steps if one.fate == "run"):
            return False
    return True


def store_of(task: Task, unit: Unit, facts: Facts) -> UnitStore:
    """Where the artifacts of a unit lie."""
    return UnitStore(
        out=task.options.output_dir.resolve(),
        work=task.work / unit.name,
        entities=facts.entities,
        label=unit.label,
        field_strength=facts.field_strength,
        echo_times=facts.echo_times,
        echoes=unit.echoes,
        suffix=unit.suffix,
        source=unit.source,
        sources=tuple(str(path.relative_to(unit.root)) for path in unit.paths()),
        shared=facts.metadata,
        folder=unit.datatype if unit.series else "",
        beside=unit.tables,
        asked=asked(task.options),
        force=task.options.force,
    )


def _handed(task: Task, folders: Sequence[Path]) -> set[str]:
    """What the units before were given by hand, of what goes before the other methods then."""
    unit = task.unit
    names = [name for step in kind_of(unit).pipeline.steps for name in step.handed]
    stores = (store_of(task, other, kind_of(other).facts(other)) for other in unit.before if names)
    return {name for store in stores for name in store.find_given(folders, names)}


def _findings(task: Task, other: Unit, folders: Sequence[Path]) -> Callable[[str], Any]:
    """Gives artifacts of another unit by name: those given by hand, else its results; None without one."""

    def found(name: str) -> Any:
        store = store_of(task, other, kind_of(other).facts(other))
        if name == "region_names":
            return given_files.names_beside(store.find_given(folders, ["t1w_regions"])).get(name)
        files = [path for path in (store.find_given(folders, [name]).get(name), *store.paths(name)) if path and path.exists()]
        if not files:
            return None
        if ARTIFACTS[name].kind == "warp":
            return read_warp(files[0])
        table = ARTIFACTS[name].kind == "table"
        return tables.read(files[0], ARTIFACTS[name]) if table else read_image(files[0], ARTIFACTS[name], store.field_strength)

    return found


def _text(value: Any) -> str:
    """A number, numbers, a word, a table or a volume or several as it enters a key."""
    if isinstance(value, tuple) and all(isinstance(one, Volume) for one in value):
        return " ".join(map(_text, value))
    if isinstance(value, Volume):
        return hashlib.sha256(np.ascontiguousarray(value.data).tobytes() + value.grid.matrix.tobytes()).hexdigest()
    if isinstance(value, Table):
        return repr({name: column.tolist() for name, column in value.columns.items()})
    return value if isinstance(value, str) else repr(np.asarray(value).tolist())


def run_unit(task: Task, threads: int) -> dict[str, Any]:
    """Runs one unit in this process and writes its record; gives the record back."""
    start = time.time()
    prepared = prepare(task)
    store, plan = prepared.store, prepared.plan
    store.clear(keep_work=True)
    path = store.out / "logs" / f"{task.unit.name}.json"
    former = read_json(path)
    watcher = Watcher(task.unit, plan, store)
    notes: list[str] = list(former.get("notes", []))
    todo = to_run(plan, prepared.stored)
    if todo:
        values, notes = prepared.kind.load(task.unit)
        given, more = given_files.read(prepared.given, task.unit, store, values)
        notes = [*notes, *more, *given_files.template_note(prepared.kind)]
        for note in notes:
            watcher.say(note)
        values |= prepared.inputs | given | given_files.template(plan, todo, task.work)
        watcher.seen |= values
        set_threads(threads)  # loads the numerical libraries, which take longer than reading what cannot be used
        run_plan(plan, values, store, watcher, task.device)
        watcher.given(given)
    else:
        watcher.say("everything is there already; nothing is computed")
    looked = prepared.kind.look_back(watcher.seen)
    if not any(looked):  # nothing new to look at
        looked = former.get("look_back", ([], []))
    notes = [*(note for note in notes if note not in looked[0]), *looked[0]]
    warned = [*prepared.doubts, *looked[1]]
    watcher.warned += warned
    for text in warned:
        watcher.say(f"warning: {text}")
    record = _record(prepared, watcher, former, todo, notes) | {"look_back": looked}
    record["seconds"] = round(time.time() - start, 1)
    write_json(path, record)
    if record["status"] in ("ok", "nothing"):
        store.clear(keep_work=task.options.keep_work)
    return record


def _not_allowed(prepared: Prepared, watcher: Watcher) -> NeuraxisError | None:
    """What was asked for by name and what this image does not allow to be made."""
    for one in prepared.plan.steps:
        reason = watcher.steps.get(one.step.by.name, {}).get("reason")
        asked_for = [name for name in one.step.makes if name in prepared.task.options.outputs]
        if one.fate == "run" and reason and asked_for:
            error = MissingInput(f"{prepared.task.unit.name}: {asked_for[0]} was asked for and cannot be made: {reason}.")
            watcher.say(f"failed: {error.sentence()}")
            return error
    return None


def _record(
    prepared: Prepared, watcher: Watcher, former: dict[str, Any], todo: set[int], notes: list[str]
) -> dict[str, Any]:
    task, plan = prepared.task, prepared.plan
    before = {step.get("family"): step for step in former.get("steps", [])}
    steps = []
    for number, one in enumerate(plan.steps):
        entry = watcher.steps.get(one.step.by.name)
        if entry is None:
            status = {"run": "computed" if number in todo else "cached", "unwanted": "skipped"}.get(one.fate, one.fate)
            entry = step_entry(plan, one, status)
            old = before.get(one.step.by.name, {})
            if status in ("cached", "given") and old.get("key") == entry["key"]:
                entry |= {
                    name: old[name]
                    for name in ("seconds", "peak_memory_mb", "warnings", "figures", "tables")
                    if name in old
                }
        steps.append(entry)
    told = [f"{ARTIFACTS[name].title}, given: {path}." for name, path in prepared.given.items() if ARTIFACTS[name].file]
    notes = [*(note for note in notes if note not in told), *told]
    here = {  # also what was made without an input that failed, which has another key
        name for one in plan.steps if watcher.steps.get(one.step.by.name, {}).get("status") == "computed" for name in one.step.makes
    }
    files = {
        name: [str(path.relative_to(prepared.store.out)) for path in paths]
        for name in plan.keys
        if name not in prepared.given
        and (paths := prepared.store.paths(name))
        and (prepared.store.has(name, plan.keys[name]) or (name in here and all(path.exists() for path in paths)))
    }
    outputs = [path for paths in files.values() for path in paths]
    first = watcher.errors[0] if watcher.errors else _not_allowed(prepared, watcher)
    if first is not None and not task.unit.sure and not outputs:  # it was a guess that there is something in it
        notes, first, status = [*notes, f"Nothing to measure here: {first}"], None, "nothing"
    else:
        status = "ok" if first is None else "partial" if outputs else "failed"
    return {
        "unit": task.unit.name,
        "participant": task.unit.participant,
        "session": task.unit.session,
        "pipeline": task.unit.pipeline,
        "status": status,
        "error": str(first or ""),
        "hint": first.hint if first else "",
        "exit_code": first.exit_code if first else 0,
        "version": __version__,
        "command": " ".join(["neuraxis", *task.argv]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "device": task.device,
        "peak_memory_mb": max((s["peak_memory_mb"] or 0 for s in steps), default=0),
        "computed": len(todo),
        "inputs": list(prepared.store.sources),
        "notes": notes,
        "warnings": [text for step in steps for text in step["warnings"]] + watcher.warned,
        "steps": steps,
        "statistics": former.get("statistics", {}) | watcher.statistics,
        "outputs": outputs,
        "files": files,
        "given": {name: str(path.resolve()) for name, path in prepared.given.items()},
        "missing": plan.missing,
    }
