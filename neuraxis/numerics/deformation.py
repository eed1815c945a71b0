"""Deformable registration of two heads, and the map of places that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics import greedy
from neuraxis.numerics.registration import resampled
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_INVERSION_STEPS = 30
_INVERSION_MM = 1e-3
"""The fixed point that inverts a displacement ends when no place moves by more, or after so many steps."""


@dataclass(frozen=True, eq=False)
class Deformation:
    """Takes a place in the fixed image to the same place of the head in the moving image: x -> affine (x + u(x)); RAS+ mm.

    `displacement`: u on a grid in the fixed image's world, (X, Y, Z, 3); beyond the grid its border goes on.
    """

    affine: Array
    displacement: Volume

    def there(self, places: Array) -> Array:
        """Places of the moving image; (..., 3) to (..., 3)."""
        return moved(self.affine, places + displacement_at(self.displacement, places))

    def back(self, places: Array) -> Array:
        """Places of the fixed image: the inverse of `there`."""
        target = moved(np.linalg.inv(self.affine), places)
        found = target
        for _ in range(_INVERSION_STEPS):
            former, found = found, target - displacement_at(self.displacement, found)
            if np.abs(found - former).max() < _INVERSION_MM:
                break
        return found

    def warp(self, grid: Grid, inverse: bool = False) -> Volume:
        """The displacement from every voxel of `grid` to its place in the other image; mm, (X, Y, Z, 3)."""
        here = places_of(grid)
        return Volume(((self.back if inverse else self.there)(here) - here).astype(np.float32), grid)


def places_of(grid: Grid) -> Array:
    """Centre of every voxel; RAS+ mm, (X, Y, Z, 3)."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in grid.shape[:3]], indexing="ij"), -1)
    return moved(grid.matrix, index)


def sampled(volume: Volume, places: Array, *, order: int = 1) -> Array:
    """A volume (X, Y, Z) at places in its world; 0 outside."""
    index = np.moveaxis(moved(np.linalg.inv(volume.grid.matrix), places), -1, 0)
    return scipy.ndimage.map_coordinates(np.asarray(volume.data, np.float32), index, order=order, mode="grid-constant", output=np.float32)


def displacement_at(warp: Volume, places: Array) -> Array:
    """A displacement field (X, Y, Z, 3) at places in its world; mm, (..., 3); beyond the grid its border goes on."""
    index = np.moveaxis(moved(np.linalg.inv(warp.grid.matrix), places), -1, 0)
    parts = [scipy.ndimage.map_coordinates(warp.data[..., axis], index, order=1, mode="nearest") for axis in range(3)]
    return np.stack(parts, axis=-1)


def moved(matrix: Array, places: Array) -> Array:
    """Places (..., 3) after a 4 x 4 matrix."""
    return places @ matrix[:3, :3].T + matrix[:3, 3]


def affine(
    fixed: Sequence[Volume],
    moving: Sequence[Volume],
    start: Array,
    *,
    freedom: int = 12,
    metric: str = "NCC 4x4x4",
    iterations: tuple[int, ...] = (100, 50, 0),
    threads: int = 1,
) -> Array:
    """The affine map (`freedom` 12), similarity (7) or rigid motion (6) from fixed to moving that makes them most alike.

    Parameters
    ----------
    fixed, moving
        Channels of either head; (X, Y, Z), those of one head on one grid.
    start
        4 x 4, fixed world -> moving world; RAS+ mm. For the affine map a rigid motion.
    metric
        As greedy names it: NCC with its radius in voxels, NMI, SSD.
    iterations
        At each level, from coarse to fine; the last level is that of the grid, each one before it twice as coarse.

    Returns
    -------
    4 x 4; the same bits every time with one thread.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    back = np.linalg.inv(start)
    laid = [Volume(one.data, Grid.of(one.grid.shape, back @ one.grid.matrix)) for one in moving]
    words, given = _channels(fixed, laid)
    steps = "x".join(map(str, iterations))
    command = f"{words} -a -dof {freedom} -ia-identity -seed 1 -n {steps} -m {metric} -o found -V 0"
    return start @ greedy.run(command, given, "found", threads).astype(float)


def deformable(
    fixed: Sequence[Volume],
    moving: Sequence[Volume],
    start: Array,
    *,
    metric: str = "NCC 2x2x2",
    iterations: tuple[int, ...] = (100, 60, 20),
    smoothing: tuple[float, float] = (1.5, 0.5),
    mask: Volume | None = None,
    threads: int = 1,
) -> Deformation:
    """The smooth map from fixed to moving that makes them most alike, from an affine `start`.

    Parameters
    ----------
    fixed, moving, start, metric, iterations
        As for `affine`.
    mask
        Where in the fixed image it is looked; on its grid.
    smoothing
        Standard deviations of the Gaussians that smooth the update and the whole displacement at each step; voxels.

    Returns
    -------
    The map; its displacement on the grid of `fixed`.

    References
    ----------
    Yushkevich 2016, doi:10.1016/j.jalz.2016.06.205
    """
    grid = fixed[0].grid
    laid = [Volume(resampled(one, grid, start), grid) for one in moving]
    words, given = _channels(fixed, laid)
    if mask is not None:
        words, given = f"{words} -gm within", given | {"within": mask}
    steps = "x".join(map(str, iterations))
    command = f"{words} -seed 1 -n {steps} -m {metric} -s {smoothing[0]}vox {smoothing[1]}vox -o found -V 0"
    return Deformation(start, Volume(greedy.run(command, given, "found", threads).astype(np.float32), grid))


def _channels(fixed: Sequence[Volume], moving: Sequence[Volume]) -> tuple[str, dict[str, Volume]]:
    """Greedy's words for pairs of images, and these under their names."""
    words: list[str] = []
    given: dict[str, Volume] = {}
    for number, (one, other) in enumerate(zip(fixed, moving, strict=True)):
        words.append(f"-w 1 -i fixed{number} moving{number}")
        given |= {f"fixed{number}": one, f"moving{number}": other}
    return " ".join(words), given
