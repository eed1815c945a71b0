"""The glossary: one row per thing that flows, with its unit, its sign, its file and its picture.

Signs, for the whole app: a stronger field, a positive field map and a positive phase are one and the same; paramagnetic
susceptibility is positive. Letters in shapes: X Y Z space, E echoes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class View:
    """How an artifact is looked at: a grey map, or the outline of a mask drawn on another artifact.

    `low` and `high` are the ends of the grey scale in the artifact's unit; None takes the 1st and 99th percentile.
    """

    kind: Literal["map", "outline"] = "map"
    low: float | None = None
    high: float | None = None
    on: str = ""


@dataclass(frozen=True)
class File:
    """Where a BIDS derivative of an artifact lies: folder, entities beside those of the source, and suffix.

    `unit` is the unit in the file (BIDS fixes it by suffix); it is changed at the door, in `bids/derivatives.py`.
    `per_echo` writes one file per echo, with its `echo` entity; an empty `suffix` is that of the source. `twins` are more
    `desc` values under which the same file stands: BIDS wants a magnitude beside every field map.
    """

    suffix: str
    folder: str = "anat"
    entities: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    per_echo: bool = False
    twins: tuple[str, ...] = ()
    metadata: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Artifact:
    """One thing that flows.

    `keep`: "always" (a result), "asked" (saved when `--outputs` names it) or "never" (only ever in the work folder).
    """

    name: str
    title: str
    unit: str
    shape: str
    meaning: str
    kind: Literal["map", "mask", "number", "numbers"] = "map"
    keep: Literal["always", "asked", "never"] = "never"
    file: File | None = None
    view: View | None = None
    statistics: bool = field(default=False)


def _row(name: str, title: str, unit: str, shape: str, meaning: str, **more: object) -> Artifact:
    return Artifact(name, title, unit, shape, meaning, **more)  # type: ignore[arg-type]


_SKULL = (("SkullStripped", False),)
_STRIPPED = (("SkullStripped", True),)

ARTIFACTS: dict[str, Artifact] = {
    row.name: row
    for row in (
        # what the scanner gives
        _row(
            "phase",
            "Phase",
            "rad",
            "(X, Y, Z, E)",
            "wrapped, -pi..pi, positive where the field is stronger",
            view=View(),
        ),
        _row("magnitude", "Magnitude", "arbitrary", "(X, Y, Z, E)", "at least 0", view=View(low=0)),
        _row("echo_times", "Echo times", "s", "(E,)", "rising", kind="numbers"),
        _row(
            "echo_spacing",
            "Echo spacing",
            "s",
            "(E-1,)",
            "there only when there are two echoes or more",
            kind="numbers",
        ),
        _row("field_strength", "Field strength", "T", "()", "positive", kind="number"),
        # quantitative susceptibility mapping
        _row(
            "combined_magnitude",
            "Combined magnitude",
            "arbitrary",
            "(X, Y, Z)",
            "root sum of squares of the echoes",
            keep="always",
            file=File("magnitude", "fmap", (("desc", "total"),), twins=("local",), metadata=_SKULL),
            view=View(low=0),
        ),
        _row("phase_quality", "Phase quality", "1", "(X, Y, Z)", "0 (noise) to 1 (coherent)", view=View(low=0, high=1)),
        _row(
            "mask",
            "Mask",
            "1",
            "(X, Y, Z)",
            "where the phase is used: 0 or 1",
            kind="mask",
            keep="always",
            file=File("mask", entities=(("desc", "brain"),), metadata=(("Type", "Brain"),)),
            view=View("outline", on="combined_magnitude"),
        ),
        _row("phase_offset", "Phase offset", "rad", "(X, Y, Z)", "phase at echo time zero", view=View()),
        _row(
            "unwrapped",
            "Unwrapped phase",
            "rad",
            "(X, Y, Z, E)",
            "phase without wraps and without offset, inside the mask",
            keep="asked",
            file=File(
                "", entities=(("part", "phase"), ("desc", "unwrapped")), unit="rad", per_echo=True, metadata=_STRIPPED
            ),
            view=View(),
        ),
        _row(
            "total_field",
            "Total field",
            "ppm",
            "(X, Y, Z)",
            "field inside the mask, relative to B0",
            keep="always",
            file=File("fieldmap", "fmap", (("desc", "total"),), "Hz", metadata=_STRIPPED),
            view=View(),
        ),
        _row(
            "field_noise",
            "Noise of the total field",
            "ppm",
            "(X, Y, Z)",
            "estimated standard deviation; above 0 in the mask",
            view=View(low=0),
        ),
        _row(
            "field_mask",
            "Mask of the trusted field",
            "1",
            "(X, Y, Z)",
            "the part of the mask where the field can be trusted",
            kind="mask",
            view=View("outline", on="total_field"),
        ),
        _row(
            "local_field",
            "Local field",
            "ppm",
            "(X, Y, Z)",
            "field made by tissue inside the mask",
            keep="always",
            file=File("fieldmap", "fmap", (("desc", "local"),), "Hz", metadata=_STRIPPED),
            view=View(low=-0.05, high=0.05),
        ),
        _row(
            "local_mask",
            "Mask of the local field",
            "1",
            "(X, Y, Z)",
            "where the local field and the susceptibility are known",
            kind="mask",
            keep="always",
            file=File("mask", entities=(("desc", "local"),), metadata=(("Type", "ROI"),)),
            view=View("outline", on="total_field"),
        ),
        _row("chi_unreferenced", "Susceptibility before referencing", "ppm", "(X, Y, Z)", "positive is paramagnetic"),
        _row(
            "chi",
            "Susceptibility",
            "ppm",
            "(X, Y, Z)",
            "positive is paramagnetic; relative to the chosen reference",
            keep="always",
            file=File("Chimap", unit="ppm", metadata=_STRIPPED),
            view=View(low=-0.1, high=0.1),
            statistics=True,
        ),
        # relaxometry
        _row(
            "r2star",
            "R2*",
            "1/s",
            "(X, Y, Z)",
            "at least 0",
            keep="always",
            file=File("R2starmap", unit="1/s", metadata=_STRIPPED),
            view=View(low=0, high=60),
            statistics=True,
        ),
        _row(
            "t2star",
            "T2*",
            "s",
            "(X, Y, Z)",
            "at least 0; 0 where there is no decay to measure",
            keep="always",
            file=File("T2starmap", unit="s", metadata=_STRIPPED),
            view=View(low=0, high=0.08),
            statistics=True,
        ),
        _row(
            "s0",
            "S0",
            "arbitrary",
            "(X, Y, Z)",
            "magnitude at echo time zero; at least 0",
            keep="always",
            file=File("S0map", unit="arbitrary", metadata=_STRIPPED),
            view=View(low=0),
            statistics=True,
        ),
    )
}
