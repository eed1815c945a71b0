"""What a unit is given and does not make: files of other hands, another atlas, PAM50; where it lies and whether it fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis import resources
from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import pam50, tables
from neuraxis.bids.dataset import Unit
from neuraxis.bids.derivatives import UnitStore, read_image
from neuraxis.bids.given_atlas import read_atlas
from neuraxis.engine import Plan
from neuraxis.errors import DataError, GridMismatch, MissingInput, ResourceError
from neuraxis.kinds import Kind, kind_of
from neuraxis.options import Options
from neuraxis.volume import ROUNDING_MM, Volume

_NEVER_EMPTY = {"cord": "cord", "mask": "brain"}
"""What a file of other hands has to mark: with nothing marked there is nothing to do."""

_ROUNDED = 0.25
"""Part of the smallest voxel edge by which the corners of a given file may be off: less cannot be another placement."""


def atlas(options: Options, kind: Kind) -> dict[str, Any]:
    """The labels and names of the atlas that was asked for, where the pipeline takes them."""
    if not options.atlas or "atlas_labels" not in kind.pipeline.inputs:
        return {}
    labels, names = read_atlas(Path(options.atlas))
    return {"atlas_labels": labels, "region_names": names}


def template_keys(kind: Kind) -> dict[str, str]:
    """What is read of PAM50, if it is fetched, by its checksum."""
    if "pam50" not in resources.installed():
        return {}
    return dict.fromkeys((name for name in pam50.NAMES if name in kind.pipeline.inputs), resources.checksum("pam50"))


def template_note(kind: Kind) -> list[str]:
    """What to do where the template is missing."""
    if not set(pam50.NAMES) & set(kind.pipeline.inputs) or "pam50" in resources.installed():
        return []
    return ["PAM50 is not installed, so nothing is registered to it and nothing is measured by tract: `neuraxis fetch pam50` brings it."]


def template(plan: Plan, todo: Iterable[int], work: Path) -> dict[str, Any]:
    """What the steps to run take of PAM50; what is slow to unpack is kept in the work folder."""
    wanted = [name for name in pam50.NAMES if any(name in plan.steps[number].takes for number in todo)]
    if not wanted:
        return {}
    try:
        folder = resources.find("pam50")
    except ValueError as error:
        raise ResourceError(f"{error}.") from error
    cache = work / "cache" / f"pam50_{resources.checksum('pam50')[:16]}.npz"
    return {name: pam50.read(folder, name, cache) for name in wanted}


def folders(options: Options) -> list[Path]:
    """Where files of other hands are looked for; raises when one that is named is not there."""
    found = [Path(text.split("=", 1)[-1]) for text in options.derivatives]
    for folder in found:
        if not folder.is_dir():
            raise MissingInput(f"There is no folder {folder}, which --derivatives names.")
    return [*found, options.bids_dir / "derivatives" / "labels"]


def files_of(unit: Unit, store: UnitStore, places: Sequence[Path]) -> dict[str, Path]:
    """What is there of a unit from other hands."""
    pipeline = kind_of(unit).pipeline
    known = pipeline.makes
    if not unit.orientations:  # the inputs of several are theirs, and given where they are made
        known = (*pipeline.inputs, *known)
    found = store.find_given(places, known)
    return {other: path for name, path in found.items() for other in ARTIFACTS[name].serves if other in known} | found


def names_beside(given: Mapping[str, Path]) -> dict[str, Any]:
    """The names of given regions, from the table beside their file, where it has the columns that BIDS asks for."""
    for name, path in given.items():
        if ARTIFACTS[name].names == "regions":
            table = tables.names_for(path)
            return {} if table is None else {"region_names": table}
    return {}


def read(files: Mapping[str, Path], unit: Unit, store: UnitStore, here: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What was given instead of being made, and notes on it; DataError or GridMismatch names the file that does not fit.

    A file of the image's shape that lies off by a small part of a voxel was drawn on it and lost digits of its header:
    it is taken as it is, with a note.
    """
    kind = kind_of(unit)
    found: dict[str, Any] = {}
    notes: list[str] = []
    image = next((here[name] for name in kind.images(unit) if name in here), None)
    for name, file in files.items():
        volume = read_image(file, ARTIFACTS[name], store.field_strength)
        if kind.mixed and image is not None:
            try:
                laid = volume.onto(image.grid, slack=_ROUNDED * min(image.grid.voxel_size))
            except ValueError as error:
                raise GridMismatch(
                    f"{file} ({_size(volume)}) does not lie where the image does ({_size(image)}).",
                    "Draw it on the image, or resample it to the image's grid.",
                ) from error
            off = laid.oriented("RAS").grid.apart(volume.oriented("RAS").grid)
            if off > ROUNDING_MM:
                notes.append(f"{file} lies {off:.2g} mm off the image: its header is rounded; taken voxel by voxel.")
            volume = Volume(np.ascontiguousarray(laid.data), laid.grid)
            if name in _NEVER_EMPTY and not (volume.data > 0).any():
                what = _NEVER_EMPTY[name]
                raise DataError(f"{file} is empty: it marks no {what}.", f"Remove it to have the {what} found, or draw it.")
        found[name] = volume
    return found, notes


def _size(volume: Volume) -> str:
    return " x ".join(map(str, volume.grid.shape))
