"""A spine with known discs: cord, CSF, vertebral bodies and discs along a bent line, in T1w or T2w contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from neuraxis.cord.discs.numbering import AREA, SPACING
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

CONTRASTS = {  # soft tissue, CSF, cord, body, disc, end plate
    "T2w": (0.25, 1.0, 0.55, 0.40, 0.70, 0.10),
    "T2w dark discs": (0.25, 1.0, 0.55, 0.40, 0.15, 0.12),
    "T1w": (0.35, 0.10, 0.60, 0.55, 0.30, 0.25),
    "T1w bright discs": (0.50, 0.15, 0.60, 0.20, 0.65, 0.40),
}


@dataclass(frozen=True)
class Spine:
    image: Volume
    cord: Volume
    tips: dict[int, np.ndarray]
    """Disc -> posterior tip, RAS+ mm."""


def centerline_of(cord: Volume) -> Table:
    """Centre of mass per slice of the upright frame."""
    upright = cord.oriented()
    weight = upright.data.astype(float)
    slices = np.flatnonzero(weight.sum(axis=(0, 1)) > 0)
    total = weight.sum(axis=(0, 1))[slices]
    x, y = (
        (weight.sum(axis=other)[:, slices] * np.arange(weight.shape[own])[:, None]).sum(axis=0) / total
        for own, other in ((0, 1), (1, 0))
    )
    return Table.of({"slice": slices, "x": x, "y": y})


def spine(
    contrast: str = "T2w",
    *,
    scale: float = 1.0,
    top: int = 3,
    above: float = 45.0,
    length: float = 230.0,
    voxel: tuple[float, float, float] = (1.0, 1.0, 1.0),
    bend: float = 12.0,
    jitter: float = 0.04,
    noise: float = 0.02,
    seed: int = 0,
) -> Spine:
    """`top` is the highest disc, `above` mm below the upper end of the view."""
    random = np.random.default_rng(seed)
    shape = tuple(int(round(mm / size)) for mm, size in zip((36.0, 110.0, length), voxel, strict=True))
    grid = Grid.of(shape, np.array([[-voxel[0], 0, 0, 18], [0, voxel[1], 0, -50], [0, 0, voxel[2], 7], [0, 0, 0, 1.0]]))
    z = np.arange(-40.0, length + 40.0, 0.5)
    line = np.stack([np.full_like(z, 18.0), 50 + bend * np.sin(z / 45.0), z], axis=1)
    up = np.gradient(line, axis=0)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    front = np.array([0, 1.0, 0]) - up[:, 1:2] * up
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    at = np.interp(length - above, z, arc)
    discs = {}
    for number in range(top, 25):
        discs[number] = at
        at -= SPACING[number] * scale * np.exp(jitter * random.standard_normal())
    places = np.stack(
        np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, voxel, strict=True)], indexing="ij"), axis=-1
    )
    _, near = cKDTree(line[:, 1:]).query(places[0, ..., 1:])  # the line lies in a sagittal plane
    near = np.broadcast_to(near, shape)
    offset = places - line[near]
    s, forward, side = arc[near], (offset * front[near]).sum(axis=-1), offset[..., 0]
    soft, csf, core, body, disc, plate = CONTRASTS[contrast]
    order = sorted(AREA)
    heights = np.array([discs.get(n, np.nan) for n in order])
    known = np.isfinite(heights)
    area = np.interp(-s, -heights[known], np.array([AREA[n] for n in order])[known]) * scale**2
    radius = np.sqrt(area / np.pi)
    from_axis = np.hypot(forward, side)
    data = np.full(shape, soft)
    wall, depth = 8.0 * scale, 15.0 * scale
    column = (forward > wall) & (forward < wall + depth) & (np.abs(side) < 11 * scale)
    column &= s < discs[top] + (36 * scale if top == 3 else 1e9)  # C2 with its dens
    data[column] = body
    for place in discs.values():
        away = np.abs(s - place)
        data[column & (away < 3.2)] = plate
        data[column & (away < 2.2)] = disc
    data[from_axis < wall - 1.5] = csf
    cord = np.clip(radius - from_axis + 0.5, 0, 1)
    data = data * (1 - cord) + core * cord
    data = np.hypot(data + noise * random.standard_normal(shape), noise * random.standard_normal(shape))
    tips = {}
    for number, place in discs.items():
        row = int(np.abs(arc - place).argmin())
        tip = line[row] + wall * front[row]
        if (tip >= 0).all() and (tip <= (np.array(shape) - 1) * voxel).all():
            tips[number] = grid.matrix[:3, :3] @ (tip / voxel) + grid.matrix[:3, 3]
    return Spine(Volume(data.astype(np.float32), grid), Volume(cord.astype(np.float32), grid), tips)


def laid(volume: Volume, codes: str, degrees: float = 0.0) -> Volume:
    """The same voxels in another order, on a grid turned about the left-right axis."""
    turned = volume.oriented(codes)
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Volume(np.ascontiguousarray(turned.data), Grid.of(turned.grid.shape, turn @ turned.grid.matrix))
