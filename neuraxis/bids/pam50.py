"""The PAM50 template as it is fetched: its files as volumes, cut to what lies around the cord."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neuraxis.bids.nifti import voxels
from neuraxis.errors import DataError, MissingInput
from neuraxis.volume import Array, Grid, Volume

_SHARES = {"cord": "cord", "white": "wm", "gray": "gm", "fluid": "csf"}
_LABELS = {
    "levels": "levels",
    "spinal_levels": "spinal_levels",
    "discs": "label_disc",
    "spinal_points": "spinal_midpoint",
    "rootlets": "rootlets",
}
_TRACTS = 37
"""Regions of the atlas: 30 of white matter, 6 of grey matter, and the fluid around the cord."""

NAMES = tuple(f"pam50_{name}" for name in (*_SHARES, *_LABELS, "tracts"))
"""The inputs that are read from it."""

_ASIDE = 36
"""Voxels of the template on every side, to the left and right and in front and behind, that lie over 17 mm from the cord."""


@functools.lru_cache(maxsize=16)
def read(folder: Path, name: str, cache: Path | None = None) -> Volume:
    """One of `NAMES`: shares in float32 and labels in int16 with all slices of the template, tracts in float16 (X, Y, Z, 37) where any lies.

    `cache` is a file that the tracts are kept in, since unpacking all of them takes long; it is written if it is not there.

    Raises
    ------
    MissingInput: a file is not there.
    DataError: a file cannot be read or lies on another grid than the rest.
    """
    what = name.removeprefix("pam50_")
    if what in _SHARES:
        return _one(_file(folder, "template", f"PAM50_{_SHARES[what]}.nii.gz"), np.float32)
    if what in _LABELS:
        return _one(_file(folder, "template", f"PAM50_{_LABELS[what]}.nii.gz"), np.int16)
    parts = _kept(cache) if cache and cache.is_file() else None
    if parts is None:
        parts = _unpacked(folder)
        if cache:
            _keep(cache, parts)
    return _dense(parts)


def _unpacked(folder: Path) -> dict[str, Array]:
    """Where every region has a share (`at`, places in a flat array of `shape`), how large it is, and how many each region has."""
    at, shares, counts = [], [], []
    grid: Grid | None = None
    for number in range(_TRACTS):
        path = _file(folder, "atlas", f"PAM50_atlas_{number:02d}.nii.gz")
        one = _one(path, np.float16)
        grid = grid or one.grid
        if one.grid != grid:
            raise DataError(f"{path} lies on another grid than the regions before it.", "Fetch pam50 anew.")
        at.append(np.flatnonzero(one.data).astype(np.int32))
        shares.append(one.data.ravel()[at[-1]])
        counts.append(len(at[-1]))
    assert grid is not None
    return {
        "at": np.concatenate(at),
        "shares": np.concatenate(shares),
        "counts": np.array(counts),
        "shape": np.array(grid.shape),
        "affine": grid.matrix,
    }


def _keep(cache: Path, parts: Mapping[str, Array]) -> None:
    """Writes the cache, or does without: other runs may write it, or clear the folder, at the same moment."""
    part = cache.with_name(f"{cache.name}.{secrets.token_hex(8)}.part")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.savez(file, **parts)  # type: ignore[arg-type]
        os.replace(part, cache)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()


def _kept(cache: Path) -> dict[str, Array] | None:
    """What stands in the cache; None if it is broken."""
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as held:
            return {name: held[name] for name in ("at", "shares", "counts", "shape", "affine")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _dense(parts: Mapping[str, Array]) -> Volume:
    """The regions on the smallest grid that holds them all."""
    voxels_ = np.stack(np.unravel_index(parts["at"], tuple(parts["shape"])))
    low, high = voxels_.min(axis=1), voxels_.max(axis=1) + 1
    whole = np.zeros((_TRACTS, *(high - low)), np.float16)
    whole[np.repeat(np.arange(_TRACTS), parts["counts"]), *(voxels_ - low[:, None])] = parts["shares"]
    matrix = np.array(parts["affine"], float)
    matrix[:3, 3] += matrix[:3, :3] @ low
    return Volume(np.moveaxis(whole, 0, -1), Grid.of(whole.shape[1:], matrix))


def _file(folder: Path, part: str, name: str) -> Path:
    """The file, whether or not the archive had a folder of its own."""
    for path in (folder / part / name, *sorted(folder.glob(f"*/{part}/{name}"))):
        if path.is_file():
            return path
    raise MissingInput(f"There is no {part}/{name} in {folder}.", "`neuraxis fetch pam50` brings it.")


def _one(path: Path, kind: type) -> Volume:
    data, affine = voxels(path)
    if data.ndim != 3:
        raise DataError(f"{path} has {data.ndim} axes, not three.", "Fetch pam50 anew.")
    cut = tuple(slice(min(_ASIDE, (n - 1) // 4), n - min(_ASIDE, (n - 1) // 4)) for n in data.shape[:2])
    kept: Array = np.ascontiguousarray(data[cut]).astype(kind)
    matrix = np.array(affine, float)
    matrix[:3, 3] += matrix[:3, :2] @ np.array([one.start for one in cut], float)
    return Volume(kept, Grid.of(kept.shape, matrix))
