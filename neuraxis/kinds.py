"""The kinds of units of work: how the units of a pipeline are found, read and told apart."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.bids import cord, dataset, images, sidecar
from neuraxis.bids.dataset import Problem, Unit
from neuraxis.cord.points import points_of
from neuraxis.engine import Pipeline
from neuraxis.options import Options
from neuraxis.pipelines import CORD_ANAT, QSM
from neuraxis.volume import Volume

Found = tuple[list[Unit], list[Problem]]


@dataclass(frozen=True)
class Facts:
    """What is known of a unit before its images are read: inputs that are no images, and what its files are named by."""

    inputs: dict[str, Any] = field(default_factory=dict)
    entities: dict[str, str] = field(default_factory=dict)
    field_strength: float | None = None
    echo_times: tuple[float, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A pipeline, and how its units come to it.

    `find(options, label, filters, files)` gives the units of a participant; `facts(unit)` what stands in their metadata;
    `images(unit)` the names of the artifacts that `load(unit)` reads, with what was decided on the way. `borrow(of)`
    gives inputs that come from the session's reference unit, `of(name)` being its artifacts. `mixed`: given files may have their
    axes in another order than the image, as long as they lie in the same place.
    """

    pipeline: Pipeline
    find: Callable[[Options, str, dataset.Filters, Mapping[str, Iterable[Path]]], Found]
    facts: Callable[[Unit], Facts]
    images: Callable[[Unit], tuple[str, ...]]
    load: Callable[[Unit], tuple[dict[str, Any], list[str]]]
    nothing: str
    borrow: Callable[[Callable[[str], Volume | None]], dict[str, Any]] = lambda of: {}
    mixed: bool = False


def _find_gre(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    return ([], []) if options.cord else dataset.gre_units(options.bids_dir, label, filters, files)


def _gre_facts(unit: Unit) -> Facts:
    acquisition = sidecar.acquisition(unit)
    times = np.asarray(acquisition.echo_times, dtype=float)
    inputs: dict[str, Any] = {"echo_times": times}
    if acquisition.field_strength is not None:
        inputs["field_strength"] = acquisition.field_strength
    if len(times) > 1:
        inputs["echo_spacing"] = np.diff(times)
    return Facts(inputs, dict(unit.entities), acquisition.field_strength, acquisition.echo_times)


def _gre_images(unit: Unit) -> tuple[str, ...]:
    return tuple(name for name in ("phase", "magnitude") if getattr(unit, f"has_{name}"))


def _load_gre(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    loaded = images.load_gre(unit)
    return {name: getattr(loaded, name) for name in _gre_images(unit)}, list(loaded.notes)


def _find_cord(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    if options.brain:
        return [], []
    return cord.cord_units(options.bids_dir, label, filters, files, everything=options.cord)


def _cord_facts(unit: Unit) -> Facts:
    """The participant's sex and age; the space entity names the image, whose contrast no other entity tells."""
    strength = sidecar.field_strength(unit.magnitude[0], sidecar.metadata(unit.magnitude[0], unit.root))
    source = "bids:raw:" + str(unit.magnitude[0].relative_to(unit.root))
    return Facts(
        person(unit.root, unit.participant),
        {**dict(unit.entities), "space": unit.suffix},
        strength,
        metadata={"SpatialReference": source},
    )


def person(bids_dir: Path, participant: str) -> dict[str, Any]:
    """Sex (F or M) and age (years) of a participant, as far as participants.tsv tells them in a way that is understood."""
    found: dict[str, Any] = {}
    for row in participants(bids_dir):
        if row.get("participant_id", "").removeprefix("sub-") != participant:
            continue
        sex = (row.get("sex") or row.get("gender") or "").strip().upper()
        if sex in ("F", "FEMALE", "M", "MALE"):
            found["sex"] = sex[0]
        try:
            age = float(row.get("age") or "")
        except ValueError:
            continue
        if 0 < age < 130:
            found["age"] = age
    return found


def participants(bids: Path) -> list[dict[str, str]]:
    """The rows of participants.tsv; none when there is none."""
    try:
        with open(bids / "participants.tsv", encoding="utf-8-sig", newline="") as file:
            return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file, delimiter="\t")]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _load_cord(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    image, notes = cord.load_cord(unit)
    return {"image": image}, notes


def _session_discs(of: Callable[[str], Volume | None]) -> dict[str, Any]:
    """The discs of the session's reference image as points in space."""
    discs = of("discs")
    return {"session_discs": points_of(discs)} if discs is not None and discs.data.any() else {}


KINDS = (
    Kind(QSM, _find_gre, _gre_facts, _gre_images, _load_gre, "gradient-echo phase or multi-echo magnitude"),
    Kind(CORD_ANAT, _find_cord, _cord_facts, lambda unit: ("image",), _load_cord, "anatomical image with a cord in view", _session_discs, True),
)


def kind_of(unit: Unit) -> Kind:
    """The kind of a unit."""
    return next(kind for kind in KINDS if kind.pipeline.name == unit.pipeline)
