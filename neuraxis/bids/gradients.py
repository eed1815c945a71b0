"""b-values and gradient directions of a diffusion series, from the tables beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuraxis.bids.dataset import Unit
from neuraxis.bids.sidecar import sidecars
from neuraxis.errors import DataError, MissingInput
from neuraxis.volume import Array, Grid

_ZERO = 1e-3
"""A direction shorter than this is none."""

_LARGEST_B = 50_000.0
"""s/mm2; beyond any scanner: larger numbers are in another unit."""

_UNIT = 0.05
"""The length of a direction may be off by this, of rounding; it changes b by a tenth."""

_WEIGHTED_B = 100.0
"""s/mm2; what is written as the direction of a volume below it does not matter."""


def tables_of(image: Path, root: Path) -> tuple[Path, ...]:
    """The .bval and .bvec that apply to an image by the inheritance principle, the nearest; MissingInput without them."""
    found = []
    for extension in (".bval", ".bvec"):
        near = sidecars(image, root, extension)
        if not near:
            raise MissingInput(f"{image} has no {extension} beside it or above it.", "A diffusion series needs both tables.")
        found.append(near[-1])
    return tuple(found)


def gradients(unit: Unit, grid: Grid, volumes: int) -> tuple[Array, Array]:
    """b-values (T,) in s/mm2, and unit vectors of the gradients (3, T) in the world, RAS+; zero without weighting.

    The file holds directions along the axes of the image, the first one turned round where the determinant of the affine is
    positive (the convention of FSL that BIDS took over).
    """
    values_file, vectors_file = unit.tables
    values, vectors = _numbers(values_file), _numbers(vectors_file)
    if vectors.shape[0] != 3:
        raise DataError(f"{vectors_file} has {vectors.shape[0]} rows of numbers, not three.", "BIDS wants x, y and z.")
    b_values = values.ravel()
    if not len(b_values) == vectors.shape[1] == volumes:
        raise DataError(
            f"{unit.magnitude[0]} has {volumes} volumes, {values_file.name} {len(b_values)} b-values and {vectors_file.name} "
            f"{vectors.shape[1]} directions.",
            "Every volume needs one of each: mend the tables.",
        )
    if b_values.min() < 0 or b_values.max() > _LARGEST_B:
        raise DataError(f"{values_file} has b-values from {b_values.min():g} to {b_values.max():g}.", "BIDS wants s/mm2.")
    length = np.linalg.norm(vectors, axis=0)
    odd = np.flatnonzero((b_values >= _WEIGHTED_B) & (length > _ZERO) & (np.abs(length - 1) > _UNIT))
    if len(odd):
        raise DataError(
            f"{vectors_file}: the direction of volume {odd[0]} (b = {b_values[odd[0]]:g} s/mm2) has the length {length[odd[0]]:.3g}, not 1"
            + (f", and so have {len(odd) - 1} more." if len(odd) > 1 else "."),
            "BIDS wants unit vectors; where the length tells of the strength (b is multiplied with its square), put it into the b-values.",
        )
    return b_values, in_world(vectors, grid)


def as_rows(path: Path) -> str:
    """The text of a table as BIDS wants it: b-values in one row, directions in three."""
    return "".join(" ".join(f"{value:.8g}" for value in row) + "\n" for row in _numbers(path))


def in_world(vectors: Array, grid: Grid) -> Array:
    """Directions (3, T) in the convention of FSL -> unit vectors in the world, RAS+; those without length stay zero."""
    turned = np.array(vectors, float)
    if np.linalg.det(grid.matrix[:3, :3]) > 0:
        turned[0] *= -1
    world = (grid.matrix[:3, :3] / np.array(grid.voxel_size)) @ turned
    length = np.linalg.norm(world, axis=0)
    return np.where(length > _ZERO, world / np.maximum(length, _ZERO), 0.0)


def _numbers(path: Path) -> Array:
    """The rows of numbers of a text file."""
    try:
        rows = [[float(word) for word in line.replace(",", " ").split()] for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        found = np.array(rows, float)
    except OSError as error:
        raise MissingInput(f"{path} cannot be read: {error.strerror or error}.", "Get it, or check its rights.") from error
    except ValueError as error:
        raise DataError(f"{path} is no table of numbers: {error}.", "Mend it.") from error
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise DataError(f"{path} is no table of finite numbers.", "Mend it.")
    wanted = 3 if path.suffix == ".bvec" else 1  # some converters write one volume per row
    return found.T if found.shape[0] != wanted and found.shape[1] == wanted else found
