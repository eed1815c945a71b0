"""Cords of known shape: tilted elliptic cylinders, with a dent or without, as soft or binary masks."""

from __future__ import annotations

import numpy as np

from neuraxis.volume import Grid, Volume


def rotation(degrees):
    """About an oblique axis."""
    axis = np.array([0.3, -0.8, 0.5]) / np.linalg.norm([0.3, -0.8, 0.5])
    t, cross = np.radians(degrees), np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(t) * cross + (1 - np.cos(t)) * cross @ cross


def cylinder(
    half=(6.5, 4.0),
    tilt=(0.0, 0.0),
    voxel=(1.0, 1.0, 1.0),
    extent=(50, 50, 40),
    soft=True,
    roll=0.0,
    shift=(0.0, 0.0),
    dent=None,
    turn=0.0,
    fine=5,
    values=False,
):
    """Mask in the upright frame; half axes, extent and shift in mm, tilt to the left and to the front and roll in degrees.

    `dent` is (x, y, radius) of a ball pressed into the section; with `values` the grey values of a symmetric image instead.
    """
    shape = tuple(round(e / v) for e, v in zip(extent, voxel, strict=True))
    slope = np.tan(np.radians(tilt))
    cosine, size = 1 / np.sqrt(1 + slope @ slope), np.linalg.norm(slope) or 1
    squeeze = np.eye(2) - (1 - cosine) * np.outer(slope, slope) / size**2
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    squeeze = np.array([[c, s], [-s, c]]) @ squeeze
    parts = [((np.arange(n * fine) + 0.5) / fine - n / 2) * v for n, v in zip(shape, voxel, strict=True)]
    data = np.zeros(shape)
    for z in range(shape[2] * fine):
        x = parts[0][:, None] - slope[0] * parts[2][z] - shift[0]
        y = parts[1][None, :] - slope[1] * parts[2][z] - shift[1]
        u, v = (a * x + b * y for a, b in squeeze)
        inside = (u / half[0]) ** 2 + (v / half[1]) ** 2 < 1
        if dent is not None:
            inside &= (u - dent[0]) ** 2 + (v - dent[1]) ** 2 > dent[2] ** 2
        plane = inside.astype(float)
        if values:  # grey matter, a bright canal behind, a dark body in front
            plane += ((u / half[0]) ** 2 + (v / half[1]) ** 2 < 3) + 2.0 * ((np.abs(u) < 5) & (v > half[1] + 3))
        data[:, :, z // fine] += plane.reshape(shape[0], fine, shape[1], fine).sum(axis=(1, 3))
    data = (data / fine**3).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = rotation(turn) @ np.diag([-1, 1, 1]) @ np.diag(voxel)
    affine[:3, 3] = 12, -7, 30
    return Volume(data if soft else (data > 0.5).astype(np.uint8), Grid.of(shape, affine))
