"""Family, Step, Pipeline: what is asked for, what it needs, whether it is there, and the run; no MRI, no BIDS, no file.

A method is a plain function (`signature.py`): its positional parameters are artifacts, by name; its keyword-only
parameters are knobs. The binding rule: `Volume` gets the artifact with its grid, `Array` its numbers (numpy), `Tensor`
its numbers (torch, on the device of the run); all arrays of one call lie on one grid; what comes back lies there too.
"""

from __future__ import annotations

import hashlib
import json
import time
import types
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from neuraxis.errors import DataError, GridMismatch, MethodError, NeuraxisError, ResourceError, UsageError
from neuraxis.numerics.nets import running_on
from neuraxis.signature import Method
from neuraxis.volume import Grid, Volume

_ALIGNMENT = 64
"""Bytes; torch's own tensors begin at multiples of it, so that a loaded array gives the same bits as a made one."""


@dataclass(frozen=True)
class Family:
    """The methods that can make the same artifacts; the first that the data allow is the default."""

    name: str
    title: str
    methods: tuple[Method, ...]

    @staticmethod
    def of(package: types.ModuleType, name: str = "", more: Sequence[Callable[..., Any]] = ()) -> Family:
        """The family in a package: its last name unless there is another, its docstring's first line, its METHODS, and `more`."""
        title = (package.__doc__ or "").strip().splitlines()[0].split(":")[0].rstrip(".")
        return Family(name or package.__name__.split(".")[-1], title, tuple(Method.of(f) for f in (*package.METHODS, *more)))

    def method(self, name: str | None = None) -> Method:
        """The method called `name`, or the default."""
        for one in self.methods:
            if name in (None, one.name):
                return one
        known = ", ".join(one.name for one in self.methods)
        raise UsageError(f"{self.name} has no method {name!r}.", f"Choose one of {known}.")


@dataclass(frozen=True)
class Step:
    """Make *this* by *that*.

    `together`: where the first is given, the others are not made: they belong to it. `lightly`: what is taken where it is given or
    asked for, and not made for this step alone; a pipeline may lack it. `handed`: a method that takes one of these goes before the
    others where it was given by hand, though another pipeline could make it.
    """

    makes: tuple[str, ...]
    by: Family
    together: bool = False
    lightly: tuple[str, ...] = ()
    handed: tuple[str, ...] = ()

    def given(self, known: Mapping[str, str]) -> bool:
        """Whether nothing is left to make."""
        return all(name in known for name in self.makes[: 1 if self.together else None])


@dataclass(frozen=True)
class Pipeline:
    """An ordered tuple of steps over some inputs: the order on the page is the order of the run.

    `memory` is the measured need of a unit: MiB at rest, bytes per voxel, bytes per voxel and echo. `given`: what a step may
    take although it is made further down, when it was given by hand. `reads`: inputs that come from files or
    not at all, though another pipeline makes what has the same name.
    """

    name: str
    title: str
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    memory: tuple[float, float, float] = (0, 0, 0)
    given: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def check(self) -> None:
        """ValueError when a step asks for a name that nothing above makes, or two steps make one thing."""
        known = set(self.inputs)
        for step in self.steps:
            for method in step.by.methods:
                for need in method.needs:
                    lacked = need.optional and need.name in step.lightly
                    if need.name not in {*known, *self.given} and not lacked and need.kind != "Grid":
                        raise ValueError(f"{self.name}: {method.path} asks for {need.name}, which nothing above makes")
            for name in step.makes:
                if name in known:
                    raise ValueError(f"{self.name}: {name} is made twice")
                known.add(name)

    @property
    def makes(self) -> tuple[str, ...]:
        """All that its steps make, in order."""
        return tuple(name for step in self.steps for name in step.makes)

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(step.by for step in self.steps)


Fate = Literal["run", "given", "skipped", "unwanted"]


