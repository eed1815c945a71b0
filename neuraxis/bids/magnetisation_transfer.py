"""Which images of a participant are one magnetisation-transfer acquisition of the cord, and how each is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neuraxis.bids.cord import in_view, is_thin, load_cord
from neuraxis.bids.dataset import Member, Problem, Unit, echo_number, labelled_members, natural, without_parts
from neuraxis.bids.filters import Filters
from neuraxis.bids.images import check_grid, grid_of_file
from neuraxis.bids.sidecar import flip_angle, metadata, repetition_time
from neuraxis.bids.transmit_field import NO_B1, b1_of, relative
from neuraxis.errors import DataError, MissingInput, NeuraxisError
from neuraxis.table import Table
from neuraxis.volume import Volume

SUFFIXES = ("MTS", "MTR")

_OLD_LABELS = {"mton": "on", "mtoff": "off", "t1w": "off"}
"""What acq- says of an MTS of the time before BIDS had mt- and flip- (doi:10.1038/s41596-021-00588-0), in small letters."""

NO_T1W = "there is no T1w image (a second MT-off image, with another flip-)"


@dataclass(frozen=True)
class _State:
    """The images (echoes) of one state of the acquisition: with or without saturation, at one flip angle."""

    on: bool
    flip: str
    label: str
    """What acq- says of an image of the time before BIDS had mt-: mton, mtoff or t1w; else empty."""
    paths: tuple[Path, ...]


def mt_units(
    bids_dir: Path,
    participant: str,
    filters: Filters | None = None,
    files: Mapping[str, Iterable[Path]] | None = None,
    *,
    everything: bool = False,
) -> tuple[list[Unit], list[Problem]]:
    """The magnetisation-transfer acquisitions of one participant's cord, and those that cannot be used.

    A unit is an MT-on image and the MT-off images that differ from it in mt- and flip- alone. The MT-on image, in which the cord
    stands out of its fluid, is the unit's magnitude; the others stand in `beside`: mt_off (the PDw), mt_t1w and the session's
    b1_map. Which of two MT-off images is the T1w, an old name (acq-T1w) or their sidecars say; where none does, MTR is made of the
    one that has the flip- of the MT-on image. One with another flip- than the MT-on image is never taken for the MT-off image alone.
    """
    acquisitions, problems = _acquisitions(Path(bids_dir), participant, filters, files)
    units: list[Unit] = []
    for bare, parts in acquisitions:
        try:
            unit = _unit(bare, parts)
            if unit is None:
                continue
            grid = grid_of_file(unit.magnitude[0])
            view = "cord" if everything else in_view(unit, grid)
        except NeuraxisError as error:
            problems.append((bare.name, error))
            continue
        if view != "brain":
            units.append(replace(unit, sure=view == "cord", thin=is_thin(grid)))
    return sorted(units, key=lambda one: natural(one.name)), problems


def together(
    bids_dir: Path, participant: str, filters: Filters | None = None, files: Mapping[str, Iterable[Path]] | None = None
) -> set[Path]:
    """Every image of an acquisition with and without saturation, whether it can be used or not."""
    found: set[Path] = set()
    for bare, parts in _acquisitions(Path(bids_dir), participant, filters, files)[0]:
        try:
            states = {_is_on(members[0], bare.root) for members in parts}
        except NeuraxisError:  # told when the unit is made
            states = {True, False}
        if states >= {True, False}:
            found |= {path for members in parts for _, _, path in members}
    return found


def lone(
    bids_dir: Path, participant: str, filters: Filters | None = None, files: Mapping[str, Iterable[Path]] | None = None
) -> list[Problem]:
    """Images with saturation that have none without beside them, each with what it lacks."""
    found: list[Problem] = []
    for bare, parts in _acquisitions(Path(bids_dir), participant, filters, files)[0]:
        try:
            states = {_is_on(members[0], bare.root): members[0][2] for members in parts}
        except NeuraxisError:  # told when the unit is made
            continue
        if True in states and False not in states:
            text = f"{states[True]} has no MT-off image beside it: there is no MTR of it."
            found.append((bare.name, MissingInput(text, "Add it, with mt-off in its name.")))
    return found


def _acquisitions(
    root: Path, participant: str, filters: Filters | None, files: Mapping[str, Iterable[Path]] | None
) -> tuple[list[tuple[Unit, list[list[Member]]]], list[Problem]]:
    """The images by acquisition, each with a unit that has no image yet; and what is wrong with the folder."""
    groups, problems = labelled_members(root, participant, filters, files, SUFFIXES)
    found: dict[tuple[tuple[tuple[str, str], ...], str, str], list[list[Member]]] = {}
    for members in groups:
        entities, suffix, first = members[0]
        if suffix in SUFFIXES and entities.get("part", "mag") == "mag":
            found.setdefault((_shared(members[0]), suffix, first.parent.name), []).append(members)
    return [
        (Unit(root, participant, dict(entities).get("ses"), entities, suffix, folder, pipeline="cord_mt"), parts)
        for (entities, suffix, folder), parts in found.items()
    ], problems


def _shared(member: Member) -> tuple[tuple[str, str], ...]:
    """The entities that all images of an acquisition have."""
    left = ("mt", "flip", "acq") if _old_label(member) else ("mt", "flip")
    return tuple(pair for pair in without_parts(member[0]) if pair[0] not in left)


def _old_label(member: Member) -> str:
    """What acq- says where it stands for mt- and flip-, in small letters; else empty."""
    entities, suffix, _ = member
    said = entities.get("acq", "").lower()
    return said if suffix == "MTS" and "mt" not in entities and said in _OLD_LABELS else ""


def _is_on(member: Member, root: Path) -> bool | None:
    """Whether the saturation pulse was on: by the name, else by MTState; None where neither says so."""
    entities, _, path = member
    named = entities.get("mt") or _OLD_LABELS.get(_old_label(member))
    said = metadata(path, root).get("MTState")
    if named in ("on", "off"):
        if isinstance(said, bool) and said is not (named == "on"):
            raise DataError(f"{path} is MT-{named} by its name and has MTState {str(said).lower()}.", "Correct one of them.")
        return named == "on"
    return said if isinstance(said, bool) else None


def _unit(bare: Unit, groups: Sequence[list[Member]]) -> Unit | None:
    """The unit of one acquisition; None where an image with and one without saturation are not both there."""
    states = []
    for members in groups:
        saturation = _is_on(members[0], bare.root)
        paths = tuple(sorted((path for _, _, path in members), key=echo_number))
        if saturation is not None:
            states.append(_State(saturation, members[0][0].get("flip", ""), _old_label(members[0]), paths))
    saturated, plain = ([state for state in states if state.on is wanted] for wanted in (True, False))
    if not saturated or not plain:
        return None
    if len(saturated) > 1 or len(plain) > 2:
        many = saturated if len(saturated) > 1 else plain
        what = "MT-on" if many is saturated else "MT-off"
        raise DataError(
            f"{many[0].paths[0]} and {many[-1].paths[0].name}: {len(many)} {what} images make one acquisition.",
            "Tell several acquisitions apart by acq- or run-.",
        )
    (on,) = saturated
    off, t1w = _by_weighting(bare, on, plain)
    for state in (off, t1w) if t1w else (off,):
        if len(state.paths) != len(on.paths):
            raise MissingInput(
                f"{state.paths[0]} has {len(state.paths)} echoes and {on.paths[0].name} {len(on.paths)}.", "All need the same."
            )
        check_grid(state.paths[0], grid_of_file(state.paths[0]), on.paths[0], grid_of_file(on.paths[0]))
    beside, lacking = {"mt_off": off.paths}, {}
    if t1w:
        beside["mt_t1w"] = t1w.paths
        b1, lacking["b1_map"] = b1_of(bare, (*on.paths, *off.paths, *t1w.paths))
        if b1:
            beside["b1_map"] = (b1,)
    else:
        lacking = {"mt_t1w": NO_T1W, "b1_map": NO_T1W}
    absent = tuple((name, why) for name, why in lacking.items() if why)
    return replace(bare, magnitude=on.paths, beside=tuple(beside.items()), lacking=absent)


def _by_weighting(bare: Unit, on: _State, plain: Sequence[_State]) -> tuple[_State, _State | None]:
    """The MT-off image that goes with the MT-on image (PDw), and the T1w where there are two.

    T1 weighs on the signal of a spoiled gradient echo as (flip angle)^2 / TR does. Where the sidecars do not tell both, an old name or
    the flip- index says which one goes with the MT-on image, and the maps that need more are not made (`protocol`).
    """
    named = [state for state in plain if state.label == "t1w"]
    if len(plain) == 1:
        path = plain[0].paths[0]
        if named or plain[0].flip != on.flip:
            why = "is T1w by its name" if named else "has another flip- than the MT-on image"
            raise MissingInput(
                f"The MT-off image is missing: {path} {why}.",
                f"Add the image that differs from {on.paths[0].name} in saturation alone, or correct the name.",
            )
        return plain[0], None
    told = [_timing(bare, state.paths[0])[:2] for state in plain]
    if all(tr and angle for tr, angle in told):
        weights = [(angle or 0) ** 2 / (tr or 1) for tr, angle in told]
        order = np.argsort(weights, kind="stable")
        off, t1w = plain[order[0]], plain[order[1]]
        if weights[order[1]] <= weights[order[0]]:
            raise DataError(
                f"{plain[0].paths[0]} and {plain[1].paths[0].name} have one FlipAngle and one RepetitionTime: none is T1-weighted.",
                "Correct the sidecars, or tell two acquisitions apart by acq- or run-.",
            )
        if off in named or t1w.label == "mtoff":
            raise DataError(
                f"{t1w.paths[0]} is more T1-weighted than {off.paths[0].name} by FlipAngle and RepetitionTime, and less by its name.",
                "Correct one of them.",
            )
        return off, t1w
    same = [state for state in plain if state not in named] if named else [state for state in plain if state.flip == on.flip]
    if len(same) != 1:
        raise MissingInput(
            _timing(bare, plain[0].paths[0])[2] or _timing(bare, plain[1].paths[0])[2] or f"{on.paths[0]} has no MT-off image with its flip-.",
            "Without it nothing says which MT-off image goes with the MT-on image.",
        )
    return same[0], next(state for state in plain if state is not same[0])


def _timing(unit: Unit, path: Path) -> tuple[float | None, float | None, str]:
    """Repetition time (s), flip angle (rad), and what is missing, in a sentence."""
    found: list[float | None] = []
    lacking = ""
    for read in (repetition_time, flip_angle):
        try:
            found.append(read(path, metadata(path, unit.root)))
        except MissingInput as error:
            found.append(None)
            lacking = lacking or error.sentence()
    return found[0], found[1], lacking


def protocol(unit: Unit) -> tuple[Table | None, str]:
    """How the three images of a unit were taken: image, repetition_time (s), flip_angle (rad); None, and why, where that is not known."""
    images = dict(unit.beside)
    if "mt_t1w" not in images:
        return None, NO_T1W
    rows = []
    for name, paths in (("mt_on", unit.magnitude), ("mt_off", images["mt_off"]), ("t1w", images["mt_t1w"])):
        time, angle, lacking = _timing(unit, paths[0])
        if lacking:
            return None, lacking
        rows.append({"image": name, "repetition_time": time, "flip_angle": angle})
    return Table.of_rows(rows), ""


def doubts(unit: Unit) -> list[str]:
    """What speaks against the maps of a unit, and does not stop them; in sentences."""
    off = dict(unit.beside)["mt_off"][0]
    pairs = zip(("RepetitionTime", "FlipAngle"), _timing(unit, unit.magnitude[0])[:2], _timing(unit, off)[:2], strict=False)
    apart = " and ".join(name for name, one, other in pairs if None not in (one, other) and one != other)
    found = [f"MTR: {unit.magnitude[0].name} and {off.name} differ in {apart}, so not saturation alone tells them apart"] if apart else []
    no_b1 = dict(unit.lacking).get("b1_map", "")
    return found + ([f"MTsat and T1 are not corrected for B1: {no_b1}"] if no_b1 not in ("", NO_B1, NO_T1W) else [])


def load_mt(unit: Unit) -> tuple[dict[str, Volume], list[str]]:
    """The images of a unit by the names of their artifacts, the MT-on image as `image`; and what was decided."""
    image, notes = load_cord(unit)
    found = {"image": image}
    for name, paths in unit.beside:
        if name == "b1_map":
            volume, more = relative(paths[0], unit.root)
        else:
            volume, more = load_cord(replace(unit, magnitude=paths, beside=()))
            check_grid(paths[0], volume.grid, unit.magnitude[0], image.grid)
            volume = Volume(volume.data, image.grid)
        found[name] = volume
        notes += more
    table, why = protocol(unit)
    if table is None and why != NO_T1W:
        notes.append(f"MTsat and T1 are not made: {why}")
    names = {"mt_off": "MT-off", "mt_t1w": "T1w", "b1_map": "B1 map"}
    said = ", ".join(f"{names[name]}: {paths[0].name}" for name, paths in unit.beside)
    return found, [f"MT-on: {unit.magnitude[0].name}, {said}.", *notes]
