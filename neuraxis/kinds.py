"""The kinds of units of work: how the units of a pipeline are found, read and told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.bids import (
    brain,
    coils,
    cord,
    dataset,
    gradients,
    images,
    orientations,
    people,
    series,
    sidecar,
    spin_echo,
)
from neuraxis.bids import magnetisation_transfer as mt
from neuraxis.bids.dataset import Problem, Unit
from neuraxis.cord.points import points_of
from neuraxis.engine import Pipeline
from neuraxis.errors import MissingInput, NeuraxisError
from neuraxis.numerics.upright import signal_on, tilt, upright_of
from neuraxis.options import Options
from neuraxis.pipelines import BRAIN_ANAT, CORD_ANAT, CORD_BOLD, CORD_DWI, CORD_MT, ORIENTATIONS, QSM, SPIN_ECHO
from neuraxis.qsm.sign import sign_evidence
from neuraxis.table import Table
from neuraxis.volume import Volume

Found = tuple[list[Unit], list[Problem]]
Others = Sequence[Callable[[str], Any]]
"""What gives artifacts by name, one for each of the units that are worked on first."""


@dataclass(frozen=True)
class Facts:
    """What is known of a unit before its images are read: inputs that are no images, and what its files are named by."""

    inputs: dict[str, Any] = field(default_factory=dict)
    entities: dict[str, str] = field(default_factory=dict)
    field_strength: float | None = None
    echo_times: tuple[float, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    """An input that its files do not give -> why, in a sentence."""
    doubts: tuple[str, ...] = ()
    """What speaks against its results and does not stop them: warnings."""


@dataclass(frozen=True)
class Kind:
    """A pipeline, and how its units come to it.

    `find(options, label, filters, files)` gives the units of a participant; `facts(unit)` what stands in their metadata;
    `images(unit)` the names of the artifacts that `load(unit)` reads, with what was decided on the way. `borrow(unit, others)`
    gives inputs that come from the units that are worked on first. `mixed`: given files may have their
    axes in another order than the image, as long as they lie in the same place.
    `look_back(seen)` gives notes and warnings on what was made.
    """

    pipeline: Pipeline
    find: Callable[[Options, str, dataset.Filters, Mapping[str, Iterable[Path]]], Found]
    facts: Callable[[Unit], Facts]
    images: Callable[[Unit], tuple[str, ...]]
    load: Callable[[Unit], tuple[dict[str, Any], list[str]]]
    nothing: str
    borrow: Callable[[Unit, Others], dict[str, Any]] = lambda unit, others: {}
    mixed: bool = False
    look_back: Callable[[Mapping[str, Any]], tuple[list[str], list[str]]] = lambda seen: ([], [])


def _find_gre(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    if options.cord:
        return [], []
    units, problems = dataset.gre_units(options.bids_dir, label, filters, files)
    units = [_read_as(unit, options) for unit in units]
    units = brain.referred(units, brain.t1w_units(options.bids_dir, label, filters, files)[0])
    return spin_echo.referred(units, spin_echo.spin_echo_units(options.bids_dir, label, filters, files)[0]), problems


def _read_as(unit: Unit, options: Options) -> Unit:
    """The unit with what the user says of its images."""
    inner = tuple(_read_as(coil, options) for coil in unit.coils)
    flip = options.phase_sign == "negative"
    upright = options.oblique == "resample"
    return replace(unit, coils=inner, flip=flip, upright=upright, coil_smoothing=options.coil_smoothing)


def _echoes(echo_times: Iterable[float]) -> dict[str, Any]:
    """Echo times, and their spacing where there are several; s."""
    times = np.asarray(echo_times, dtype=float)
    return {"echo_times": times} | ({"echo_spacing": np.diff(times)} if len(times) > 1 else {})


def _gre_facts(unit: Unit) -> Facts:
    acquisition = sidecar.acquisition(unit)
    inputs = _echoes(acquisition.echo_times)
    if acquisition.field_strength is not None:
        inputs["field_strength"] = acquisition.field_strength
    return Facts(inputs, dict(unit.entities), acquisition.field_strength, acquisition.echo_times)


def _gre_images(unit: Unit) -> tuple[str, ...]:
    return tuple(name for name in ("phase", "magnitude") if getattr(unit, f"has_{name}"))


def _load_gre(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    loaded = coils.load_coils(unit) if unit.coils else images.load_gre(unit)
    here: dict[str, Any] = {name: getattr(loaded, name) for name in _gre_images(unit)}
    grid, notes = next(iter(here.values())).grid, list(loaded.notes)
    if unit.upright and (target := upright_of(grid)):
        here["magnitude"], here["phase"] = signal_on(here.get("magnitude"), here.get("phase"), target)
        shapes = [" x ".join(map(str, one.shape)) for one in (grid, target)]
        notes.append(
            f"Grid: tilted by {tilt(grid):.1f} degrees against the main field ({shapes[0]} voxels); brought onto one along the scanner's "
            f"axes ({shapes[1]}), as --oblique resample asks. All results lie on that grid."
        )
    return {name: one for name, one in here.items() if one is not None}, notes


SIGN = "Sign of the phase"
"""How the note on it begins."""


def _look_at_sign(seen: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """A note on the sign of the phase, and a warning where it looks turned round."""
    chi, magnitude = seen.get("chi"), seen.get("magnitude")
    if not isinstance(chi, Volume) or not (chi.data != 0).any():
        return [], []
    import torch

    map_, size = torch.from_numpy(np.array(chi.data, np.float32)), None
    if isinstance(magnitude, Volume):
        size = torch.from_numpy(np.asarray(magnitude.data))
    found = sign_evidence(map_, map_ != 0, chi.grid, size)
    if found is None:
        return [], []
    figures = f"skewness of the susceptibility {found.skewness:+.2f}"
    if found.contrast is not None:
        figures += f", where the signal decays quickest {found.contrast:+.2f} standard deviations"
    if found.turned:
        text = f"{SIGN}: veins and iron come out diamagnetic ({figures}): the phase may be stored with the opposite sign."
        return [text], [f"{text} If so, use --phase-sign negative."]
    verdict = "veins and iron come out paramagnetic" if found.clear else "the map does not tell"
    return [f"{SIGN}: {verdict} ({figures})."], []


def _find_spin_echo(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    return ([], []) if options.cord else spin_echo.spin_echo_units(options.bids_dir, label, filters, files)


_LENT = tuple(
    name
    for name in QSM.inputs
    if name == "region_names" or name.startswith("t1w_") or name in (*SPIN_ECHO.makes, *BRAIN_ANAT.makes)
)
"""What a gradient echo takes of the session's other images: R2, what is known of the T1w, and the names of given regions."""


