"""Reads the images of a unit: one grid, finite numbers, phase in radians; every fault is one sentence that names the file."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis.bids.dataset import Unit
from neuraxis.bids.phase import NotPhase, phase_to_radians
from neuraxis.bids.sidecar import acquisition, metadata
from neuraxis.errors import DataError, GridMismatch, MissingInput
from neuraxis.numerics.upright import upright_of
from neuraxis.volume import Array, Grid, Volume

nibabel = lazy.load("nibabel")

_CHUNK = 1 << 22
_HEADER_BYTES = 544
"""Enough for the header of NIfTI-1 (348) and NIfTI-2 (540)."""

_ANNEX_POINTER = b"/annex/objects/"


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a unit holds. `phase` is in rad, -pi..pi; arrays are (X, Y, Z, E) float32, the echo axis slowest in memory."""

    phase: Volume | None
    magnitude: Volume | None
    echo_times: Array
    field_strength: float | None
    notes: tuple[str, ...]
    sources: tuple[Path, ...]


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over the content of files, one after the other."""
    found = hashlib.sha256()
    for path in paths:
        one = hashlib.sha256()
        try:
            with open(_there(path), "rb") as file:
                while chunk := file.read(_CHUNK):
                    one.update(chunk)
        except OSError as error:
            raise _unreadable(path, error) from error
        found.update(one.digest())
    return found.hexdigest()


def shape_of(unit: Unit) -> tuple[int, int, int, int]:
    """X, Y, Z and E of what a unit is worked on as, from the header of its first image; E: or head positions that it joins."""
    parts = list(unit.parts().values())
    header = _header(parts[0][0], _unpacked(parts[0][0], _HEADER_BYTES))
    if unit.series:
        x, y, z, times = _series_shape(parts[0][0], header)
        return x, y, z, times
    shape = _shape(parts[0][0], header)
    if unit.upright and (target := upright_of(_grid(parts[0][0], header, shape))):
        shape = target.shape
    return *shape, len(unit.orientations) or len(parts[0])


def grid_of_file(path: Path, *, series: bool = False) -> Grid:
    """The grid of an image, or of the volumes of a series, from its header."""
    header = _header(path, _unpacked(path, _HEADER_BYTES))
    x, y, z = (_series_shape if series else _shape)(path, header)[:3]
    return _grid(path, header, (x, y, z))


def is_single(path: Path) -> bool:
    """Whether an image holds one volume, from its header."""
    return len(_dimensions(path, _header(path, _unpacked(path, _HEADER_BYTES)))) == 3


def slice_axis(path: Path) -> int | None:
    """The axis of the array across which the slices lie, where the header tells."""
    axis = _header(path, _unpacked(path, _HEADER_BYTES)).get_dim_info()[2]
    return None if axis is None else int(axis)


def load_gre(unit: Unit) -> Loaded:
    """Reads all images of a unit, checks them, and turns phase to radians."""
    parameters = acquisition(unit)
    parts = unit.parts()
    notes: list[str] = []
    grid: Grid | None = None
    stacks: dict[str, Array] = {}
    slopes: dict[str, set[tuple[float, float]]] = {}
    first = unit.paths()[0]
    for part, paths in parts.items():
        for number, path in enumerate(paths):
            data, here, slope = read_volume(path)
            if grid is None:
                grid = here
            check_grid(path, here, first, grid)
            if part not in stacks:
                stacks[part] = np.empty((len(paths), *data.shape), np.float32)
            stacks[part][number] = data
            slopes.setdefault(part, set()).add(slope)
            check_values(path, part, stacks[part][number])
    assert grid is not None
    phase = magnitude = None
    if "phase" in stacks:
        phase, note = _phase(unit, stacks.pop("phase"), slopes["phase"])
        notes.append(note)
    magnitude = stacks.pop("mag", None)
    if "real" in stacks and "imag" in stacks:
        if phase is None:
            phase = np.arctan2(stacks["imag"], stacks["real"])
            notes.append("Phase: made from real and imaginary images.")
        if magnitude is None:
            magnitude = np.hypot(stacks["real"], stacks["imag"])
            notes.append("Magnitude: made from real and imaginary images.")
    if unit.flip and phase is not None:
        np.negative(phase, out=phase)
        notes.append("Phase: turned round, as --phase-sign negative asks.")
    if unit.has_phase and magnitude is None:
        notes.append("There is no magnitude: what needs it is not made.")

    def volume(stack: Array | None) -> Volume | None:
        return None if stack is None else Volume(np.moveaxis(stack, 0, -1), grid)

    times = np.asarray(parameters.echo_times, dtype=float)
    return Loaded(volume(phase), volume(magnitude), times, parameters.field_strength, tuple(notes), unit.paths())


def read_volume(path: Path) -> tuple[Array, Grid, tuple[float, float]]:
    """The numbers of a 3-D NIfTI image after its slope, its grid, and its slope and intercept."""
    content = _unpacked(path)
    header = _header(path, content)
    shape = _shape(path, header)
    return _numbers(path, content, header, shape, _grid(path, header, shape))


def read_series(path: Path) -> tuple[Array, Grid]:
    """The numbers of a 4-D NIfTI image after its slope, (X, Y, Z, T), and the grid of its volumes."""
    content = _unpacked(path)
    header = _header(path, content)
    shape = _series_shape(path, header)
    data, grid, _ = _numbers(path, content, header, shape, _grid(path, header, shape[:3]))
    return data, grid


def _numbers(
    path: Path, content: bytes, header: Any, shape: tuple[int, ...], grid: Grid
) -> tuple[Array, Grid, tuple[float, float]]:
    slope, inter = header.get_slope_inter()
    try:
        kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        data = np.asarray(kind.from_bytes(content).dataobj).reshape(shape)
    except Exception as error:  # nibabel and numpy each have their own
        raise _damaged(path, error) from error
    return data, grid, (1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter))


def _there(path: Path) -> Path:
    """The path, once it is sure that its content is there."""
    if not path.exists():
        if path.is_symlink():
            raise MissingInput(f"{path} is a link to content that is not here.", f"Get it: datalad get {path}")
        raise MissingInput(
            f"{path} is not there.", "Was it moved while the app ran, or is the database of another state?"
        )
    if path.is_dir():
        raise DataError(f"{path} is a folder, not an image.")
    return path


def _unreadable(path: Path, error: OSError) -> MissingInput:
    return MissingInput(f"{path} cannot be read: {error.strerror or error}.", "Check its rights.")


def _damaged(path: Path, error: object) -> DataError:
    text = " ".join(str(error).split()).rstrip(".")
    return DataError(f"{path} is cut off or damaged: {text}.", "Copy or convert it again.")


def _unpacked(path: Path, most: int = -1) -> bytes:
    """The first `most` bytes of a file, or all of it, unpacked when it is gzipped whatever its name."""
    from isal import igzip, igzip_lib

    try:
        with open(_there(path), "rb") as file:
            start = file.read(len(_ANNEX_POINTER))
            if start == _ANNEX_POINTER:
                raise MissingInput(
                    f"{path} holds a pointer of git-annex, not the image.", f"Get it: datalad get {path}"
                )
            file.seek(0)
            if start[:2] != b"\x1f\x8b":
                return file.read(most)
            with igzip.open(file, "rb") as packed:
                return packed.read(most)
    except (EOFError, igzip_lib.IsalError, zlib.error, gzip.BadGzipFile) as error:  # type: ignore[misc]
        if most > 0:
            return b""
        raise _damaged(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _header(path: Path, content: bytes) -> Any:
    """The NIfTI header at the start of `content`."""
    if not content:
        raise _damaged(path, "it is empty or not whole")
    for kind, size in ((nibabel.Nifti1Header, 348), (nibabel.Nifti2Header, 540)):
        if len(content) >= size and size in (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")):
            try:
                return kind(content[:size], check=False)
            except Exception as error:
                raise _damaged(path, error) from error
    raise DataError(f"{path} is not a NIfTI image.", "Convert it to NIfTI.")


def _series_shape(path: Path, header: Any) -> tuple[int, int, int, int]:
    shape = _dimensions(path, header)
    if len(shape) != 4 or min(shape) < 1:
        said = " x ".join(map(str, shape)) or "nothing"
        what = "one volume" if len(shape) == 3 else f"{len(shape)} dimensions"
        raise DataError(f"{path} holds {what} ({said}), not volumes over time.", "A series needs two volumes or more.")
    return shape[0], shape[1], shape[2], shape[3]


def _dimensions(path: Path, header: Any) -> tuple[int, ...]:
    """The shape without last axes of one, of an image of real numbers."""
    try:
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype = header.get_data_dtype()
    except Exception as error:
        raise _damaged(path, error) from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if dtype.kind not in "iuf":
        raise DataError(
            f"{path} holds {'complex numbers' if dtype.kind == 'c' else 'colours'}, not real numbers.",
            "Split it into parts.",
        )
    return shape


def _shape(path: Path, header: Any) -> tuple[int, int, int]:
    shape = _dimensions(path, header)
    said = " x ".join(map(str, shape)) or "nothing"
    if len(shape) > 3:
        raise DataError(
            f"{path} is {len(shape)}-D ({said}).",
            "BIDS wants one 3-D file per echo, each with its echo entity: split it.",
        )
    if len(shape) < 3:
        raise DataError(f"{path} is {len(shape)}-D ({said}).", "A 3-D image is needed.")
    if min(shape) < 1:
        raise DataError(f"{path} is empty ({said}).")
    return shape[0], shape[1], shape[2]


def _grid(path: Path, header: Any, shape: tuple[int, int, int]) -> Grid:
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise DataError(
            f"{path} has no orientation (sform and qform codes are 0), so it is not known where the patient's axes lie.",
            "Convert it again from DICOM, or set the orientation of the header.",
        )
    try:
        return Grid.of(shape, header.get_best_affine())
    except Exception as error:
        raise DataError(
            f"{path} has an orientation that cannot be used: {str(error).rstrip('.')}.", "Mend its header."
        ) from error


def check_grid(path: Path, grid: Grid, first: Path, expected: Grid) -> None:
    """GridMismatch when the image in `path` does not lie where that in `first` does."""
    if grid.shape != expected.shape:
        one, two = (" x ".join(map(str, g.shape)) for g in (grid, expected))
        raise GridMismatch(
            f"{path} is {one} voxels and {first.name} {two}.", "All images of an acquisition need one grid."
        )
    if not grid.same_as(expected):
        raise GridMismatch(
            f"{path} lies at another place than {first.name}: their orientations differ.",
            "All images of an acquisition need one grid.",
        )


def check_values(path: Path, part: str, data: Array) -> None:
    """DataError when the numbers of an image cannot be those of its part: not finite, all the same, of a wrong sign."""
    # a sum is not finite when one of the terms is not: one pass without a temporary for the usual case
    with np.errstate(all="ignore"):
        sound = math.isfinite(float(data.sum(dtype=np.float64)))
    if not sound:
        bad = int((~np.isfinite(data)).sum())
        if bad:
            text = "1 value that is" if bad == 1 else f"{bad} values that are"
            raise DataError(f"{path} holds {text} not finite (NaN or Inf).", "Mend the file: they are never replaced.")
    low, high = float(data.min()), float(data.max())
    if part == "mag" and low < 0:
        raise DataError(
            f"{path} holds negative values (down to {low:.4g}), so it is not a magnitude.",
            "Is it phase, without part-phase in its name?",
        )
    if low == high:
        raise DataError(f"{path} holds one value only ({low:.6g}).", "Is it the right image?")
    if part in ("real", "imag") and low >= 0:
        raise DataError(
            f"{path} has no negative value, so it is not the {part} part of a complex image.",
            "Is an offset of the scanner left in it?",
        )


def _phase(unit: Unit, stack: Array, slopes: set[tuple[float, float]]) -> tuple[Array, str]:
    """Phase of all echoes in rad, and what was decided."""
    told = [metadata(path, unit.root) for path in unit.phase]
    units = [content.get("Units") for content in told]
    for path, one in zip(unit.phase, units, strict=True):
        if one is not None and not isinstance(one, str):
            raise DataError(f"{path} has Units {one!r}, which is not text.", "Correct its sidecar.")
        if (one or "") != (units[0] or ""):
            raise DataError(
                f"{path} has Units {one!r} and {unit.phase[0].name} {units[0]!r}.", "All echoes need the same."
            )
    stored = None
    if len(slopes) == 1 and slopes != {(1.0, 0.0)}:
        slope, inter = next(iter(slopes))
        stored = _before(stack, slope, inter)
    try:
        return phase_to_radians(stack, told[0], stored)
    except NotPhase as refused:
        raise DataError(f"{_culprit(unit.phase, stack)} {refused.args[0]}.", refused.args[1]) from refused


def _before(stack: Array, slope: float, inter: float) -> Array | None:
    """The stored integers, where the range says that they may be needed; else None, to spare the memory."""
    low, high = (float(stack.min()) - inter) / slope, (float(stack.max()) - inter) / slope
    whole = all(abs(v - round(v)) < 1e-2 for v in (low, high))
    return np.rint((stack - np.float32(inter)) / np.float32(slope)) if whole and abs(high - low) > 100 else None


def _culprit(paths: Sequence[Path], stack: Array) -> Path:
    """The echo with the widest range: the one to look at."""
    return paths[int(np.argmax([float(np.ptp(one)) for one in stack]))]
