"""A neck with a known spinal cord, as a scanner would see it: images of six contrasts, and the truth on the grid of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from neuraxis.cord.vertebrae import PMJ
from neuraxis.simulate.cord_anatomy import (
    HEIGHT,
    PMJ_HEIGHT,
    Place,
    Spine,
    across,
    canal_outside,
    cord_outside,
    gray_outside,
    lesion_outside,
)
from neuraxis.simulate.cord_neck import neck
from neuraxis.simulate.cord_options import SATURATED, CordOptions
from neuraxis.simulate.cord_signal import MT_MAPS, mt_properties, signals, slice_motion
from neuraxis.simulate.shapes import rotation
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

CORD_TOP = HEIGHT[1]
"""Where the cord ends and the medulla begins: the top of C1; mm of PAM50."""

WHITE_LEVEL = 300.0
"""Stored value of white matter where the coils are strongest."""


@dataclass(frozen=True)
class CordTruth:
    """What is known about one image, on its grid.

    cord, gray_matter, canal, lesion: shares 0..1; cord_mask: cord > 0.5; levels: vertebral level on cord_mask; discs: single
    voxels at the posterior tips of the discs; pmj: one voxel of 50; slices: one row per slice that the cord crosses, with the
    centerline, its angles and the size of the section orthogonal to it. maps: of magnetisation transfer by suffix, on the MT-on
    image; motion: how far the slices of each image were moved to the left and to the front (C, Z, 2), mm.
    """

    cord: Volume
    cord_mask: Volume
    gray_matter: Volume
    canal: Volume
    lesion: Volume
    levels: Volume
    discs: Volume
    pmj: Volume
    slices: Table
    maps: dict[str, Volume] = field(default_factory=dict)
    motion: Array | None = None


@dataclass(frozen=True)
class CordPhantom:
    """Images by contrast (a last axis holds echoes, or MT on, off and T1w), and the truth about each."""

    options: CordOptions
    volumes: dict[str, Volume]
    truth: dict[str, CordTruth]


def cord_phantom(options: CordOptions) -> CordPhantom:
    """Simulate one participant.

    Every voxel gets the signals of the tissues around its centre, with soft edges; voxels in and at the dural sac are cut into
    finer ones and averaged, image and truth alike. Coil profiles and Rician noise follow.

    Parameters
    ----------
    options
        Who is scanned, and how.
    """
    spine, volumes, truth = options.spine, {}, {}
    for number, contrast in enumerate(options.contrasts):
        grid = image_grid(contrast, options)
        parts = signals(contrast)
        clean, shares, height = rendered(parts, grid, spine, options)
        known = _truth(grid, spine, shares, height)
        if contrast in SATURATED:
            motion = slice_motion(clean.shape[-1], grid.shape[2], options.motion, options.seed)
            for image, moved in enumerate(motion):
                if moved.any():
                    one = {name: values[image : image + 1] for name, values in parts.items()}
                    clean[..., image] = rendered(one, grid, spine, options, moved)[0][..., 0]
            maps = rendered(mt_properties(contrast), grid, spine, replace(options, bias=0.0))[0]
            known = replace(known, motion=motion, maps={name: Volume(maps[..., n], grid) for n, name in enumerate(MT_MAPS)})
        noisy = _noise(clean, options, number)
        volumes[contrast] = Volume(noisy[..., 0] if noisy.shape[-1] == 1 else noisy, grid)
        truth[contrast] = known
    return CordPhantom(options, volumes, truth)


def image_grid(contrast: str, options: CordOptions) -> Grid:
    """Where the image of a contrast lies: T1w and T2w sagittal (PSR), the others across the cord (LAS), none quite straight."""
    spine = options.spine
    matrix = np.eye(4)
    if contrast in ("T1w", "T2w"):
        edge = 1.0 if options.small or contrast == "T1w" else 0.8
        shape = (128, 212, 40) if options.small else (224, 256, 64) if contrast == "T1w" else (320, 320, 64)
        size = np.full(3, edge)
        axes = np.array([[0, 0, 1.0], [-1, 0, 0], [0, 1, 0]])
        low, high = (spine.at(np.array([at]))[0][0] for at in (HEIGHT[10] - 10, PMJ_HEIGHT + 16))
        centre = np.array([0, -18.0 if options.small else -5.0, (low[2] + high[2]) / 2])
    else:
        fine = 0.9 if contrast in SATURATED else 0.5
        size = np.array([fine, fine, 5.0])
        field = 70.0 if options.small else 128.0 if contrast not in SATURATED else 172.0
        shape = (2 * int(field / fine / 2), 2 * int(field / fine / 2), 12 if options.small else 15)
        place, tangent = spine.at(np.array([HEIGHT[5] + 8]))
        right, front = across(tangent)
        axes = np.stack([-right[0], front[0], tangent[0]], axis=1)
        centre = place[0] + (0.0 if options.small else 8.0) * front[0]
    matrix[:3, :3] = rotation(options.obliquity) @ axes * size
    matrix[:3, 3] = centre + np.array(options.shift) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid.of(shape, matrix)


def true_parts(grid: Grid, options: CordOptions) -> tuple[CordTruth, dict[str, Array]]:
    """What is known on a grid, and the shares of the tissues of the cord: white, gray, lesion."""
    _, shares, height = rendered(signals("T2w"), grid, options.spine, options)
    lesion = np.minimum(shares["lesion"], shares["cord"])
    gray = np.minimum(shares["gray_matter"], shares["cord"] - lesion)
    mixture = {"white": shares["cord"] - gray - lesion, "gray": gray, "lesion": lesion}
    return _truth(grid, options.spine, shares, height), mixture


def rendered(
    parts: dict[str, Array], grid: Grid, spine: Spine, options: CordOptions, motion: Array | None = None
) -> tuple[Array, dict[str, Array], Array]:
    """Images (..., C) of what `parts` says of every tissue (C,), without noise, the shares of cord, canal, grey matter and lesion, and the
    height of every voxel. `motion`: how far each slice is moved along the first two axes; mm, (Z, 2)."""
    size = np.array(grid.voxel_size)
    moved = np.zeros((grid.shape[2], 2)) if motion is None else motion / size[:2]
    image = np.empty((*grid.shape, len(parts["air"])), np.float32)
    height, near = np.empty(grid.shape, np.float32), np.empty(grid.shape, bool)
    edge = float(np.sort(size)[:2].mean()) / spine.scale
    reach = edge + 0.25 * float(size.max()) / spine.scale  # a slice that leans by 25 degrees
    slab = max(1, 60_000 // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], slab):
        box = (slice(start, min(start + slab, grid.shape[0])),)
        voxels: Array = np.indices((box[0].stop - start, *grid.shape[1:]), dtype=np.float32).reshape(3, -1).T
        voxels[:, 0] += start
        voxels[:, :2] -= moved[voxels[:, 2].astype(int)]
        where = spine.local(voxels @ grid.matrix[:3, :3].T.astype(np.float32) + grid.matrix[:3, 3].astype(np.float32))
        shape = height[box].shape
        image[box] = neck(spine, where, edge, parts, lesion=options.lesion).reshape(*shape, -1)
        image[box] *= _coils(where, options.bias).reshape(*shape, 1)
        height[box] = where.height.reshape(shape)
        near[box] = (canal_outside(where) < reach).reshape(shape)
    shares = {name: np.zeros(grid.shape, np.float32) for name in ("cord", "canal", "gray_matter", "lesion")}
    rim = np.argwhere(near)
    for start in range(0, len(rim), 8000):
        some = rim[start : start + 8000]
        at = tuple(some.T)
        image[at], found = _fine(some, moved, grid, spine, parts, options)
        for name, share in found.items():
            shares[name][at] = share
    return image, shares, height


def _fine(
    voxels: Array, moved: Array, grid: Grid, spine: Spine, parts: dict[str, Array], options: CordOptions
) -> tuple[Array, dict[str, Array]]:
    """Images and shares of voxels (N, 3), each the mean of finer ones: two along an edge, or one per millimetre."""
    size = np.array(grid.voxel_size)
    factors = np.maximum(np.ceil(size - 1e-6).astype(int), 2)
    offsets = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5 for n in factors], indexing="ij"), axis=-1)
    place = voxels.astype(float)
    place[:, :2] -= moved[voxels[:, 2]]
    at = (place[:, None] + offsets.reshape(1, -1, 3)).reshape(-1, 3)
    where = spine.local(at @ grid.matrix[:3, :3].T + grid.matrix[:3, 3])
    edge = float(np.sort(size / factors)[:2].mean()) / spine.scale

    def mean(values: Array) -> Array:
        return values.reshape(len(voxels), -1, *values.shape[1:]).mean(axis=1)

    def share(outside: Array) -> Array:
        return mean(np.clip(0.5 - outside / edge, 0, 1))

    height = where.height
    above = height - CORD_TOP
    cord = np.maximum(cord_outside(where), above)
    gray = np.maximum(gray_outside(where), above)
    lesion = lesion_outside(where) if options.lesion else np.full(len(height), np.inf)
    found = {
        "cord": share(cord),
        "canal": share(np.maximum(canal_outside(where), above)),
        "gray_matter": share(gray),
        "lesion": share(lesion),
    }
    image = (
        neck(spine, where, edge, parts, lesion=options.lesion, canal_only=True) * _coils(where, options.bias)[:, None]
    )
    return mean(image), found


def _coils(where: Place, strength: float) -> Array:
    """Sensitivity of a neck coil: strong at the back, weak in front and beyond both ends; 1 behind the cord of C4."""
    u, v, height, _ = where
    along = (height - HEIGHT[5]) / 120
    fall = 0.45 * (v / 50) + 0.18 * (v / 50) ** 2 * (v > 0) + 0.5 * along**2 + 0.12 * along + 0.1 * u / 50
    return np.exp(-strength * np.clip(fall, -0.6, 4)).astype(np.float32)


def _noise(clean: Array, options: CordOptions, number: int) -> Array:
    """Magnitudes with Rician noise, scaled to stored values."""
    if not np.isfinite(options.snr):
        return clean * np.float32(WHITE_LEVEL)
    rng = np.random.default_rng([options.seed, number])
    noise = rng.standard_normal((2, *clean.shape), dtype=np.float32) / np.float32(options.snr)
    return np.hypot(clean + noise[0], noise[1]) * np.float32(WHITE_LEVEL)


def _truth(grid: Grid, spine: Spine, shares: dict[str, Array], height: Array) -> CordTruth:
    mask = shares["cord"] > 0.5
    level = np.zeros(grid.shape, np.int16)
    for vertebra in range(1, 14):
        level[(height >= HEIGHT[vertebra + 1]) & (height < HEIGHT[vertebra])] = vertebra
    discs = np.zeros(grid.shape, np.int16)
    for disc in range(1, 14):
        _mark(
            discs, grid, spine.place(0, float(spine.canal_front(np.array([HEIGHT[disc]]))[0]) + 1.5, HEIGHT[disc]), disc
        )
    pmj = np.zeros(grid.shape, np.int16)
    _mark(pmj, grid, spine.place(0, float(spine.sizes(np.array([PMJ_HEIGHT])).cord_deep[0]) / 2, PMJ_HEIGHT), PMJ)
    fields: dict[str, Any] = {name: Volume(share, grid) for name, share in shares.items()}
    return CordTruth(
        **fields,
        cord_mask=Volume(mask, grid),
        levels=Volume(np.where(mask, level, 0).astype(np.int16), grid),
        discs=Volume(discs, grid),
        pmj=Volume(pmj, grid),
        slices=true_slices(grid, spine),
    )


def _mark(labels: Array, grid: Grid, place: Array, value: int) -> None:
    voxel = np.rint(np.linalg.inv(grid.matrix) @ np.append(place, 1))[:3].astype(int)
    if (voxel >= 0).all() and (voxel < np.array(grid.shape)).all():
        labels[tuple(voxel)] = value


def true_slices(grid: Grid, spine: Spine) -> Table:
    """One row per slice of the upright frame that the cord crosses within the field of view.

    Columns slice, x, y (voxels), dx, dy (voxels per slice), x_mm, y_mm, z_mm, arc_mm, angle_AP, angle_RL (degrees), level,
    distance_pmj (mm), area, diameter_AP, diameter_RL, gray_matter_area (mm2, mm: of the section orthogonal to the cord).
    """
    upright = Volume(np.broadcast_to(np.int8(0), grid.shape), grid).oriented("LAS").grid
    heights = np.arange(HEIGHT[14], CORD_TOP + 1e-9, 0.05)
    place, tangent = spine.at(heights)
    inverse = np.linalg.inv(upright.matrix)
    voxel = place @ inverse[:3, :3].T + inverse[:3, 3]
    step = tangent @ inverse[:3, :3].T
    slices = np.arange(max(np.ceil(voxel[0, 2]), 0), min(np.floor(voxel[-1, 2]), upright.shape[2] - 1) + 1)

    def at(values: Array) -> Array:
        return np.interp(slices, voxel[:, 2], values)

    x, y, height = at(voxel[:, 0]), at(voxel[:, 1]), at(heights)
    inside = (x >= 0) & (x <= upright.shape[0] - 1) & (y >= 0) & (y <= upright.shape[1] - 1)
    dx, dy = at(step[:, 0] / step[:, 2]), at(step[:, 1] / step[:, 2])
    px, py, pz = upright.voxel_size
    size = spine.sizes(height)
    discs = np.array([HEIGHT[n] for n in range(14, 0, -1)])
    area = spine.cord_area(height)
    table = Table.of({
        "slice": slices.astype(int), "x": x, "y": y, "dx": dx, "dy": dy,
        **{name: at(place[:, n]) for n, name in enumerate(("x_mm", "y_mm", "z_mm"))},
        "arc_mm": (height - height[0]) * spine.scale,
        "angle_AP": np.degrees(np.arctan2(dx * px, pz)), "angle_RL": np.degrees(np.arctan2(dy * py, pz)),
        "level": 14 - np.searchsorted(discs, height, side="right"),
        "distance_pmj": (PMJ_HEIGHT - height) * spine.scale,
        "area": area, "diameter_AP": size.cord_deep * spine.scale, "diameter_RL": size.cord_wide * spine.scale,
        "gray_matter_area": area * _gray_share(),
    })  # fmt: skip
    return table.where(inside)


@lru_cache(maxsize=1)
def _gray_share() -> float:
    """Share of the cord's area that is grey matter: the same at every height."""
    spine = Spine()
    u, v = (a.ravel() for a in np.meshgrid(np.arange(-8, 8, 0.02), np.arange(-6, 6, 0.02)))
    height = np.full(u.shape, HEIGHT[5])
    at = Place(u, v, height, spine.sizes(height))
    return float((gray_outside(at) < 0).sum() / (cord_outside(at) < 0).sum())
