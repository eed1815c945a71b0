"""A cord that can be written down: a curved, slanting tube of known section in CSF, in a canal of bone, in a neck."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from contracts.analytic import positions, rotation

from neuraxis.volume import Array, Grid, Volume

HALF_AXES = (6.3, 4.2)
"""Of the cord's section across the body's axis: right to left, front to back; mm."""

AREA = np.pi * HALF_AXES[0] * HALF_AXES[1]

T2 = dict(cord=100.0, csf=300.0, bone=25.0, muscle=60.0, fat=150.0)
T1 = dict(cord=200.0, csf=50.0, bone=40.0, muscle=110.0, fat=230.0)


def centre(z: Array) -> tuple[Array, Array]:
    """Where the cord runs at the height z (mm): world x and y."""
    return 1.5 * np.sin(z / 40), 4 * np.cos(z / 30) + 0.15 * z


TISSUES = ("air", "muscle", "fat", "belly", "body", "bone", "csf", "cord")


def tissue(x: Array, y: Array, z: Array) -> Array:
    """Number of the tissue at a place in the world."""
    u, v = centre(z)
    found = np.where(np.hypot(x / 62, (y - 5) / 58) < 1, 2, 0)
    found[np.hypot(x / 57, (y - 5) / 53) < 1] = 1
    for side in (-1, 1):  # vessels and muscles on both sides
        found[np.hypot(x - side * 30, y - 20) < 4] = 2
        found[np.hypot((x - side * 20) / 12, (y + 28) / 9) < 1] = 3
    found[np.hypot(x / 12, (y - v - 22) / 10) < 1] = 4  # vertebral body
    found[np.hypot(x / 8, (y - 45) / 6) < 1] = 0  # airway
    for number, across, along in ((5, 14, 12), (6, 10, 7.5), (7, *HALF_AXES)):
        found[np.hypot((x - u) / across, (y - v) / along) < 1] = number
    return found


@lru_cache(maxsize=16)
def shares(grid: Grid) -> Array:
    """Share of each tissue in every voxel; (tissue, X, Y, Z)."""
    thick = int(np.argmax(np.abs(grid.matrix[2, :3]) / grid.voxel_size))  # fewer points along the body's axis
    fine = [(np.arange(n) + 0.5) / n - 0.5 for n in (2 if axis == thick else 4 for axis in range(3))]
    shifts = np.stack(np.meshgrid(*fine, indexing="ij"), -1).reshape(-1, 3) @ grid.matrix[:3, :3].T
    counts = np.zeros((len(TISSUES), *grid.shape), np.float32)
    places = positions(grid)
    for shift in shifts:
        found = tissue(*np.moveaxis(places + shift, -1, 0))
        for number in range(len(TISSUES)):
            counts[number] += found == number
    return counts / len(shifts)


def neck(grid: Grid, levels: dict[str, float], noise: float = 0.0) -> tuple[Volume, Volume]:
    """Image and true share of cord per voxel, on any grid."""
    known = {**levels, "air": 0.0, "belly": 0.8 * levels["muscle"], "body": 2 * levels["bone"]}
    share = shares(grid)
    image = np.tensordot([known[name] for name in TISSUES], share, 1)
    image += noise * np.random.default_rng(0).normal(size=image.shape)
    return Volume(np.maximum(image, 0).astype(np.float32), grid), Volume(share[-1].copy(), grid)


def grid_of(codes: str, voxel_size: tuple[float, ...], extent: tuple[float, ...], tilt: float = 0.0) -> Grid:
    """A grid of world extent (R-L, A-P, I-S; mm) about the origin, with its voxel axes along nibabel's `codes`."""
    world = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    matrix, shape = np.zeros((3, 3)), []
    for axis, code in enumerate(codes):
        where, sign = world[code]
        matrix[where, axis] = sign * voxel_size[where]
        shape.append(round(extent[where] / voxel_size[where]))
    matrix = rotation(0, tilt) @ matrix
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -matrix @ ((np.array(shape) - 1) / 2)
    return Grid.of(shape, affine)


VIEWS = {
    "isotropic LAS": grid_of("LAS", (1, 1, 1), (90, 126, 48)),
    "sagittal PSR": grid_of("PSR", (1, 1, 1), (50, 126, 48)),
    "thick LPS": grid_of("LPS", (0.7, 0.7, 5), (128, 128, 60)),
    "oblique": grid_of("LAS", (1, 1, 1), (90, 126, 48), tilt=12.0),
    "crop": grid_of("RAS", (0.8, 0.8, 8), (36, 40, 64)),
}
CONTRASTS = {"T1": T1, "T2": T2}


def path_error(path, truth: Volume) -> tuple[float, float]:
    """Mean and largest distance of a path from the centres of the truth; mm."""
    upright = truth.oriented()
    x, y = upright.grid.voxel_size[:2]
    found = []
    for z, u, v in zip(path["slice"].astype(int), path["x"], path["y"], strict=True):
        share = upright.data[:, :, z]
        if share.sum() > 0:
            middle = [np.arange(share.shape[a]) @ share.sum(1 - a) / share.sum() for a in (0, 1)]
            found.append(np.hypot((u - middle[0]) * x, (v - middle[1]) * y))
    return float(np.mean(found)), float(np.max(found))
