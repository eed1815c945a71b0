"""Which images of a participant show the spinal cord, and how they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lazy_loader as lazy
import numpy as np

from neuraxis.bids.dataset import Member, Problem, Unit, check, echo_number, labelled_members, natural, without_parts
from neuraxis.bids.filters import Filters
from neuraxis.bids.images import check_grid, check_values, grid_of_file, read_volume
from neuraxis.bids.sidecar import metadata
from neuraxis.errors import NeuraxisError
from neuraxis.volume import Array, Grid, Volume

nibabel = lazy.load("nibabel")

SUFFIXES = (
    "T1w",
    "T2w",
    "T2starw",
    "PDw",
    "MEGRE",
    "MTS",
    "UNIT1",
    "MTR",
    "MTRmap",
    "PDT2",
    "FLAIR",
    "inplaneT2",
    "inplaneT1",
)
"""Anatomical images in which a cord can be seen. Parts and inversions (INV1, INV2) of MP2RAGE are left to its UNIT1."""

CORD_PARTS = ("SPINE", "CSPINE", "TSPINE", "LSPINE", "CTSPINE", "TLSPINE", "LSSPINE", "SPINALCORD", "CORD", "NECK")
BRAIN_PARTS = ("BRAIN", "HEAD", "SKULL")
"""What `BodyPart` (DICOM's Body Part Examined, which some converters write as such) or the entity bodypart- can say, in capitals without spaces."""

_NARROW_MM = 100.0
"""A field of view that no head fits into: a sagittal slab is of the cord, what is small all around may be a part of anything."""

_TALL_MM = 200.0
"""A head is at most about 170 mm from the vertex to the foramen magnum: a taller field of view holds some neck."""

_THIN_MM = 110.0
"""An axial stack of less height holds no whole brain; whether it is of head or neck is for its content to say."""

_THIN_SLICE_MM = 2.5
"""Vertebral discs, about 5 mm high, can be told in slices across the body up to this thickness."""

_BEST = ("T2w", "T1w", "UNIT1", "MEGRE", "T2starw")
"""The contrasts in which levels are found best, the best first."""

View = Literal["cord", "perhaps", "brain"]


def cord_units(
    bids_dir: Path,
    participant: str,
    filters: Filters | None = None,
    files: Mapping[str, Iterable[Path]] | None = None,
    *,
    everything: bool = False,
    taken: Collection[Path] = (),
) -> tuple[list[Unit], list[Problem]]:
    """The images of one participant that show the cord, and those that cannot be used, each with the reason.

    A unit is one image, or the magnitudes of the echoes of one MEGRE; not those `taken` by units of another kind. Whether the
    cord is in view is told, in this order, by `everything`, by the entity bodypart-, by `BodyPart` in the sidecar, and by the
    field of view (see `in_view`).
    """
    groups, problems = labelled_members(Path(bids_dir), participant, filters, files, SUFFIXES)
    units: list[Unit] = []
    for members in groups:
        unit = _unit(Path(bids_dir), members)
        if unit is None or unit.magnitude[0] in taken:
            continue
        problem = check(unit)
        try:
            grid = grid_of_file(unit.magnitude[0])  # an image that cannot be placed is told here
            view: View = "cord" if everything else in_view(unit, grid)
        except NeuraxisError as error:
            problems.append((unit.name, error))
            continue
        if view == "brain":
            continue
        if problem:
            problems.append((unit.name, problem))
        else:
            units.append(replace(unit, sure=view == "cord", thin=is_thin(grid)))
    units.sort(key=lambda one: natural(one.name))
    return referred(units, units), problems


def referred(units: Sequence[Unit], images: Sequence[Unit]) -> list[Unit]:
    """Each of `units` with the best of `images` with thin slices, of its session, as its reference for discs.

    Thick slices show no discs; thin ones may tell themselves.
    """
    thin_ones = [one for one in images if one.sure and one.thin]
    found = []
    for unit in units:
        thin = [one for one in thin_ones if one.session == unit.session]
        thin.sort(key=lambda one: _BEST.index(one.suffix) if one.suffix in _BEST else len(_BEST))
        found.append(replace(unit, reference=thin[0], tells=unit.thin) if thin and thin[0] is not unit else unit)
    return found


def is_thin(grid: Grid) -> bool:
    """Whether discs can be told in the slices of an image: by the size of a voxel along the axis nearest to foot to head."""
    return grid.voxel_size[foot_to_head(grid)] <= _THIN_SLICE_MM


def foot_to_head(grid: Grid) -> int:
    """The axis of the array that is nearest to foot to head."""
    return int(np.flatnonzero(nibabel.orientations.io_orientation(grid.matrix)[:, 0] == 2)[0])


def _unit(root: Path, members: list[Member]) -> Unit | None:
    """A unit of one group of files: the magnitudes; None where there are none."""
    entities, suffix, first = members[0]
    chosen = [(e, path) for e, _, path in members if e.get("part", "mag") == "mag"]
    if suffix not in SUFFIXES or not chosen:
        return None
    chosen.sort(key=lambda one: echo_number(one[1]))
    echoes = tuple(e["echo"] for e, _ in chosen if "echo" in e)
    return Unit(
        root, entities["sub"], entities.get("ses"), without_parts(entities), suffix, first.parent.name,
        magnitude=tuple(path for _, path in chosen), echoes=echoes, pipeline="cord_anat",
    )  # fmt: skip


def in_view(unit: Unit, grid: Grid) -> View:
    """Whether the cord is in view of a unit on `grid`: it is, it may be (its content must say), or it is not."""
    content = metadata(unit.magnitude[0], unit.root)
    named = dict(unit.entities).get("bodypart") or content.get("BodyPart") or content.get("BodyPartExamined")
    if isinstance(named, str):
        part = "".join(letter for letter in named.upper() if letter.isalpha())
        if part in CORD_PARTS:
            return "cord"
        if part in BRAIN_PARTS:
            return "brain"
    across, deep, tall = extent(grid)
    if across <= _NARROW_MM and min(deep, tall) > _NARROW_MM:
        return "cord"
    return "perhaps" if min(across, deep) <= _NARROW_MM or tall <= _THIN_MM or tall >= _TALL_MM else "brain"


def extent(grid: Grid) -> tuple[float, float, float]:
    """Field of view from right to left, back to front and foot to head, along the voxel axes nearest to these; mm."""
    turn = nibabel.orientations.io_orientation(grid.matrix)
    found = [0.0, 0.0, 0.0]
    for axis in range(3):
        found[int(turn[axis, 0])] = grid.shape[axis] * grid.voxel_size[axis]
    return found[0], found[1], found[2]


def load_cord(unit: Unit) -> tuple[Volume, list[str]]:
    """The image of a unit, and what was decided: of several echoes the root sum of squares."""
    return combined(load_echoes(unit))


def combined(echoes: Volume) -> tuple[Volume, list[str]]:
    """One image of the echoes (X, Y, Z, E), and what was decided."""
    number = echoes.data.shape[3]
    if number == 1:
        return Volume(np.ascontiguousarray(echoes.data[..., 0]), echoes.grid), []
    total = np.sqrt(np.einsum("...e,...e->...", echoes.data, echoes.data))
    return Volume(total, echoes.grid), [f"Image: root sum of squares of {number} echoes."]


def load_echoes(unit: Unit) -> Volume:
    """The magnitudes of the echoes of a unit; (X, Y, Z, E)."""
    found: list[Array] = []
    grid: Grid | None = None
    for path in unit.magnitude:
        data, here, _ = read_volume(path)
        grid = grid or here
        check_grid(path, here, unit.magnitude[0], grid)
        found.append(np.asarray(data, np.float32))
        check_values(path, "", found[-1])
    assert grid is not None
    return Volume(np.stack(found, axis=-1), grid)
