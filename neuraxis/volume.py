"""Grid and Volume: numbers with the place where they lie (voxel -> RAS+ mm)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

Array = np.ndarray
if TYPE_CHECKING:
    from torch import Tensor
else:  # torch is imported where it is used: the help text does not need it
    Tensor = Any

ROUNDING_MM = 1e-3
"""Two grids are one when no corner differs by more (mm): NIfTI stores the affine in float32."""


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels in space.

    Parameters
    ----------
    shape
        Number of voxels along each voxel axis.
    affine
        4 x 4, voxel index -> RAS+ position; mm. Any orientation, oblique and anisotropic too.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, shape: Any, affine: Any) -> Grid:
        """Grid of the first three axes of `shape` with a 4 x 4 `affine` (anything numpy can read)."""
        matrix = np.asarray(affine, dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise ValueError("the affine is not an invertible 4 x 4 matrix")
        x, y, z = (int(n) for n in tuple(shape)[:3])
        return cls((x, y, z), tuple(tuple(float(v) for v in row) for row in matrix))

    @cached_property
    def matrix(self) -> Array:
        """The affine as a 4 x 4 float64 array; mm."""
        return np.array(self.affine)

    @cached_property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the voxel axes; mm."""
        x, y, z = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @cached_property
    def b0_direction(self) -> tuple[float, float, float]:
        """Unit vector of the main field (world +z, along the bore) in voxel axes.

        The third row of the rotation part of the affine. The sign does not matter to the dipole kernel.
        """
        row = self.matrix[2, :3] / np.array(self.voxel_size)
        x, y, z = row / np.linalg.norm(row)
        return float(x), float(y), float(z)

    @property
    def voxel_volume(self) -> float:
        """mm³."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    def apart(self, other: Grid) -> float:
        """Largest difference of a corner of the field of view along a world axis; mm, infinite when the shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, n) for n in self.shape], [1], indexing="ij")).reshape(4, -1)
        return float(np.abs((self.matrix - other.matrix) @ corners).max())

    def within(self, whole: Grid) -> Array:
        """Voxel of `whole` at which its own first voxel lies, rounded; (3,). For grids with the same axes."""
        return np.rint(np.linalg.solve(whole.matrix[:3, :3], self.matrix[:3, 3] - whole.matrix[:3, 3])).astype(int)

    def same_as(self, other: Grid) -> bool:
        """Whether both have one shape and no corner of the field of view differs by more than 1 µm."""
        return self.apart(other) <= ROUNDING_MM


@dataclass(frozen=True, eq=False)
class Volume:
    """Numbers on a grid: the first three axes of `data` are space; an echo or time axis may follow."""

    data: Array
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape[:3]) != self.grid.shape:
            raise ValueError(f"data of shape {self.data.shape} do not lie on a grid of shape {self.grid.shape}")

    def oriented(self, codes: str = "LAS") -> Volume:
        """The same volume with its voxel axes permuted and flipped towards `codes` (nibabel's, where each axis points to).

        No resampling: an oblique grid stays oblique. "LAS" is the upright frame of the cord: x to the left, y to the
        front, z upwards; the last axis runs along the cord whatever the plane of acquisition was.
        """
        from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

        turn = ornt_transform(io_orientation(self.grid.matrix), axcodes2ornt(tuple(codes)))
        data = apply_orientation(self.data, turn)
        return Volume(data, Grid.of(data.shape, self.grid.matrix @ inv_ornt_aff(turn, self.grid.shape)))

    def onto(self, grid: Grid, slack: float = ROUNDING_MM) -> Volume:
        """The way back of `oriented`: axes permuted and flipped to those of `grid`.

        ValueError if it is another place: a corner is off by more than `slack` (mm). No resampling within it.
        """
        from nibabel.orientations import aff2axcodes

        back = self.oriented("".join(str(code) for code in aff2axcodes(grid.matrix)))
        if back.grid.apart(grid) > slack:
            raise ValueError("the two grids differ by more than the order and direction of their axes")
        return Volume(back.data, grid)

    def cut(self, grid: Grid) -> Volume:
        """The part on `grid`, whose voxels are some of these; ValueError where they are not. No resampling."""
        if self.grid.same_as(grid):
            return self
        first = grid.within(self.grid)
        box = tuple(slice(at, at + n) for at, n in zip(first.tolist(), grid.shape, strict=True))
        matrix = self.grid.matrix.copy()
        matrix[:3, 3] += matrix[:3, :3] @ first
        inside = all(0 <= one.start and one.stop <= n for one, n in zip(box, self.grid.shape, strict=True))
        if not inside or not Grid.of(grid.shape, matrix).same_as(grid):
            raise ValueError("the voxels of the one grid are not among those of the other")
        return Volume(self.data[box], grid)


Volumes = tuple[Volume, ...]
"""Several volumes of one kind, each on its own grid."""
