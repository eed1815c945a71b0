"""An atlas of the user's: labels in the space of the template, with their names."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from neuraxis.artifacts.brain import SPACE
from neuraxis.bids import tables
from neuraxis.bids.nifti import voxels
from neuraxis.errors import DataError, MissingInput
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

_LARGEST = 32767
"""Number of a label."""


def read_atlas(path: Path) -> tuple[Volume, Table]:
    """Labels (int16, (X, Y, Z)) and their names (index, name), from an image and the table beside it.

    Raises
    ------
    MissingInput: there is no such file, or no table with the columns index and name beside it.
    DataError: it is not whole, holds no labels, or its name says that it lies in another space.
    """
    if not path.is_file():
        raise MissingInput(f"There is no file {path}, which --atlas names.", f"Name an image of labels in {SPACE}.")
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read(path: Path, stamp: int) -> tuple[Volume, Table]:
    words = dict(word.split("-", 1) for word in path.name.split("_") if "-" in word)
    space = words.get("space", words.get("tpl", SPACE))
    if space != SPACE:
        raise DataError(f"{path} lies in {space}, as its name says; the registration goes to {SPACE}.", f"Bring it to {SPACE} first.")
    data, affine = voxels(path)
    if data.ndim != 3 or not np.isfinite(data).all() or (data < 0).any() or (np.rint(data) != data).any():
        raise DataError(f"{path} is no image of labels: it must have three axes and hold whole numbers, 0 where there is none.")
    if not 0 < data.max() <= _LARGEST:
        raise DataError(f"{path}: its largest label is {data.max():g}; it must be 1 to {_LARGEST}.")
    labels = data.astype(np.int16)
    names = tables.names_for(path)
    if names is None:
        raise MissingInput(
            f"There is no table of names beside {path}.",
            f"Write {path.name.removesuffix('.gz').removesuffix('.nii')}.tsv with the columns index and name.",
        )
    return Volume(labels, Grid.of(labels.shape, affine)), names
