"""The atlas of the package: template brain, and which structure a place of it belongs to, with its probability."""

from __future__ import annotations

import functools
import importlib.resources
import math
from collections.abc import Iterator, Sequence

import lazy_loader as lazy
import numpy as np

from neuraxis.brain.regions import FLUIDS, LEFT_OF, STRUCTURES
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_SHARE = 200.0
"""What stands in the file for a probability of 1."""

_DENTATE = {29: 213, 30: 214}
"""Left and right dentate nucleus: number in the atlas of the cerebellum -> ours."""

_BLUR = 0.7
"""Of the labels of that atlas, which has no probabilities; mm, standard deviation."""


@functools.cache
def template() -> Volume:
    """T1w brain of MNI152NLin2009cAsym; arbitrary, (X, Y, Z), zero outside."""
    data, matrix = _read("brain_t1w")
    return Volume(data.astype(np.float32), Grid.of(data.shape, matrix))


@functools.cache
def _slots() -> tuple[Array, Array, Grid]:
    """The three likeliest labels of every voxel and their shares, the dentate nuclei among them.

    These come from the atlas of the cerebellum as its authors give it, in MNI152NLin6Asym, which lies within two millimetres of the
    template there; what else the voxel is has the rest.
    """
    data, matrix = _read("brain_atlas")
    names, shares, grid = data[..., :3].copy(), data[..., 3:].copy(), Grid.of(data.shape[:3], matrix)
    theirs, place = _read("cerebellum")
    dentate = np.where(np.isin(theirs, list(_DENTATE)), theirs, 0)
    for number, part in shares_of(Volume(dentate, Grid.of(dentate.shape, place)), blurred=_BLUR):
        part = part.oriented("RAS")
        box = tuple(slice(at, at + n) for at, n in zip(part.grid.within(grid).tolist(), part.grid.shape, strict=True))
        here = part.data[..., None]
        four = np.concatenate([shares[box] * (1 - here), np.float32(_SHARE) * here], axis=-1)
        called = np.concatenate([names[box], np.full(here.shape, _DENTATE[number], np.uint8)], axis=-1)
        first = np.argsort(-four, axis=-1, kind="stable")[..., :3]
        shares[box] = np.rint(np.take_along_axis(four, first, -1))
        names[box] = np.where(shares[box] > 0, np.take_along_axis(called, first, -1), 0)
    return names, shares, grid


def shares_of(regions: Volume, probability: Volume | None = None, *, blurred: float = 0.0) -> Iterator[tuple[int, Volume]]:
    """Every label with the share of each voxel of its box that it fills, times its probability, blurred by a Gaussian (mm)."""
    data = np.asarray(regions.data).astype(np.int64)
    wide = [blurred / size for size in regions.grid.voxel_size]
    margin = [math.ceil(3 * one) for one in wide]
    for number, box in enumerate(scipy.ndimage.find_objects(data), 1):
        if box is None:
            continue
        around = tuple(slice(max(one.start - more, 0), one.stop + more) for one, more in zip(box, margin, strict=True))
        share = (data[around] == number).astype(np.float32)
        if probability is not None:
            share *= np.asarray(probability.data, np.float32)[around]
        if blurred:
            share = scipy.ndimage.gaussian_filter(share, wide)
        matrix = regions.grid.matrix.copy()
        matrix[:3, 3] += matrix[:3, :3] @ [one.start for one in around]
        yield number, Volume(share, Grid.of(share.shape, matrix))


def _read(name: str) -> tuple[Array, Array]:
    from nibabel import Nifti1Image

    file = importlib.resources.files("neuraxis") / "data" / f"{name}.nii.gz"
    with importlib.resources.as_file(file) as path:
        image = Nifti1Image.from_filename(path)
        return np.asarray(image.dataobj), image.affine


@functools.cache
def _boxes() -> dict[int, tuple[slice, ...]]:
    """Label -> the box within which its probability is not zero."""
    names, _, _ = _slots()
    found: dict[int, tuple[slice, ...]] = {}
    for slot in np.moveaxis(names, -1, 0):
        for number, box in enumerate(scipy.ndimage.find_objects(slot), 1):
            if box is not None:
                former = found.get(number, box)
                found[number] = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(former, box, strict=True))
    return dict(sorted(found.items()))


def numbers() -> tuple[int, ...]:
    """The labels that the atlas has, rising."""
    return tuple(_boxes())


def probability(number: int) -> Volume:
    """Probability of a label within the box where it is not zero; 0 to 1, (X, Y, Z)."""
    names, shares, grid = _slots()
    box = _boxes()[number]
    found = np.where(names[box] == number, shares[box], 0).sum(axis=-1, dtype=np.float32) / np.float32(_SHARE)
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [one.start for one in box]
    return Volume(found, Grid.of(found.shape, matrix))


_VENTRICLE = 4
"""The lateral ventricles."""

_LIKE_FLUID = 4.0
"""Standard deviations (from the median absolute deviation) from the brightness of the ventricles within which a voxel looks like fluid."""

_REMAIN = 0.1
"""Share of a structure that must not look like fluid for the rest to be taken for fluid that lies there by error."""


def in_the_contrast_of(images: Sequence[Array], sure: float = 0.7) -> list[Array]:
    """The template as images would show it that have this brightness where the atlas is laid on them; (X, Y, Z) each.

    Left and right are one structure. Voxels of a structure that look like the fluid of the ventricles in every image do not count: the
    head is only roughly registered, and larger ventricles lie where the caudate is expected.

    Parameters
    ----------
    images
        Images on the template's grid, roughly registered; (X, Y, Z), zero where they are not known.
    sure
        Probability above which a voxel tells of its structure; 0 to 1.
    """
    names, shares, _ = _slots()
    chance = shares.astype(np.float32) / np.float32(_SHARE)
    left = np.array([LEFT_OF.get(number, number) for number in range(256)], np.uint8)
    names = left[names]
    likely = names[..., 0]
    known = images[0] != 0
    where = {}
    for number in sorted({int(left[number]) for number in numbers()}):
        here = known & (likely == number)
        surely = here & (chance[..., 0] > sure)
        where[number] = np.nonzero(surely if surely.sum() >= 8 else here)
    fluid = [_middle(image[where[_VENTRICLE]]) for image in images]
    bright = np.full((len(images), 256), np.nan, np.float32)
    for number, here in where.items():
        values = np.stack([image[here] for image in images])
        if next(one for one in STRUCTURES if one.left == number).name not in FLUIDS and values.size:
            wet = np.all([np.abs(row - middle) <= _LIKE_FLUID * spread for row, (middle, spread) in zip(values, fluid, strict=True)], axis=0)
            if (~wet).mean() >= _REMAIN:
                values = values[:, ~wet]
        if values.size:
            bright[:, number] = np.median(values, axis=1)
    rest = chance.sum(axis=-1)
    found = []
    for row in bright:
        values = np.where(np.isnan(row), np.nanmedian(row), row)[names]
        found.append(np.where(rest > 0.5, (values * chance).sum(axis=-1) / np.maximum(rest, 1e-6), 0).astype(np.float32))
    return found


def _middle(values: Array) -> tuple[float, float]:
    """Median, and standard deviation by the median absolute deviation; of nothing, one that nothing is like."""
    if not values.size:
        return 0.0, -1.0
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))
