"""A round cord of all 37 regions whose shares of every voxel are counted on a fine grid: y = X beta holds exactly."""

from __future__ import annotations

import functools

import numpy as np

from neuraxis.cord.tracts import REGIONS
from neuraxis.volume import Grid, Volume

SIZE, SLICES, FINE = 20, 4, 8
GRAY_RADIUS, CORD_RADIUS, FLUID_RADIUS = 3.0, 6.5, 8.0
TRUTH = np.array([40.0 + 0.2 * (n % 7) for n in range(30)] + [30.0 - 0.3 * n for n in range(6)] + [5.0])
"""Values of the regions; no two neighbours alike."""


def grid(voxel=(1.0, 1.0, 1.0)) -> Grid:
    affine = np.diag([-voxel[0], voxel[1], voxel[2], 1.0])
    affine[:3, 3] = 7, -4, 11
    return Grid.of((SIZE, SIZE, SLICES), affine)


@functools.cache
def atlas(voxel=(1.0, 1.0, 1.0)) -> Volume:
    """White matter as 30 sectors of a ring, grey matter as 6 of a disc, fluid around; moved a little from slice to slice."""
    at = (np.arange(SIZE * FINE) + 0.5) / FINE - 0.5
    shares = np.zeros((SIZE, SIZE, SLICES, len(REGIONS)), np.float32)
    for z in range(SLICES):
        x, y = np.meshgrid(at - 9.3 - 0.2 * z, at - 9.6 + 0.1 * z, indexing="ij")
        radius, angle = np.hypot(x, y), (np.arctan2(y, x) / (2 * np.pi)) % 1
        region = np.where(radius < GRAY_RADIUS, 30 + np.floor(6 * angle), np.floor(30 * angle))
        region = np.where(radius >= CORD_RADIUS, 36, region)
        region = np.where(radius >= FLUID_RADIUS, -1, region)
        for number in range(len(REGIONS)):
            fine = (region == number).reshape(SIZE, FINE, SIZE, FINE)
            shares[:, :, z, number] = fine.mean(axis=(1, 3))
    return Volume(shares, grid(voxel))


def levels(voxel=(1.0, 1.0, 1.0)) -> Volume:
    """C4 in the upper two slices, C5 in the lower; only in the middle of the cord."""
    data = np.zeros((SIZE, SIZE, SLICES), np.int16)
    data[8:12, 8:12] = (5, 5, 4, 4)
    return Volume(data, grid(voxel))


def mixed(tract_atlas: Volume, truth=TRUTH, noise=0.0, seed=1) -> Volume:
    """The map that these values make, and noise."""
    scatter = np.random.default_rng(seed).normal(0, noise, tract_atlas.data.shape[:3]) if noise else 0
    return Volume(tract_atlas.data.astype(float) @ truth + scatter, tract_atlas.grid)
