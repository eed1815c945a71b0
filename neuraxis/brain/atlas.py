"""The atlas of the package: template brain, and which structure a place of it belongs to, with its probability."""

from __future__ import annotations

import functools
import importlib.resources

import numpy as np

from neuraxis.volume import Array, Grid, Volume

_SHARE = 200.0
"""What stands in the file for a probability of 1."""


@functools.cache
def template() -> Volume:
    """T1w brain of MNI152NLin2009cAsym; arbitrary, (X, Y, Z), zero outside."""
    data, matrix = _read("brain_t1w")
    return Volume(data.astype(np.float32), Grid.of(data.shape, matrix))


@functools.cache
def _slots() -> tuple[Array, Array, Grid]:
    data, matrix = _read("brain_atlas")
    return data[..., :3], data[..., 3:], Grid.of(data.shape[:3], matrix)


def _read(name: str) -> tuple[Array, Array]:
    from nibabel import Nifti1Image

    file = importlib.resources.files("neuraxis") / "data" / f"{name}.nii.gz"
    with importlib.resources.as_file(file) as path:
        image = Nifti1Image.from_filename(path)
        return np.asarray(image.dataobj), image.affine


def numbers() -> tuple[int, ...]:
    """The labels that the atlas has, rising."""
    return tuple(int(n) for n in np.unique(_slots()[0]) if n)


def probability(number: int) -> Volume:
    """Probability of a label within the box where it is not zero; 0 to 1, (X, Y, Z)."""
    names, shares, grid = _slots()
    where = (names == number).any(axis=-1)
    box = tuple(slice(int(a.min()), int(a.max()) + 1) for a in np.nonzero(where))
    found = np.where(names[box] == number, shares[box], 0).sum(axis=-1, dtype=np.float32) / np.float32(_SHARE)
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [one.start for one in box]
    return Volume(found, Grid.of(found.shape, matrix))


def in_the_contrast_of(image: Array, sure: float = 0.7) -> Array:
    """The template as an image would show it that has this brightness where the atlas is laid on it; (X, Y, Z).

    Parameters
    ----------
    image
        An image on the template's grid, roughly registered; (X, Y, Z), zero where it is not known.
    sure
        Probability above which a voxel tells of its structure; 0 to 1.
    """
    names, shares, _ = _slots()
    chance = shares.astype(np.float32) / np.float32(_SHARE)
    bright = np.zeros(256, np.float32)
    known = image != 0
    for number in numbers():
        here = known & (names[..., 0] == number) & (chance[..., 0] > sure)
        if here.sum() < 8:
            here = known & (names[..., 0] == number)
        bright[number] = np.median(image[here]) if here.any() else np.nan
    rest = chance.sum(axis=-1)
    values = np.where(np.isnan(bright), np.nanmedian(bright), bright)[names]
    return np.where(rest > 0.5, (values * chance).sum(axis=-1) / np.maximum(rest, 1e-6), 0).astype(np.float32)
