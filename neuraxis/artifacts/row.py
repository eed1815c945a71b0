"""What a row of the glossary says of a thing: name, unit, sign, file, columns and picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class View:
    """How an artifact is looked at: a grey map, the outline of a mask drawn on another artifact, or a picture of the cord.

    `on`: what the outline is drawn on, or the image before it was moved (flicker).

    `low` and `high` are the ends of the grey scale in the artifact's unit; None takes the 1st and 99th percentile.
    """

    kind: Literal[
        "map", "outline", "mosaic", "sagittal", "curves", "normative", "lesions", "regions", "template", "tracts", "cordmap", "flicker",
        "motion", "before", "ratio", "within",
    ] = "map"  # fmt: skip
    low: float | None = None
    high: float | None = None
    on: str = ""


@dataclass(frozen=True)
class File:
    """Where a BIDS derivative of an artifact lies: folder, entities beside those of the source, and suffix.

    An entity of no value takes the suffix of the source. `unit` is the unit in the file (BIDS fixes it by suffix); it is
    changed at the door, in `bids/derivatives.py`.
    `per_echo` writes one file per echo, with its `echo` entity; an empty `suffix` is that of the source, and one that
    begins with + is added to it. `twins` are more
    `desc` values under which the same file stands: BIDS wants a magnitude beside every field map. A file of other hands is found
    under the same name, under the names of the artifacts in `also`, and under `given`, endings behind the name of the source
    (`_seg-manual` finds sub-01_T2w_seg-manual.nii.gz), and `bare`, endings behind its entities (`_mask` finds
    sub-01_mask.nii.gz, as QSMxT names it); `derived`: it follows from another artifact and is never given.
    `beside`: the b-values and b-vectors of the source stand beside it, too.
    """

    suffix: str
    folder: str = "anat"
    entities: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    per_echo: bool = False
    twins: tuple[str, ...] = ()
    metadata: tuple[tuple[str, object], ...] = ()
    given: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    derived: bool = False
    beside: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table: its unit ("" for none), what it means, and whether it holds whole numbers or text."""

    unit: str
    meaning: str
    whole: bool = False
    text: bool = False


@dataclass(frozen=True)
class Artifact:
    """One thing that flows.

    `keep`: "always" (a result), "made" (saved when a result is made of it, or when `--outputs` names it), "asked" (saved when
    `--outputs` names it) or "never" (only ever in the work folder).
    `kind`: a map (numbers per voxel), a mask (0 or 1), labels (whole numbers per voxel), a warp
    (a displacement per voxel), a table, a number, numbers or a text.
    `within`: the range that a given file has to keep to. `names`: what the labels are called, for their table, or the
    volumes of a map of probabilities, for its sidecar.
    `pooled`: the tables of all participants are put into one at the level of the group.
    `serves`: what a given file is taken for too, which is no file itself: nothing needs to be made for it then.
    `over_time`: a table of the volumes of a series, without columns that say whose it is, as programs for models want it.
    """

    name: str
    title: str
    unit: str
    shape: str
    meaning: str
    kind: Literal["map", "mask", "labels", "warp", "table", "number", "numbers", "text"] = "map"
    keep: Literal["always", "made", "asked", "never"] = "never"
    file: File | None = None
    view: View | None = None
    statistics: bool = field(default=False)
    columns: Mapping[str, Column] = field(default_factory=dict)
    names: Literal["", "vertebrae", "discs", "spinal_levels", "lesions", "regions", "nuclei"] = ""
    within: tuple[float, float] | None = None
    pooled: bool = False
    over_time: bool = False
    serves: tuple[str, ...] = ()


def row(name: str, title: str, unit: str, shape: str, meaning: str, **more: object) -> Artifact:
    """A row with its usual fields in order."""
    return Artifact(name, title, unit, shape, meaning, **more)  # type: ignore[arg-type]
