"""What a data set holds: participants, and the gradient-echo acquisitions of each as units of work.

One participant's folder is read, nothing else: names follow the rules of BIDS, so no index of the whole data set is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neuraxis.bids.files import DATATYPES, SERIES, Folder, layout, listed, parse_name
from neuraxis.bids.filters import Filters, read_labels
from neuraxis.errors import DataError, MissingInput, NeuraxisError, NothingSelected

__all__ = [
    "Filters", "Folder", "Member", "Problem", "Unit", "check", "choose_participants", "echo_number", "gre_units",
    "labelled_members", "layout", "natural", "participants", "without_parts",
]  # fmt: skip

Problem = tuple[str, NeuraxisError]
"""The name of a unit, and why it cannot be used."""

_MULTI_ECHO = ("MEGRE", "T2starw")
"""Suffixes whose magnitude alone, at two echoes or more, decays with R2*."""

_SPIN_ECHO = ("MESE", "TSE")
"""Their phase is refocused: it holds no field."""

_LABEL = re.compile(r"[A-Za-z0-9+]+")


@dataclass(frozen=True)
class Unit:
    """One acquisition that one pipeline works on. Paths are sorted by echo; a part that is not there is empty."""

    root: Path
    participant: str
    session: str | None
    entities: tuple[tuple[str, str], ...]
    """Every entity but echo, part and coil, as in the file name, in its order."""
    suffix: str
    datatype: str
    phase: tuple[Path, ...] = ()
    magnitude: tuple[Path, ...] = ()
    real: tuple[Path, ...] = ()
    imag: tuple[Path, ...] = ()
    echoes: tuple[str, ...] = ()
    """Labels of the echo entity; empty when the names have none."""
    label: str = ""
    """Tells this unit's outputs from those of another that would have the same names; usually empty."""
    pipeline: str = "qsm"
    sure: bool = True
    """False: whether there is anything in it for the pipeline, its content must say."""
    reference: Unit | None = None
    """The unit of the same session that is worked on first, and whose results this one may use."""
    t1w: Unit | None = None
    """The T1w of the same head, worked on first, whose regions this one takes."""
    thin: bool = False
    """Whether its slices are thin enough to show the discs of the spine."""
    tells: bool = False
    """Whether its own image may tell what the reference does, which is then a second choice."""
    orientations: tuple[Unit, ...] = ()
    """The units of other head positions that this one joins, and that are worked on first."""
    beside: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    """The other images of the acquisition, by the name of their artifact: the one in `magnitude` stands for all."""
    lacking: tuple[tuple[str, str], ...] = ()
    """An image that could stand in `beside` and does not -> why."""
    coils: tuple[Unit, ...] = ()
    """Every coil of uncombined images, as a unit; the files of this one are those of the first."""
    tables: tuple[Path, ...] = ()
    """Files that are read with the image and hold no image: b-values and b-vectors."""
    coil_smoothing: float = 7.0
    """Gaussian over which the phase offset of a coil is averaged; mm."""
    flip: bool = False
    """Whether the phase is negative where the field is stronger."""
    upright: bool = False
    """Whether images on an oblique grid are brought onto one along the scanner's axes."""

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return "_".join(f"{key}-{value}" for key, value in self.entities)

    @property
    def name(self) -> str:
        """For example sub-01_ses-1_acq-x_run-1_MEGRE; what another pipeline makes of the same images has a name of its own."""
        own = {
            "cord_anat": "_cord", "cord_mt": "_mt", "cord_dwi": "_cord", "cord_bold": "_cord",
            "orientations": "_orientations", "brain_anat": "_brain",
        }  # fmt: skip
        return f"{self.stem}_{self.suffix}" + own.get(self.pipeline, "")

    @property
    def before(self) -> tuple[Unit, ...]:
        """The units that are worked on first, and whose results this one may use."""
        return self.orientations or tuple(one for one in (self.reference, self.t1w) if one)

    @property
    def source(self) -> str:
        """The name of the image without echo, part and extension; of several images, of the one that stands for all."""
        parsed = parse_name(self.magnitude[0].name) if self.beside else None
        return "_".join([*(f"{k}-{v}" for k, v in without_parts(parsed[0])), self.suffix]) if parsed else f"{self.stem}_{self.suffix}"

    @property
    def series(self) -> bool:
        """Whether its image is many volumes over time."""
        return self.datatype in SERIES

    @property
    def collides(self) -> bool:
        return bool(self.label)

    @property
    def has_phase(self) -> bool:
        return bool(self.phase or (self.real and self.imag))

    @property
    def has_magnitude(self) -> bool:
        return bool(self.magnitude or (self.real and self.imag))

    @property
    def reading(self) -> str:
        """What was chosen about the reading of the files and is not usual: it changes what is read."""
        chosen = [f"coils over {self.coil_smoothing:g} mm"] if self.coils else []
        chosen += ["phase turned round"] * (self.flip and self.has_phase) + ["resampled if oblique"] * self.upright
        return ", ".join(chosen)

    def parts(self) -> dict[str, tuple[Path, ...]]:
        """The files that are read, by part; real and imaginary images only where phase or magnitude come from them."""
        found = {"phase": self.phase, "mag": self.magnitude}
        if self.real and self.imag and not (self.phase and self.magnitude):
            found |= {"real": self.real, "imag": self.imag}
        return {part: paths for part, paths in found.items() if paths}

    def paths(self) -> tuple[Path, ...]:
        """Every file that is read, by this unit or by those that it joins."""
        if self.orientations:
            return tuple(path for one in self.orientations for path in one.paths())
        if self.coils:
            return tuple(path for coil in self.coils for path in coil.paths())
        return (*(path for paths in (*self.parts().values(), *(more for _, more in self.beside)) for path in paths), *self.tables)


