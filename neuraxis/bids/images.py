"""The images of a unit, read and checked: phase in rad, magnitude, one grid; every refusal names the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import lazy_loader as lazy
import numpy as np

from neuraxis.bids.dataset import Unit
from neuraxis.bids.sidecar import acquisition, phase_to_radians
from neuraxis.errors import DataError, GridMismatch, MissingInput
from neuraxis.volume import Array, Grid, Volume

nibabel = lazy.load("nibabel")


@dataclass(frozen=True)
class Loaded:
    """A unit in memory; (X, Y, Z, E), each echo contiguous."""

    phase: Volume | None
    magnitude: Volume | None
    notes: tuple[str, ...]


def content_hash(paths: Iterable[Path]) -> str:
    """sha256 over the contents of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        _be_there(path, path.name)
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _be_there(path: Path, shown: str) -> None:
    if path.is_symlink() and not path.exists():
        raise MissingInput(f"{shown} is a link to a file that is not here.", "Fetch its content (datalad get).")
    if not path.is_file():
        raise MissingInput(f"{shown} is not there.")


def _open(path: Path, shown: str):  # type: ignore[no-untyped-def]
    _be_there(path, shown)
    try:
        return nibabel.load(path)
    except Exception as error:  # nibabel, zlib and the file system each have their own
        raise DataError(f"{shown} is not a readable NIfTI file: {error}.", "Copy or convert it again.") from error


def _grid(path: Path, unit: Unit) -> Grid:
    shown = str(path.relative_to(unit.bids_dir))
    image = _open(path, shown)
    if len(image.shape) != 3:
        raise DataError(f"{shown} has {len(image.shape)} dimensions; one 3-D image per echo is needed.", "Split it into echoes.")
    if min(image.shape) < 2:
        raise DataError(f"{shown} has the shape {image.shape}: QSM needs a volume.")
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        raise DataError(f"{shown} has no orientation (sform and qform are unset).", "The direction of B0 is never guessed: convert it again.")
    try:
        return Grid.of(image.shape, image.affine)
    except ValueError as error:
        raise DataError(f"{shown}: {error}.", "Convert it again.") from error


def grid_of(unit: Unit) -> Grid:
    """The one grid of all images of a unit; GridMismatch names the first that differs."""
    first, *others = unit.paths()
    grid = _grid(first, unit)
    for path in others:
        other = _grid(path, unit)
        if not other.same_as(grid):
            what = f"shape {other.shape} and not {grid.shape}" if other.shape != grid.shape else "another position or orientation"
            raise GridMismatch(f"{path.relative_to(unit.bids_dir)} has {what} as {first.name}.", "All echoes and parts must share one grid.")
    return grid


def shape_of(unit: Unit) -> tuple[int, int, int, int]:
    """(X, Y, Z, E) of a unit, from the headers."""
    return (*grid_of(unit).shape, max(len(paths) for _, paths in unit.files))


def _stack(unit: Unit, part: str) -> Array:
    paths = unit.part(part)
    stack = np.empty((len(paths), *_grid(paths[0], unit).shape), np.float32)
    for number, path in enumerate(paths):
        shown = str(path.relative_to(unit.bids_dir))
        try:
            stack[number] = np.asarray(_open(path, shown).dataobj, dtype=np.float32)
        except (DataError, MissingInput):
            raise
        except Exception as error:
            raise DataError(f"{shown} cannot be read to its end: {error}.", "Is it truncated? Copy it again.") from error
        bad = int(np.count_nonzero(~np.isfinite(stack[number])))
        if bad:
            raise DataError(f"{shown} has {bad} voxel(s) that are NaN or infinite.", "Mend it: they are never replaced silently.")
    return np.moveaxis(stack, 0, -1)


def load_gre(unit: Unit) -> Loaded:
    """Phase (rad) and magnitude of a unit, from phase and magnitude or from real and imaginary part."""
    grid, said = grid_of(unit), acquisition(unit)
    notes: list[str] = []
    phase = magnitude = None
    if unit.part("phase"):
        shown = str(unit.part("phase")[0].relative_to(unit.bids_dir))
        phase, note = phase_to_radians(_stack(unit, "phase"), said.units, shown)
        notes.append(note)
    if unit.part("mag"):
        magnitude = _stack(unit, "mag")
        if magnitude.min() < 0:
            raise DataError(f"{unit.part('mag')[0].relative_to(unit.bids_dir)} or a later echo is negative: no magnitude.", "Is it phase?")
        if not magnitude.any():
            raise DataError(f"{unit.part('mag')[0].relative_to(unit.bids_dir)} and its echoes are zero everywhere.")
    if phase is None and unit.part("real"):
        real, imag = _stack(unit, "real"), _stack(unit, "imag")
        phase = np.arctan2(imag, real)
        magnitude = magnitude if magnitude is not None else np.hypot(real, imag)
        notes.append("Phase and magnitude were made from real and imaginary part.")
    return Loaded(None if phase is None else Volume(phase, grid), None if magnitude is None else Volume(magnitude, grid), tuple(notes))
