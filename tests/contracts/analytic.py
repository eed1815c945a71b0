"""Fields that can be written down: a sphere in a uniform field, on any grid; and grids to lay it on."""

from __future__ import annotations

import numpy as np

from neuraxis.volume import Array, Grid


def rotation(axis: int, degrees: float) -> Array:
    """Right-handed rotation about a world axis; 3 x 3."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def centred_grid(shape=(48, 48, 48), voxel_size=(1.0, 1.0, 1.0), turn=None) -> Grid:
    """A grid whose middle voxel lies at the origin of the world, turned by a 3 x 3 rotation."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.diag(voxel_size)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) // 2)
    return Grid.of(shape, affine)


def positions(grid: Grid) -> Array:
    """World position of every voxel; mm, (X, Y, Z, 3)."""
    indices = np.stack(np.indices(grid.shape), -1)
    return indices @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]


def ball(grid: Grid, radius: float, centre=(0.0, 0.0, 0.0)) -> Array:
    """The voxels whose centre lies in a ball; bool."""
    return ((positions(grid) - centre) ** 2).sum(-1) <= radius**2


def sphere_field(grid: Grid, radius: float, chi: float = 1.0, centre=(0.0, 0.0, 0.0)) -> Array:
    """Field of a sphere of susceptibility `chi`, with the main field along world +z; ppm of B0 when chi is in ppm.

    Inside 0 (with the Lorentz sphere taken off), outside chi/3 (radius / r)^3 (3 cos^2 - 1). Voxels that the surface
    cuts get the mean over eight points.
    """
    eighths = np.stack(np.meshgrid(*[(-0.25, 0.25)] * 3, indexing="ij"), -1).reshape(-1, 3) @ grid.matrix[:3, :3].T
    total = np.zeros(grid.shape)
    for shift in eighths:
        place = positions(grid) + shift - centre
        squared = (place**2).sum(-1)
        outside = squared > radius**2
        safe = np.where(outside, squared, 1.0)
        total += np.where(outside, chi / 3 * radius**3 / safe**1.5 * (3 * place[..., 2] ** 2 / safe - 1), 0.0)
    return (total / len(eighths)).astype(np.float32)


GRIDS = {
    "isotropic": centred_grid((44, 48, 46)),
    "anisotropic": centred_grid((44, 56, 26), (1.0, 0.8, 2.0)),
    "tilted": centred_grid((44, 48, 46), turn=rotation(0, 30) @ rotation(1, -15)),
    "anisotropic and tilted": centred_grid((56, 46, 26), (0.8, 1.0, 2.0), rotation(0, 25)),
    "coronal": centred_grid((46, 48, 44), turn=rotation(0, 90)),
}
"""Grids of about 45 mm that see the same objects."""


def turned(array: Array, grid: Grid) -> tuple[Array, Grid]:
    """The same numbers in the same places, with other voxel axes: permuted and flipped."""
    order, affine = (2, 0, 1), grid.matrix
    moved = np.flip(array.transpose(order), axis=(0, 2)).copy()
    change = np.zeros((4, 4))
    change[3, 3] = 1.0
    for new, old in enumerate(order):
        flipped = new in (0, 2)
        change[old, new] = -1.0 if flipped else 1.0
        change[old, 3] = moved.shape[new] - 1 if flipped else 0.0
    return moved, Grid.of(moved.shape, affine @ change)