def participants(bids_dir: Path) -> list[str]:
    """Labels of the participants that have a folder, without sub-, in natural order."""
    try:
        with os.scandir(bids_dir) as entries:
            found = [
                entry.name[4:]
                for entry in entries
                if entry.name.startswith("sub-") and entry.name[4:] and entry.is_dir()
            ]
    except OSError as error:
        raise MissingInput(
            f"{bids_dir} cannot be read: {error.strerror}.", "Name the folder of a BIDS data set."
        ) from error
    return sorted(found, key=natural)


def choose_participants(bids_dir: Path, labels: Sequence[str] = ()) -> list[str]:
    """The participants that `labels` (with or without sub-, or text files of labels) name; all of them when it is empty."""
    there = participants(bids_dir)
    if not there:
        raise NothingSelected(
            f"{bids_dir} holds no participant (no folder sub-<label>).", "Name the folder of a BIDS data set."
        )
    wanted = read_labels(labels, "sub")
    if not wanted:
        if labels:
            raise NothingSelected(f"The list of participants {', '.join(map(str, labels))} is empty.")
        return there
    unknown = [label for label in wanted if label not in there]
    if unknown:
        raise NothingSelected(
            f"There is no participant {_shortened(unknown)} in {bids_dir}.", f"There is {_shortened(there)}."
        )
    return sorted(wanted, key=natural)


def gre_units(
    bids_dir: Path, participant: str, filters: Filters | None = None, files: Mapping[str, Iterable[Path]] | None = None
) -> tuple[list[Unit], list[Problem]]:
    """The gradient-echo acquisitions of one participant, and those that cannot be used, each with the reason.

    A unit is every group of images of one acquisition in anat/ (or swi/) that has part-phase, or part-real with part-imag, under any
    suffix but those of spin echoes; and every MEGRE or T2starw group with magnitudes alone at two echoes or more.
    An image without `part` is a magnitude. `files`, by participant, stand for the folder where there are any (see `layout`).
    """
    bids_dir = Path(bids_dir)
    groups, problems = labelled_members(bids_dir, participant, filters, files, _MULTI_ECHO)
    found = [unit for members in groups if (unit := _unit(bids_dir, members)) is not None]
    units = []
    for unit in _labelled(sorted(found, key=lambda unit: natural(unit.name))):
        problem = check(unit)
        if sum(other.name == unit.name for other in found) > 1:
            problem = DataError(
                f"{unit.paths()[0]} and others make {unit.name} twice, with and without echo-, or in two folders.",
                "Keep one.",
            )
        if problem:
            problems.append((unit.name, problem))
        else:
            units.append(unit)
    return units, list(dict(problems).items())