def _lent(unit: Unit, others: Others) -> dict[str, Any]:
    """R2 of the session's spin echoes, and what is known of its T1w."""
    found = {name: [one for of in others if (one := of(name)) is not None] for name in _LENT}
    return {name: ones[0] for name, ones in found.items() if ones}


def _find_t1w(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    """The T1w images that a gradient echo refers to; all of them where something of a T1w itself was asked for."""
    if options.cord:
        return [], []
    units, problems = brain.t1w_units(options.bids_dir, label, filters, files)
    if set(options.outputs) & set(BRAIN_ANAT.makes):
        return units, problems
    wanted = {unit.t1w.name for unit in _find_gre(options, label, filters, files)[0] if unit.t1w}
    return [unit for unit in units if unit.name in wanted], problems if wanted else []


def _own_space(unit: Unit) -> dict[str, Any]:
    """What BIDS wants to know of a space that is the image's own."""
    return {"SpatialReference": "bids:raw:" + str(unit.magnitude[0].relative_to(unit.root))}


def _t1w_facts(unit: Unit) -> Facts:
    return Facts(entities=dict(unit.entities), metadata=_own_space(unit))


def _load_t1w(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    image, notes = cord.load_cord(unit)
    if image.data.min() < 0:
        image, notes = Volume(image.data.clip(min=0), image.grid), [*notes, "T1w: values below zero were set to zero."]
    return {"magnitude": Volume(image.data[..., None], image.grid)}, notes


def _find_orientations(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    units = _find_gre(options, label, filters, files)[0]
    found = orientations.joined(units)
    if found or not units:
        return found, []
    error = MissingInput(
        f"sub-{label} has no two gradient-echo acquisitions with phase and magnitude that differ in acq- or run- alone: there are no "
        f"several head orientations.",
        "COSMOS needs three of them, a susceptibility tensor six.",
    )
    return [], [(f"sub-{label}_orientations", error)]


def _orientation_facts(unit: Unit) -> Facts:
    return Facts(entities=dict(unit.entities), field_strength=sidecar.acquisition(unit.orientations[0]).field_strength)


def _told_positions(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    names = ", ".join(one.name for one in unit.orientations)
    return {}, [f"Head orientations, in order: {names}. The results lie on the grid of the first."]


def _each_orientation(unit: Unit, others: Others) -> dict[str, Any]:
    """What the pipeline takes, of every orientation; nothing of what one of them lacks."""
    found = {name: tuple(of(name) for of in others) for name in ORIENTATIONS.inputs}
    return {name: volumes for name, volumes in found.items() if all(volume is not None for volume in volumes)}


def _find_cord(
    options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    if options.brain:
        return [], []
    taken = mt.together(options.bids_dir, label, filters, files)
    return cord.cord_units(options.bids_dir, label, filters, files, everything=options.cord, taken=taken)


def _find_mt(options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]) -> Found:
    if options.brain:
        return [], []
    units, problems = mt.mt_units(options.bids_dir, label, filters, files, everything=options.cord)
    made = set(CORD_MT.makes) - set(CORD_ANAT.makes)
    if made & set(options.outputs):  # an image of saturation alone is one of anatomy unless MTR was asked for
        problems += mt.lone(options.bids_dir, label, filters, files)
    return cord.referred(units, _find_cord(options, label, filters, files)[0]), problems


def _mt_facts(unit: Unit) -> Facts:
    """What is known of the image, and how all images of the acquisition were taken."""
    facts = replace(_cord_facts(unit), doubts=tuple(mt.doubts(unit)))
    taken, lacking = mt.protocol(unit)
    if taken is None:
        return replace(facts, lacking={**dict(unit.lacking), "mt_protocol": lacking})
    return replace(facts, inputs={**facts.inputs, "mt_protocol": taken}, lacking=dict(unit.lacking))



def _cord_facts(unit: Unit) -> Facts:
    """The participant's sex and age; the space entity names the image, whose contrast no other entity tells."""
    strength = sidecar.field_strength(unit.magnitude[0], sidecar.metadata(unit.magnitude[0], unit.root))
    return Facts(
        people.person(unit.root, unit.participant),
        {**dict(unit.entities), "space": unit.suffix},
        strength,
        metadata=_own_space(unit),
    )


def _anatomy_facts(unit: Unit) -> Facts:
    """Those, and the echo times of several echoes, or why there are none; the image serves all the same."""
    facts = _cord_facts(unit)
    if len(unit.magnitude) == 1:
        return replace(facts, lacking=dict.fromkeys(("magnitude", "echo_times", "echo_spacing"), "one echo shows no decay"))
    try:
        return replace(facts, inputs=facts.inputs | _echoes(sidecar.acquisition(unit).echo_times))
    except NeuraxisError as error:
        return replace(facts, lacking=dict.fromkeys(("echo_times", "echo_spacing"), str(error)))


def _cord_images(unit: Unit) -> tuple[str, ...]:
    return ("image", "magnitude") if len(unit.magnitude) > 1 else ("image",)


def _load_cord(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    echoes = cord.load_echoes(unit)
    image, notes = cord.combined(echoes)
    return dict(zip(_cord_images(unit), (image, echoes), strict=False)), notes


def _session_discs(unit: Unit, others: Others) -> dict[str, Any]:
    """The discs of the session's reference image as points in space, and its way to the template for images that show no discs."""
    found = [discs for of in others if (discs := of("discs")) is not None and discs.data.any()]
    lent: dict[str, Any] = {"other_discs" if unit.tells else "session_discs": points_of(found[0])} if found else {}
    warps = [] if unit.tells else [warp for of in others if _lies(of("pam50_agreement")) and (warp := of("warp_from_pam50")) is not None]
    return lent | ({"session_warp": warps[0]} if warps else {})


def _lies(agreement: Table | None) -> bool:
    """Whether an image is trusted to lie on the template."""
    return agreement is not None and len(agreement) > 0 and agreement["trusted"][0] == 1


def _find_series(
    suffix: str, options: Options, label: str, filters: dataset.Filters, files: Mapping[str, Iterable[Path]]
) -> Found:
    if options.brain:
        return [], []
    anatomical = _find_cord(options, label, filters, files)[0]
    return series.series_units(options.bids_dir, label, suffix, filters, files, anatomical, everything=options.cord)


def _series_facts(unit: Unit) -> Facts:
    """b-values and directions of the gradients, where there are such tables."""
    path = unit.magnitude[0]
    inputs: dict[str, Any] = {}
    times = images.shape_of(unit)[3]  # a single volume is told before anything is done
    if unit.tables:
        grid = images.grid_of_file(path, series=True)
        inputs["b_values"], inputs["b_vectors"] = gradients.gradients(unit, grid, times)
    strength = sidecar.field_strength(path, sidecar.metadata(path, unit.root))
    return Facts(inputs, dict(unit.entities), strength)


def _load_series(unit: Unit) -> tuple[dict[str, Any], list[str]]:
    image, notes = series.load_series(unit)
    return {"series": image}, notes


KINDS = (
    Kind(SPIN_ECHO, _find_spin_echo, _gre_facts, _gre_images, _load_gre, "multi-echo spin echo"),
    Kind(BRAIN_ANAT, _find_t1w, _t1w_facts, lambda unit: ("magnitude",), _load_t1w,
         "T1w beside a gradient echo, or by `--outputs t1w_regions` any of a head", mixed=True),
    Kind(QSM, _find_gre, _gre_facts, _gre_images, _load_gre, "gradient-echo phase or multi-echo magnitude", _lent,
         mixed=True, look_back=_look_at_sign),  # fmt: skip
    Kind(ORIENTATIONS, _find_orientations, _orientation_facts, lambda unit: (), _told_positions, "several head orientations",
         _each_orientation),  # fmt: skip
    Kind(CORD_ANAT, _find_cord, _anatomy_facts, _cord_images, _load_cord, "anatomical image with a cord in view", _session_discs, True),
    Kind(CORD_MT, _find_mt, _mt_facts, lambda unit: ("image", *(name for name, _ in unit.beside)), mt.load_mt,
         "images with and without magnetisation transfer of a cord", _session_discs, True),  # fmt: skip
    Kind(CORD_DWI, partial(_find_series, "dwi"), _series_facts, lambda unit: ("series",), _load_series,
         "diffusion series with a cord in view", _session_discs, True),
    Kind(CORD_BOLD, partial(_find_series, "bold"), _series_facts, lambda unit: ("series",), _load_series,
         "functional series with a cord in view", _session_discs, True),
)


def kind_of(unit: Unit) -> Kind:
    """The kind of a unit."""
    return next(kind for kind in KINDS if kind.pipeline.name == unit.pipeline)
