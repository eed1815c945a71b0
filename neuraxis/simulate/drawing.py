"""Shapes and maps of the head, known in its own coordinates (MNI mm), put on any grid."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.simulate.shapes import Ellipsoid, Tube, outside
from neuraxis.volume import Array, Grid, Tensor

scipy = lazy.load("scipy")
torch = lazy.load("torch")


def sample(channels: Array, affine: Array, grid: Grid, pose: Array, border: str) -> Tensor:
    """Channels (C, ...) of the head seen at the voxels of `grid`: (C, X, Y, Z), linear interpolation."""
    to_voxel = np.linalg.inv(pose @ affine) @ grid.matrix
    size = np.array(channels.shape[1:])
    scale = 2.0 / (size - 1)
    source = torch.from_numpy(channels)[None]
    found = torch.empty((len(channels), *grid.shape))
    j, k = torch.arange(grid.shape[1]).double(), torch.arange(grid.shape[2]).double()
    for start in range(0, grid.shape[0], 16):
        i = torch.arange(start, min(start + 16, grid.shape[0])).double()
        axes = []
        for row in (2, 1, 0):  # grid_sample wants the last axis first
            a, b, c, d = (float(v) * scale[row] for v in to_voxel[row])
            position = (a * i)[:, None, None] + (b * j)[None, :, None] + (c * k + (d - 1))[None, None, :]
            axes.append(position.float())
        at = torch.stack(axes, dim=-1)[None]
        found[:, start : start + len(i)] = torch.nn.functional.grid_sample(
            source, at, mode="bilinear", padding_mode=border, align_corners=True
        )[0]
    return found


def positions(grid: Grid, pose: Array | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """MNI coordinates (x, y, z) of every voxel, each (X, Y, Z); mm."""
    matrix = grid.matrix if pose is None else np.linalg.inv(pose) @ grid.matrix
    steps = [torch.arange(n).float() for n in grid.shape]
    x, y, z = (
        (steps[0] * row[0] + row[3])[:, None, None] + (steps[1] * row[1])[None, :, None] + (steps[2] * row[2])
        for row in matrix[:3].tolist()
    )
    return x, y, z


def overlap(grid: Grid, matrix: Array, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], Grid]:
    """The box of `grid` that holds an array of `shape` with the affine `matrix`, and its grid."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1], indexing="ij")).reshape(4, -1)
    voxels = (np.linalg.inv(grid.matrix) @ matrix @ corners)[:3]
    low = np.clip(np.floor(voxels.min(axis=1)), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(voxels.max(axis=1)) + 1, low, grid.shape).astype(int)
    inner = grid.matrix.copy()
    inner[:3, 3] += inner[:3, :3] @ low
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), Grid.of(high - low, inner)


def ellipsoid_share(shape: Ellipsoid, grid: Grid, pose: Array, voxel: float) -> tuple[tuple[slice, ...], Tensor]:
    """The box of the grid around an ellipsoid, and its share of each voxel there."""
    where, points = _box(grid, pose, shape.centre, max(shape.axes) + 2 * voxel)
    return where, edge(torch.from_numpy(outside(shape, points)).float(), voxel)


def edge(distance: Tensor, voxel: float) -> Tensor:
    """Share of a voxel that is inside, from the distance of its centre to the surface (negative inside)."""
    return (0.5 - distance / voxel).clamp_(0, 1)


def tube_share(tube: Tube, grid: Grid, pose: Array, voxel: float) -> tuple[tuple[Tensor, ...], Tensor]:
    """Indices of the voxels that a tube touches, and its share of each: soft edges, less than 1 where it is thinner.

    `voxel` is the edge of a voxel in mm of the head.
    """
    to_mni = np.linalg.inv(pose) @ grid.matrix
    thick = float(tube.radii.max()) + voxel
    voxels = _near(tube, grid, pose, thick)
    points = voxels @ to_mni[:3, :3].T + to_mni[:3, 3]
    distance, nearest = scipy.spatial.cKDTree(tube.points).query(points, distance_upper_bound=thick)
    radius = np.append(tube.radii, 0.0)[nearest]
    share = np.clip(0.5 - (distance - radius) / voxel, 0, 1) * np.minimum(np.pi * (radius / voxel) ** 2, 1)
    keep = share > 0
    return tuple(torch.from_numpy(axis) for axis in voxels[keep].T), torch.from_numpy(share[keep]).float()


def _box(grid: Grid, pose: Array, centre: tuple[float, float, float], radius: float) -> tuple[tuple[slice, ...], Array]:
    """The part of the grid around a point of the head, and the MNI positions of its voxels (..., 3)."""
    to_voxel = np.linalg.inv(grid.matrix) @ pose
    middle = to_voxel @ np.array([*centre, 1.0])
    half = np.linalg.norm(to_voxel[:3, :3], axis=1) * radius + 1
    low = np.clip(np.floor(middle[:3] - half), 0, np.array(grid.shape)).astype(int)
    high = np.clip(np.ceil(middle[:3] + half) + 1, low, np.array(grid.shape)).astype(int)
    voxels = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), axis=-1)
    back = np.linalg.inv(to_voxel)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), voxels @ back[:3, :3].T + back[:3, 3]


def _near(tube: Tube, grid: Grid, pose: Array, thick: float) -> Array:
    """The voxels within `thick` mm (of the head) of a tube, (N, 3), and a few more."""
    to_voxel = np.linalg.inv(grid.matrix) @ pose
    length = np.linalg.norm(np.diff(tube.points, axis=0), axis=1)
    stride = max(int(thick / 3 / length.max()), 1)
    half = np.ceil(np.linalg.norm(to_voxel[:3, :3], axis=1) * (thick + stride * length.max() / 2)).astype(int)
    window = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in half], indexing="ij"), axis=-1).reshape(-1, 3)
    stations = np.concatenate([tube.points[::stride], tube.points[-1:]])
    centres = np.rint(stations @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    voxels = (np.unique(centres, axis=0)[:, None] + window).reshape(-1, 3)
    voxels = voxels[((voxels >= 0) & (voxels < np.array(grid.shape))).all(axis=1)]
    flat = np.unique(np.ravel_multi_index(tuple(voxels.T), grid.shape))
    return np.stack(np.unravel_index(flat, grid.shape), axis=1)
