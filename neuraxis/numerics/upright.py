"""A grid along the scanner's axes over the field of view of an oblique one, and complex images on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neuraxis.numerics.registration import resampled
from neuraxis.volume import Array, Grid, Volume

_OBLIQUE = 1.0
"""A grid that is tilted by no more than this is not oblique; degrees."""


def tilt(grid: Grid) -> float:
    """Angle between the main field and the voxel axis nearest to it; degrees, 0..55."""
    return math.degrees(math.acos(min(max(abs(part) for part in grid.b0_direction), 1.0)))


def upright_of(grid: Grid) -> Grid | None:
    """The RAS grid along the scanner's axes that stands for an oblique one, with its voxel sizes; None if it is not oblique."""
    if tilt(grid) <= _OBLIQUE:
        return None
    from nibabel.orientations import io_orientation

    nearest = list(io_orientation(grid.matrix)[:, 0].astype(int))
    return upright_grid(grid, [grid.voxel_size[nearest.index(axis)] for axis in range(3)], "RAS")


def upright_grid(grid: Grid, size: Sequence[float] | Array, codes: str) -> Grid:
    """The smallest grid along the scanner's axes that holds every voxel centre of `grid`.

    Parameters
    ----------
    size
        Edges of its voxels; mm.
    codes
        Where its axes point to, as nibabel's: "RAS", "LAS" and so on.
    """
    axes = np.zeros((3, 3))
    for axis, code in enumerate(codes):
        axes["LRPAIS".index(code) // 2, axis] = 1.0 if code in "RAS" else -1.0
    return covering(grid, size, axes)


def covering(grid: Grid, size: Sequence[float] | Array, axes: Array) -> Grid:
    """The smallest grid along `axes` (3 x 3, unit vectors in its columns) that holds every voxel centre of `grid`."""
    edges = np.asarray(size, float)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], [1], indexing="ij"), float).reshape(4, -1)
    places = np.linalg.solve(axes, (grid.matrix @ corners)[:3])  # mm along the new axes
    middle, extent = (places.max(axis=1) + places.min(axis=1)) / 2, np.ptp(places, axis=1)
    shape = np.ceil(extent / edges - 1e-6).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = axes * edges
    matrix[:3, 3] = axes @ (middle - (shape - 1) / 2 * edges)
    return Grid.of(shape, matrix)


def signal_on(magnitude: Volume | None, phase: Volume | None, target: Grid) -> tuple[Volume | None, Volume | None]:
    """Magnitude and phase of a signal on another grid, by cubic splines of its real and imaginary part.

    Phase cannot be interpolated as it is: it jumps by 2 pi. Phase alone is that of a signal of size one. Outside the field of
    view of the images everything is zero.

    Parameters
    ----------
    magnitude, phase
        Any unit, at least 0, and rad; (X, Y, Z, E) on one grid. One of them may be missing.
    target
        The new grid.

    Returns
    -------
    The same two, (X', Y', Z', E) float32, the echo axis slowest in memory; phase in -pi..pi.
    """
    given = phase if magnitude is None else magnitude
    if given is None:
        return None, None
    here, still = given.grid, np.eye(4)

    def moved(image: Array) -> Array:
        return resampled(Volume(image, here), target, still, order=3)

    sizes, angles = [], []
    for echo in range(given.data.shape[3]):
        size = np.ones(here.shape, np.float32) if magnitude is None else magnitude.data[..., echo]
        if phase is None:
            sizes.append(np.maximum(moved(size), 0))
            continue
        angle = np.asarray(phase.data[..., echo], np.float32)
        real, imaginary = moved(size * np.cos(angle)), moved(size * np.sin(angle))
        angles.append(np.arctan2(imaginary, real))
        if magnitude is not None:
            sizes.append(np.hypot(real, imaginary))

    def volume(echoes: list[Array]) -> Volume | None:
        return Volume(np.moveaxis(np.stack(echoes), 0, -1), target) if echoes else None

    return volume(sizes), volume(angles)
