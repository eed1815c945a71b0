"""Which diffusion and functional series of a participant show the spinal cord, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuraxis.bids.cord import foot_to_head, in_view
from neuraxis.bids.dataset import Problem, Unit, labelled_members, natural, without_parts
from neuraxis.bids.files import SERIES
from neuraxis.bids.filters import Filters
from neuraxis.bids.gradients import tables_of
from neuraxis.bids.images import check_values, grid_of_file, is_single, read_series, slice_axis
from neuraxis.bids.sidecar import metadata, sidecars
from neuraxis.errors import DataError, LeftOut, NeuraxisError
from neuraxis.volume import Grid, Volume

PIPELINE = {"dwi": "cord_dwi", "bold": "cord_bold"}
"""Suffix of a series -> the pipeline that works on it."""

_COARSE_MM = 1.6
"""Series of the cord have smaller pixels; those of the brain, whose slabs can look like a neck to the search, have larger ones."""

_SAME_EDGE = 1.1
"""Edges of a voxel whose ratio is below this are of one length."""

_COARSE = LeftOut(
    f"its pixels are larger than {_COARSE_MM:g} mm and nothing says that it shows the cord, so it is taken for a series of the brain.",
    'If it shows the cord, say so: --cord, or "BodyPart": "CSPINE" in its sidecar.',
)
_BLIP = LeftOut(
    "single volumes, or volumes without a table of b-values, whose phase was encoded in another direction than that of the diffusion "
    "series beside them: they are for the correction of distortions, which is not done here."
)


def series_units(
    bids_dir: Path,
    participant: str,
    suffix: str,
    filters: Filters | None = None,
    files: Mapping[str, Iterable[Path]] | None = None,
    references: Sequence[Unit] = (),
    *,
    everything: bool = False,
) -> tuple[list[Unit], list[Problem]]:
    """The series of one participant with this suffix (dwi or bold) that show the cord, and those that cannot be used.

    Whether the cord is in view is told as for other images (`in_view`); where only the content can tell, series with coarse pixels
    are taken for those of a brain and left out, which is told. So are diffusion images with reversed phase encoding that are no series
    of their own. `references` are the participant's anatomical images
    of the cord: the best of the session tells the vertebral levels.
    """
    root = Path(bids_dir)
    told: list[Unit] = []
    groups, problems = labelled_members(root, participant, filters, files, (suffix,), SERIES)
    units: list[Unit] = []
    for members in groups:
        chosen = [(entities, path) for entities, own, path in members if own == suffix and entities.get("part", "mag") == "mag"]
        if not chosen:
            continue
        entities, image = chosen[0]
        unit = Unit(
            root, participant, entities.get("ses"), without_parts(entities), suffix, image.parent.name, magnitude=(image,),
            pipeline=PIPELINE[suffix],
        )  # fmt: skip
        try:
            alone = is_single(image)
            grid = grid_of_file(image, series=not alone)  # what cannot be placed is told here
            view = "cord" if everything else in_view(unit, grid)
            if view == "brain":
                continue
            if view == "perhaps" and max(grid.voxel_size[:2]) > _COARSE_MM:
                problems.append((unit.name, _COARSE))
                continue
            _check_axial(unit, grid)
            told.append(unit)
            if alone:
                grid_of_file(image, series=True)  # says that one volume is no series
            if len(chosen) > 1:
                raise DataError(f"{image} and {chosen[1][1].name} are two files of one series.", "Combine echoes first, or keep one.")
            if suffix == "dwi":
                unit = replace(unit, tables=tables_of(image, root))
        except NeuraxisError as error:
            problems.append((unit.name, error))
            continue
        units.append(_referred(unit if view == "cord" else replace(unit, sure=False), references))
    for number, (name, problem) in enumerate(problems):
        lone = next((one for one in told if one.name == name), None)
        if suffix == "dwi" and lone and not isinstance(problem, LeftOut) and _reversed(lone, units):
            problems[number] = name, _BLIP
    return sorted(units, key=lambda one: natural(one.name)), problems


def _check_axial(unit: Unit, grid: Grid) -> None:
    """DataError where the sidecar or the header tells that the slices are not axial; voxels that are about as long all ways may be so.

    A header that calls a short edge the thickness of the slices was not kept up when the axes were put in another order.
    """
    content, image = metadata(unit.magnitude[0], unit.root), unit.magnitude[0]
    axis = slice_axis(image)
    if "SliceEncodingDirection" in content or (axis is None and "SliceTiming" in content):
        axis = "ijk".find(str(content.get("SliceEncodingDirection", "k"))[:1])
    size = grid.voxel_size
    along = foot_to_head(grid)
    if axis not in (None, -1, along) and size[axis] * _SAME_EDGE >= size[along] and max(size) > _SAME_EDGE * min(size):
        raise DataError(
            f"{image}: its slices are not axial, by its header or sidecar.",
            "Motion is corrected slice by slice in the axial plane: a sagittal or coronal series cannot be used here.",
        )


def _reversed(unit: Unit, others: Sequence[Unit]) -> bool:
    """Whether a diffusion image that cannot be used by itself was taken with another direction of phase encoding than one that can be.

    Without a table of b-values of its own, or as a single volume, it is there for the correction of distortions.
    """
    def way(one: Unit) -> tuple[str | None, object]:
        return dict(one.entities).get("dir"), metadata(one.magnitude[0], one.root).get("PhaseEncodingDirection")

    if not is_single(unit.magnitude[0]) and sidecars(unit.magnitude[0], unit.root, ".bval"):
        return False
    own = way(unit)
    beside = [way(one) for one in others if one.session == unit.session]
    return any(mine is not None and its is not None and mine != its for one in beside for mine, its in zip(own, one, strict=True))


def _referred(unit: Unit, references: Sequence[Unit]) -> Unit:
    """The unit with the image of its session that its levels come from: that to which the others of the session refer."""
    own = [one for one in references if one.session == unit.session and one.sure]
    best = next((one.reference for one in own if one.reference), None) or next((one for one in own if one.tells), None)
    return replace(unit, reference=best or (own[0] if own else None))


def load_series(unit: Unit) -> tuple[Volume, list[str]]:
    """The volumes of a unit, (X, Y, Z, T); and what was decided."""
    path = unit.magnitude[0]
    data, grid = read_series(path)
    values = np.ascontiguousarray(data, np.float32)
    check_values(path, "", values)
    notes = []
    if values.min() < 0:
        values = values.clip(min=0)
        notes.append("Series: values below zero were set to zero.")
    return Volume(values, grid), notes