Member = tuple[dict[str, str], str, Path]
"""Entities, suffix and path of an image."""


def labelled_members(
    bids_dir: Path,
    participant: str,
    filters: Filters | None,
    files: Mapping[str, Iterable[Path]] | None,
    suffixes: Sequence[str],
    folders: Sequence[str] = DATATYPES,
) -> tuple[list[list[Member]], list[Problem]]:
    """The wanted images of a participant by acquisition, those with `part` and those with these `suffixes`; and what is wrong.

    Only what lies in `folders` is looked at.
    """
    whole = f"sub-{participant}"
    if not _LABEL.fullmatch(participant):
        error = DataError(f"The label of the folder {whole} is not one of BIDS.", "Use letters and digits only.")
        return [], [(whole, error)]
    try:
        paths = sorted(files.get(participant, ()) if files else listed(bids_dir, participant))
    except NeuraxisError as unreadable:
        return [], [(whole, unreadable)]
    paths = [path for path in paths if path.parent.name in folders]
    groups, strays = _grouped(paths, participant, filters or Filters(), suffixes)
    problems: list[Problem] = []
    if strays:
        more = f", and {len(strays) - 1} more," if len(strays) > 1 else ""
        text = f"{strays[0]}{more} lies in the folder of another participant or session than its name says."
        problems.append((whole, DataError(text, "Move or rename it.")))
    return groups, problems


def _grouped(
    paths: Sequence[Path], participant: str, wanted: Filters, suffixes: Sequence[str]
) -> tuple[list[list[Member]], list[Path]]:
    """The wanted images by acquisition, and those that lie in a wrong folder."""
    groups: dict[object, list[Member]] = {}
    strays = []
    for path in paths:
        parsed = parse_name(path.name)
        if parsed is None or not wanted.want(*parsed[:2], path.parent.name, parsed[2]):
            continue
        entities, suffix, _ = parsed
        if entities.get("sub") == participant and entities.get("ses", "") == _session_folder(path):
            key = (frozenset(without_parts(entities)), suffix, path.parent.name, "echo" in entities, "coil" in entities)
            groups.setdefault(key, []).append((entities, suffix, path))
        elif suffix in suffixes or "part" in entities:
            strays.append(path)
    told = [members for members in groups.values() if any(s in suffixes or "part" in e for e, s, _ in members)]
    return told, strays


