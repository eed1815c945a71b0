"""Volumes as NIfTI files: maps, masks, labels and displacement fields, written and read back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis.artifacts import Artifact
from neuraxis.errors import DataError
from neuraxis.units import hz_per_ppm
from neuraxis.volume import Array, Grid, Volume

nibabel = lazy.load("nibabel")


def image_bytes(volume: Volume, *, compressed: bool = True) -> bytes:
    """`volume` as a NIfTI file; masks in uint8, labels in int16, all else in float32. The same volume gives the same bytes."""
    whole = {"b": np.uint8, "i": np.int16, "u": np.int16}
    return _packed(
        np.asarray(volume.data, whole.get(volume.data.dtype.kind, np.float32)), volume.grid, compressed=compressed
    )


_TO_LPS = np.array([-1, -1, 1], np.float32)


def warp_bytes(volume: Volume) -> bytes:
    """A displacement field (RAS+ mm, (X, Y, Z, 3)) as ITK and ANTs read it: NIfTI of five axes, vectors in LPS."""
    return _packed((np.asarray(volume.data, np.float32) * _TO_LPS)[:, :, :, None, :], volume.grid, intent="vector")


def _packed(data: Array, grid: Grid, *, intent: str = "none", compressed: bool = True) -> bytes:
    """The file of `data` on a grid; bytes depend on the image alone.

    Neither name nor time stands in the gzip header, and zlib packs it: of the same image, ISA-L makes now and then other
    bytes on some processors.
    """
    image = nibabel.Nifti1Image(data, grid.matrix)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_intent(intent)
    image.set_sform(grid.matrix, code=1)
    image.set_qform(grid.matrix, code=1, strip_shears=True)
    if not compressed:
        return bytes(image.to_bytes())
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def read_warp(path: Path) -> Volume:
    """A displacement field of our own writing; RAS+ mm, (X, Y, Z, 3)."""
    try:
        image = nibabel.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(*image.shape[:3], 3)
    except Exception as error:  # nibabel, zlib and the file system each have their own
        raise DataError(f"{path} cannot be read: {error}.", "Remove it: it will be written again.") from error
    return Volume(data * _TO_LPS, Grid.of(data.shape, image.affine))


def echo_by_echo(data: Any) -> Any:
    """The same numbers laid out as this app keeps them: C order, whole echoes one after the other.

    Sums over another layout round differently; a loaded array has to give the same bits as a made one.
    """
    return (
        np.moveaxis(np.ascontiguousarray(np.moveaxis(data, -1, 0)), 0, -1)
        if data.ndim == 4
        else np.ascontiguousarray(data)
    )


def voxels(path: Path) -> tuple[Array, Array]:
    """The values of a NIfTI file, float32, and its affine matrix; DataError where it cannot be read to its end."""
    try:
        image = nibabel.load(path)
        return echo_by_echo(np.asarray(image.dataobj, dtype=np.float32)), image.affine
    except Exception as error:  # nibabel, zlib and the file system each have their own
        raise DataError(f"{path} cannot be read: {error}.", "Is it a whole NIfTI file?") from error


def read_image(path: Path, artifact: Artifact, field_strength: float | None = None) -> Volume:
    """The artifact in a NIfTI file, in the artifact's own unit; the sidecar's `Units`, if any, decide."""
    data, affine = voxels(path)
    grid = Grid.of(data.shape, affine)
    if artifact.kind == "mask":
        return Volume(data > 0.5, grid)
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    declared = _declared(path.with_name(stem + ".json")) or (artifact.file.unit if artifact.file else "")
    if not np.isfinite(data).all():
        raise DataError(f"{path} holds values that are not finite.", "Mend the file: NaN and Inf are never replaced.")
    if artifact.kind == "labels":
        if not np.array_equal(data, np.rint(data)):
            raise DataError(
                f"{path} holds values that are not whole numbers.", "It should hold labels: was it resampled?"
            )
        return Volume(data.astype(np.int16), grid)
    if artifact.within and not (artifact.within[0] <= data.min() and data.max() <= artifact.within[1]):
        low, high = artifact.within
        raise DataError(
            f"{path} holds values from {data.min():.4g} to {data.max():.4g}, and {low:g} to {high:g} are wanted.",
            "A mask is 0 and 1, a soft mask anything between.",
        )
    return Volume(change_unit(data, declared, artifact.unit, field_strength, path), grid)


def change_unit(data: Any, have: str, want: str, field_strength: float | None, path: Any) -> Any:
    """`data` in another unit: Hz and ppm, by the field strength (T); DataError names `path` where that cannot be."""
    if want == "" or have in ("", want, "arbitrary"):
        return data
    if field_strength is None or {have, want} != {"Hz", "ppm"}:
        hint = (
            "Give the field strength."
            if {have, want} == {"Hz", "ppm"}
            else "Convert it, and say so in Units of its sidecar."
        )
        raise DataError(f"{path} is in {have}, and {want} is needed.", hint)
    factor = hz_per_ppm(field_strength)
    return (data * np.float32(factor) if want == "Hz" else data / np.float32(factor)).astype(np.float32)


def _declared(sidecar: Path) -> str:
    """`Units` of a sidecar; "" when it says nothing or cannot be read."""
    try:
        return str(json.loads(sidecar.read_text()).get("Units", ""))
    except (OSError, ValueError, AttributeError):
        return ""
