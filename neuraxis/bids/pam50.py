"""The PAM50 template as it is fetched: its files as volumes, cut to what lies around the cord."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
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
def read(folder: Path, name: str) -> Volume:
    """One of `NAMES`, with all slices of the template: shares in float32, tracts in float16 (X, Y, Z, 37), labels in int16.

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
    files = [_file(folder, "atlas", f"PAM50_atlas_{number:02d}.nii.gz") for number in range(_TRACTS)]
    with ThreadPoolExecutor(2) as pool:  # unpacking lets other threads work
        first, *rest = (pool.submit(_one, file, np.float16) for file in files)
        whole = np.zeros((*first.result().data.shape, _TRACTS), np.float16)
        for number, one in enumerate([first, *rest]):
            if one.result().grid != first.result().grid:
                raise DataError(f"{files[number]} lies on another grid than {files[0]}.", "Fetch pam50 anew.")
            whole[..., number] = one.result().data
    return Volume(whole, first.result().grid)


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
