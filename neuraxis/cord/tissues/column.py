"""The column of an upright image that follows the cord's path: slices shifted by whole voxels, and put back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume


@dataclass(frozen=True)
class Column:
    """Windows of one size, one per slice of the path: the lower corners of the windows, and their size in voxels."""

    slices: Array
    corners: Array
    size: tuple[int, int]

    def cut(self, upright: Volume) -> Volume:
        """The windows stacked, float32, the path in the middle; black beyond the edge of the image.

        The grid is that of the first window: it has the voxel size and the axes, and says nothing of the shifts.
        """
        stack = np.full((*self.size, len(self.slices)), np.nan, np.float32)
        for number, (inner, outer, z) in enumerate(self._windows(upright.grid.shape)):
            stack[(*inner, number)] = upright.data[(*outer, z)]
        inside = ~np.isnan(stack)
        if not inside.any():
            raise ValueError("the cord's path lies outside the image")
        stack[~inside] = min(float(stack[inside].min()), 0.0)
        matrix = upright.grid.matrix.copy()
        matrix[:3, 3] = (matrix @ [*self.corners[0], self.slices[0], 1])[:3]
        return Volume(stack, Grid.of(stack.shape, matrix))

    def put_back(self, stack: Array, grid: Grid) -> Array:
        """Windows (x, y, slices, ...) at their places on the upright `grid`, zero elsewhere."""
        whole = np.zeros((*grid.shape, *stack.shape[3:]), stack.dtype)
        for number, (inner, outer, z) in enumerate(self._windows(grid.shape)):
            whole[(*outer, z)] = stack[(*inner, number)]
        return whole

    def _windows(self, shape: tuple[int, int, int]) -> list[tuple[tuple[slice, slice], tuple[slice, slice], int]]:
        found = []
        for (x, y), z in zip(self.corners.tolist(), self.slices.tolist(), strict=True):
            pairs = [
                (max(low, 0), max(min(low + n, whole), max(low, 0)), low)
                for low, n, whole in zip((x, y), self.size, shape, strict=False)
            ]
            outer = slice(*pairs[0][:2]), slice(*pairs[1][:2])
            inner = tuple(slice(start - low, stop - low) for start, stop, low in pairs)
            found.append(((inner[0], inner[1]), outer, z))
        return found


def column(cord_path: Table, grid: Grid, half_width: float) -> Column:
    """Windows of at most `half_width` mm to every side of the path, on the upright `grid`.

    At most, so that a window is no larger than the patch that a model was trained on. ValueError for a path that is none.
    """
    path = checked_path(cord_path, grid)
    width, depth = (2 * max(math.floor(half_width / h + 1e-6), 1) for h in grid.voxel_size[:2])
    corners = np.rint(np.stack([path["x"], path["y"]], axis=1)).astype(int) - [width // 2, depth // 2]
    return Column(path["slice"].astype(int), corners, (width, depth))


def checked_path(cord_path: Table, grid: Grid) -> Table:
    """The path, if it is one: slices of the upright `grid`, each once, in order, with finite places."""
    absent = [name for name in ("slice", "x", "y") if name not in cord_path]
    if absent:
        raise ValueError(f"the cord's path has no column {', '.join(absent)}")
    if not len(cord_path):
        raise ValueError("the cord's path is empty: no slice shows the cord")
    slices = cord_path["slice"]
    if slices.min() < 0 or slices.max() >= grid.shape[2] or len(np.unique(slices)) != len(slices):
        raise ValueError(
            f"the cord's path goes from slice {slices.min():g} to {slices.max():g}, the image has {grid.shape[2]} slices"
        )
    if not (np.isfinite(cord_path["x"]).all() and np.isfinite(cord_path["y"]).all()):
        raise ValueError("the cord's path holds a place that is not finite")
    return cord_path.where(np.argsort(slices, kind="stable"))


def box_around(cord_path: Table, grid: Grid, margin: float, whole_length: bool = False) -> tuple[slice, slice, slice]:
    """Voxels of the upright `grid` within `margin` mm of the path, in plane and along it (or all slices)."""
    path = checked_path(cord_path, grid)
    bounds = []
    for name, n, h in zip(("x", "y", "slice"), grid.shape, grid.voxel_size, strict=True):
        reach = math.ceil(margin / h)
        low, high = math.floor(path[name].min()) - reach, math.ceil(path[name].max()) + reach + 1
        bounds.append(slice(min(max(low, 0), n - 1), max(min(high, n), 1)))
    x, y, z = bounds
    return x, y, slice(0, grid.shape[2]) if whole_length else z