@dataclass(frozen=True)
class PlannedStep:
    """A step with its method and knobs, whether it will run, and why not."""

    step: Step
    method: Method
    knobs: dict[str, Any]
    fate: Fate
    reason: str = ""
    takes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a unit will do: every step of the pipeline, in order, with its fate; keys of all that can be made."""

    steps: tuple[PlannedStep, ...]
    targets: tuple[str, ...]
    keys: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def make_plan(
    pipeline: Pipeline,
    choice: Mapping[str, str],
    knobs: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, str],
    targets: Sequence[str],
    lacking: Mapping[str, str] | None = None,
    handed: Collection[str] = (),
) -> Plan:
    """Which steps run, which are skipped and why.

    `choice`: family -> method name. `knobs`: "family.method" -> knob values. `given`: what is there already -> its key. `lacking`:
    an input that is not there -> why not. `handed`: inputs that were given by hand.
    """
    keys = dict(given)
    why = {name: reason for name, reason in (lacking or {}).items() if name not in given}
    chosen: list[tuple[Step, Method, dict[str, Any], tuple[str, ...], str]] = []
    for step in pipeline.steps:
        method = step.by.method(choice.get(step.by.name))
        if step.by.name not in choice:  # the first that the data allow; what ran stands in record and references
            able = [one for one in step.by.methods if not _absent(one, keys)]
            first = [one for one in able if any(need.name in step.handed and need.name in handed for need in one.needs)]
            method = next(iter(first or able), method)
        try:
            values = method.set(knobs.get(f"{step.by.name}.{method.name}", {}))
        except ValueError as error:
            raise UsageError(f"{step.by.name}: {error}.") from error
        if step.together and step.given(given):
            chosen.append((step, method, values, (), ""))
            continue
        absent = _absent(method, keys)
        reason = "; ".join(dict.fromkeys(why.get(name, f"no {name}") for name in absent))
        left = {name for name in step.lightly if name not in given and name not in targets}
        takes = tuple(n.name for n in method.needs if n.name in keys and n.name not in left)
        chosen.append((step, method, values, takes, reason))
        if reason:
            why.update({name: reason for name in step.makes if name not in keys})
            continue
        recipe = [method.path, method.source, sorted(values.items()), [(name, keys[name]) for name in takes]]
        digest = hashlib.sha256(json.dumps(recipe, default=str).encode()).hexdigest()[:20]
        keys.update({name: f"{digest}-{name}" for name in step.makes if name not in given})
    wanted = {name for name in targets if name in keys}
    planned: list[PlannedStep] = []
    for step, method, values, takes, reason in reversed(chosen):
        fate: Fate = "run"
        if step.given(given):
            fate, reason = "given", f"{', '.join(step.makes)} found in the derivatives"
        elif reason:
            fate = "skipped"
        elif not any(name in wanted and name not in given for name in step.makes):
            fate, reason = "unwanted", "nothing that was asked for needs it"
        else:
            wanted.update(takes)
        planned.append(PlannedStep(step, method, values, fate, reason, takes))
    missing = {name: why.get(name, f"nothing makes {name}") for name in targets if name not in keys}
    return Plan(tuple(reversed(planned)), tuple(name for name in targets if name in keys), keys, missing)


def _absent(method: Method, known: Mapping[str, str]) -> list[str]:
    """What the method cannot do without and nothing makes."""
    return [n.name for n in method.needs if not n.optional and n.kind != "Grid" and n.name not in known]


def to_run(plan: Plan, stored: Callable[[str, str], bool]) -> set[int]:
    """Numbers of the steps that must run, given what is `stored` under its key: demand, from the targets upwards."""
    asked = {name for name in plan.targets if not stored(name, plan.keys[name])}
    found: set[int] = set()
    for number in range(len(plan.steps) - 1, -1, -1):
        one = plan.steps[number]
        if one.fate == "run" and any(name in asked for name in one.step.makes):
            found.add(number)
            asked.update(name for name in one.takes if not stored(name, plan.keys[name]))
    return found


class Store(Protocol):
    """Where made artifacts are kept under their key."""

    def has(self, name: str, key: str) -> bool: ...
    def load(self, name: str) -> Any: ...
    def save(self, name: str, value: Any, key: str, by: PlannedStep) -> Any:
        """Keep `value`; returns it as `load` would give it, so that a resumed run sees the same numbers."""


class Observer(Protocol):
    """Who is told what happens."""

    def started(self, one: PlannedStep) -> None: ...
    def finished(self, one: PlannedStep, made: Mapping[str, Any], seconds: float, warned: Sequence[str]) -> None: ...
    def failed(self, one: PlannedStep, error: NeuraxisError) -> None: ...
    def blocked(self, one: PlannedStep, reason: str) -> None: ...


def run(plan: Plan, values: Mapping[str, Any], store: Store, observer: Observer, device: str = "cpu") -> None:
    """Runs what must run, in order; `values` are the inputs and what was given.

    A step that fails takes down only what cannot do without it: the observer is told of both. A method that gives None says that this image
    does not allow it, and why in a warning: that is no failure, but what needs it is not made either.
    """
    here = dict(values)
    todo = sorted(to_run(plan, lambda name, key: name in values or store.has(name, key)))
    failed: dict[str, str] = {}
    for place, number in enumerate(todo):
        one = plan.steps[number]
        spare = {need.name for need in one.method.needs if need.optional}
        broken = [name for name in one.takes if name in failed and name not in spare]
        without = sorted(name for name in one.takes if name in failed and name in spare)
        if broken:
            failed.update(dict.fromkeys(one.step.makes, failed[broken[0]]))
            observer.blocked(one, f"no {broken[0]}, because {failed[broken[0]]}")
            continue
        try:
            for name in one.takes:
                if name not in here and name not in without:
                    here[name] = store.load(name)
            observer.started(one)
            start = time.perf_counter()
            made, warned = call(one, here, device)
            warned += [f"made without {name}, because {failed[name]}" for name in without]
            if any(value is None for value in made.values()):
                reason = "; ".join(warned)
                failed.update(dict.fromkeys(one.step.makes, reason))
                observer.blocked(one, reason)
                continue
            lacks = "".join(f" without {name}" for name in without)  # another key: the next run tries again with all of it
            for name, value in made.items():
                here[name] = store.save(name, value, plan.keys[name] + lacks, one) if name not in values else values[name]
            seconds = time.perf_counter() - start
            observer.finished(one, {name: here[name] for name in made}, seconds, warned)
        except NeuraxisError as error:
            failed.update(dict.fromkeys(one.step.makes, f"{one.step.by.name} failed"))
            observer.failed(one, error)
        later = {name for other in todo[place + 1 :] for name in plan.steps[other].takes}
        here = {name: value for name, value in here.items() if name in later}


def call(one: PlannedStep, here: Mapping[str, Any], device: str) -> tuple[dict[str, Any], list[str]]:
    """Binds, calls and checks one method: name -> value, and what it warned of."""
    who = f"{one.step.by.name} ({one.method.name})"
    grid = _common_grid(who, one, here)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            try:
                with running_on(device):
                    result = one.method.function(*_bind(one, here, grid, device), **one.knobs)
            except (RuntimeError, MemoryError) as error:
                if not device.startswith("cuda") or "out of memory" not in str(error).lower():
                    raise
                warnings.warn(f"{who}: too little GPU memory; computed on the CPU", RuntimeWarning, stacklevel=1)
                with running_on("cpu"):
                    result = one.method.function(*_bind(one, here, grid, "cpu"), **one.knobs)
        except NeuraxisError:
            raise
        except ValueError as error:
            raise MethodError(f"{who}: {error}") from error
        except MemoryError as error:
            raise ResourceError(f"{who}: out of memory.", "Give more memory, or fewer --nprocs.") from error
        except Exception as error:
            raise MethodError(f"{who}: {type(error).__name__}: {error}") from error
    parts = result if isinstance(result, tuple) else (result,)
    if len(parts) != len(one.step.makes):
        raise MethodError(f"{who} gave {len(parts)} results for {', '.join(one.step.makes)}.")
    made = {name: _check(who, name, part, grid) for name, part in zip(one.step.makes, parts, strict=True)}
    texts = [str(w.message) for w in caught if not issubclass(w.category, DeprecationWarning)]
    return made, list(dict.fromkeys(texts))


def _common_grid(who: str, one: PlannedStep, here: Mapping[str, Any]) -> Grid | None:
    grids = {
        n.name: here[n.name].grid
        for n in one.method.needs
        if n.kind in ("Tensor", "Array", "Grid") and isinstance(here.get(n.name), Volume)
    }
    first = next(iter(grids), None)
    for name, grid in grids.items():
        if first and not grid.same_as(grids[first]):
            raise GridMismatch(
                f"{who}: {name} {grid.shape} and {first} {grids[first].shape} do not lie on one grid.",
                "Resample one of them, or take both from the same image.",
            )
    return grids[first] if first else None


def _bind(one: PlannedStep, here: Mapping[str, Any], grid: Grid | None, device: str) -> list[Any]:
    bound: list[Any] = []
    for need in one.method.needs:
        value = grid if need.kind == "Grid" else here.get(need.name)
        if isinstance(value, Volume) and need.kind == "Tensor":
            import torch

            numbers = value.data if value.data.dtype == bool else np.asarray(value.data, np.float32)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "not writable": methods do not write into their inputs
                value = torch.from_numpy(numbers)
            if device != "cpu" or value.data_ptr() % _ALIGNMENT:  # vector code rounds otherwise on odd addresses
                value = value.to(device, copy=True)
        elif isinstance(value, Volume) and need.kind == "Array":
            value = value.data
        bound.append(value)
    return bound


def _check(who: str, name: str, part: Any, grid: Grid | None) -> Any:
    if hasattr(part, "detach"):
        part = part.detach().cpu().numpy()
    if isinstance(part, Volume) and not np.isfinite(part.data).all():
        raise DataError(f"{who} gave {name} with values that are not finite.", "Look at its inputs in the report.")
    if not isinstance(part, np.ndarray) or grid is None:
        return part
    if tuple(part.shape[:3]) != grid.shape:
        raise MethodError(f"{who} gave {name} of shape {part.shape} on a grid of {grid.shape}.")
    if part.dtype != bool and not np.isfinite(part).all():
        raise DataError(f"{who} gave {name} with values that are not finite.", "Look at its inputs in the report.")
    return Volume(part, grid)