def without_parts(entities: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The entities that all images of an acquisition share: every one but echo, part and coil."""
    return tuple((key, value) for key, value in entities.items() if key not in ("echo", "part", "coil"))


def _session_folder(path: Path) -> str:
    name = path.parent.parent.name
    return name[4:] if name.startswith("ses-") else ""


def _unit(root: Path, members: Sequence[Member]) -> Unit | None:
    """A unit of one group of files; None when there is nothing in it for this app."""
    labels = {entities["coil"] for entities, _, _ in members if "coil" in entities}
    if len(labels) > 1:
        groups = [[one for one in members if one[0]["coil"] == label] for label in sorted(labels, key=natural)]
        coils = [coil for group in groups if (coil := _unit(root, group)) is not None]
        return replace(coils[0], coils=tuple(coils)) if coils else None
    parts: dict[str, list[Path]] = {"phase": [], "mag": [], "real": [], "imag": [], "": []}
    for entities, _, path in members:
        parts.setdefault(entities.get("part", ""), []).append(path)
    magnitude = parts["mag"] or parts[""]
    entities, suffix, first = members[0]
    with_phase = parts["phase"] or parts["real"] or parts["imag"]
    if suffix in _SPIN_ECHO or not (
        with_phase or (suffix in _MULTI_ECHO and "echo" in entities and len(magnitude) > 1)
    ):
        return None
    phase, magnitude, real, imag = (
        sorted(paths, key=echo_number) for paths in (parts["phase"], magnitude, parts["real"], parts["imag"])
    )
    most = max(phase, magnitude, real, imag, key=len)
    echoes = tuple((parse_name(path.name) or ({}, "", ""))[0]["echo"] for path in most) if "echo" in entities else ()
    return Unit(
        root, entities["sub"], entities.get("ses"), without_parts(entities), suffix, first.parent.name,
        tuple(phase), tuple(magnitude), tuple(real), tuple(imag), echoes,
    )  # fmt: skip


def check(unit: Unit) -> NeuraxisError | None:
    """What is wrong with the files of a unit as a set."""
    if unit.coils:
        return next(filter(None, map(check, unit.coils)), None) or _check_coils(unit)
    if bool(unit.real) != bool(unit.imag) and not unit.phase:
        lone, absent = (unit.real, "imag") if unit.real else (unit.imag, "real")
        return MissingInput(f"{lone[0]} has no part-{absent} image beside it.", "Phase is made from both.")
    numbers: dict[str, list[int]] = {}
    for part, paths in unit.parts().items():
        found = [echo_number(path) for path in paths]
        for one, two in zip(paths, paths[1:], strict=False):
            if echo_number(one) == echo_number(two):
                return DataError(f"{one} and {two.name} are one and the same echo.", "Keep one of them.")
        numbers[part] = found
    everything = {number for found in numbers.values() for number in found}
    for part, found in numbers.items():
        lacking = sorted(everything - set(found))
        if lacking:
            other = next(path for paths in unit.parts().values() for path in paths if echo_number(path) == lacking[0])
            text = f" of echo {', '.join(map(str, lacking))}" if unit.echoes else ""
            return MissingInput(
                f"{other} has no part-{part} image{text} beside it.", "Every echo needs the same parts."
            )
    if unit.echoes and 0 in everything:
        return DataError(f"{unit.paths()[0]}: its echo entity is not a number.", "BIDS counts echoes from 1.")
    return None


def _check_coils(unit: Unit) -> NeuraxisError | None:
    """What coils lack that others have."""
    fullest = max(unit.coils, key=lambda coil: len(coil.paths()))
    for coil in unit.coils:
        for part, paths in fullest.parts().items():
            missing = {echo_number(path) for path in paths} - {echo_number(path) for path in coil.parts().get(part, ())}
            if missing:
                found = (parse_name(coil.paths()[0].name) or ({}, "", ""))[0]["coil"]
                text = f" of echo {', '.join(map(str, sorted(missing)))}" if unit.echoes else ""
                return MissingInput(
                    f"{paths[0]} has no part-{part} image{text} of coil {found} beside it.", "Every coil needs all echoes."
                )
    return None


def _labelled(units: list[Unit]) -> list[Unit]:
    """Where units differ in the suffix alone, all but MEGRE get a label: their derivatives would have the same names."""
    stems = [frozenset(unit.entities) for unit in units]
    return [
        replace(unit, label=unit.suffix) if unit.suffix != "MEGRE" and stems.count(stem) > 1 else unit
        for unit, stem in zip(units, stems, strict=True)
    ]


def echo_number(path: Path) -> int:
    """The number of the echo, from the name of an image; 0 where it has none."""
    match = re.search(r"_echo-(\d+)_", path.name)
    return int(match[1]) if match else 0


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """2 before 10."""
    return tuple((0, int(t), t) if t.isdecimal() else (1, 0, t) for t in re.split(r"(\d+)", text) if t)


def _shortened(labels: Iterable[str], most: int = 10) -> str:
    found = [f"sub-{label}" for label in labels]
    return ", ".join(found[:most]) + (f", and {len(found) - most} more" if len(found) > most else "")
