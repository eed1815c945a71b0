"""Where things lie in the head: deep nuclei, cavities, spine and veins, in MNI coordinates (mm, right is +x).

Sizes and places are read off the ICBM152 average and the common atlases of the deep nuclei; shapes are ellipsoids and
tubes. What lies on both sides is given for the right and mirrored.
"""

from __future__ import annotations

from typing import NamedTuple

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array

scipy = lazy.load("scipy")


class Ellipsoid(NamedTuple):
    """centre and semi-axes in mm; turn: angles about x, y, z in degrees; hollow: share of the size that is cut out."""

    tissue: str
    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    turn: tuple[float, float, float] = (0, 0, 0)
    hollow: float = 0.0
    paired: bool = True


class Tube(NamedTuple):
    """points in mm, (N, 3); radii in mm, (N,)."""

    tissue: str
    points: Array
    radii: Array


NUCLEI = (
    Ellipsoid("putamen", (26.0, 6.0, 0.0), (5.5, 16.0, 11.5), (8, 8, 16)),
    Ellipsoid("pallidum", (20.5, -3.0, -0.5), (3.2, 10.0, 7.2), (0, 14, 24)),
    Ellipsoid("pallidum", (16.5, -5.5, -1.5), (2.8, 7.0, 5.4), (0, 14, 28)),
    Ellipsoid("thalamus", (11.5, -18.5, 7.0), (8.2, 14.5, 9.5), (10, 0, 20)),
    Ellipsoid("thalamus", (17.0, -28.0, 6.5), (5.5, 6.0, 6.5)),
    Ellipsoid("red nucleus", (5.0, -21.0, -8.5), (3.2, 3.6, 4.6)),
    Ellipsoid("substantia nigra", (10.0, -18.0, -12.0), (2.3, 7.4, 4.6), (20, 25, 35)),
    Ellipsoid("substantia nigra", (11.5, -13.5, -7.5), (3.6, 2.4, 2.0), (0, 30, -20)),
    Ellipsoid("dentate nucleus", (16.0, -58.0, -36.0), (5.2, 9.5, 6.0), (15, 25, -25), hollow=0.62),
)

CAUDATE = (((11.5, 17.0, -4.0), 4.5), ((12.5, 15.0, 4.0), 5.5), ((14.0, 9.0, 12.0), 5.0), ((16.0, -1.0, 18.5), 4.0),
           ((18.5, -12.0, 21.5), 3.0), ((22.0, -24.0, 21.0), 2.2), ((28.0, -36.0, 12.0), 1.5))  # fmt: skip

CAVITIES = (
    Ellipsoid("air", (11.0, 82.0, 8.0), (9.0, 4.5, 13.0), (20, 0, 0)),  # frontal sinus
    Ellipsoid("air", (6.5, 58.0, -33.0), (5.0, 20.0, 11.0)),  # ethmoid cells
    Ellipsoid("air", (7.0, 24.0, -40.0), (7.0, 11.0, 9.0)),  # sphenoid sinus
    Ellipsoid("air", (31.0, 52.0, -60.0), (12.0, 15.0, 15.0)),  # maxillary sinus
    Ellipsoid("air", (7.0, 62.0, -62.0), (5.0, 30.0, 12.0)),  # nasal cavity
    Ellipsoid("air", (57.0, -36.0, -50.0), (6.5, 10.0, 12.0)),  # mastoid cells
    Ellipsoid("CSF", (32.0, 70.0, -36.0), (12.0, 12.0, 12.0)),  # eye
)
AIRWAYS = (
    (((0.0, 45.0, -62.0), 8.0), ((0.0, 12.0, -68.0), 9.0), ((0.0, 0.0, -90.0), 8.0), ((0.0, 2.0, -150.0), 8.0)),
    (((92.0, -20.0, -46.0), 3.8), ((66.0, -22.0, -46.0), 3.5), ((50.0, -21.0, -44.0), 3.2)),
    (((-92.0, -20.0, -46.0), 3.8), ((-66.0, -22.0, -46.0), 3.5), ((-50.0, -21.0, -44.0), 3.2)),
)
SPINE = ((0.0, -44.0, -68.0), (0.0, -50.0, -90.0), (0.0, -54.0, -150.0))
SPINE_LAYERS = (("bone", 16.0, 3), ("CSF", 9.5, 0), ("white matter", 6.0, 0))
"""Tissue, radius in mm, and how many mm below the brain it begins."""

CALCIFICATION = Ellipsoid("calcification", (30.0, 30.0, 18.0), (3.2, 4.0, 3.0), paired=False)

_CENTRE = np.array((0.0, -20.0, 10.0))
"""A point inside the brain from which its surface is seen in every direction above the tentorium."""


def both_sides(shapes: tuple[Ellipsoid, ...]) -> list[Ellipsoid]:
    """The shapes, and the mirror images of the paired ones."""
    left = [
        shape._replace(
            centre=(-shape.centre[0], *shape.centre[1:]), turn=(shape.turn[0], -shape.turn[1], -shape.turn[2])
        )
        for shape in shapes
        if shape.paired
    ]
    return [*shapes, *left]


def rotation(degrees: tuple[float, float, float]) -> Array:
    """Rotation about x, then y, then z; 3 x 3."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def outside(shape: Ellipsoid, points: Array) -> Array:
    """Distance from the ellipsoid's surface, negative inside; mm, first order near the surface. points: (..., 3)."""
    local = (points - np.array(shape.centre)) @ rotation(shape.turn)
    axes = np.array(shape.axes)
    size = np.linalg.norm(local / axes, axis=-1)
    steep = np.linalg.norm(local / axes**2, axis=-1)
    distance = size * (size - 1) / np.maximum(steep, 1e-3)
    if shape.hollow:
        # a folded sheet that is open towards the front and the middle, as the dentate nucleus
        folded = 1 + 0.10 * np.sin(local[..., 1] * 2.2) * np.cos(local[..., 2] * 2.2)
        inner = size / folded * (size / folded - shape.hollow) / np.maximum(steep, 1e-3)
        middle = np.sign(shape.centre[0]) * local[..., 0]
        distance = np.maximum(np.maximum(distance, -inner), -middle - 0.35 * axes[0] + 0.2 * local[..., 1])
    return distance


def tube(tissue: str, stations: tuple, step: float = 0.5) -> Tube:
    """A smooth tube through (point, radius) stations."""
    points = np.array([point for point, _ in stations], dtype=float)
    radii = np.array([radius for _, radius in stations], dtype=float)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, along[-1], max(int(along[-1] / step), 2) + 1)
    if len(points) > 2:
        return Tube(tissue, scipy.interpolate.PchipInterpolator(along, points)(at), np.interp(at, along, radii))
    return Tube(
        tissue, np.stack([np.interp(at, along, axis) for axis in points.T], axis=1), np.interp(at, along, radii)
    )


def mirrored(stations: tuple) -> tuple:
    """The stations on the left for those on the right."""
    return tuple(((-point[0], point[1], point[2]), radius) for point, radius in stations)


def veins(depth: Array, affine: Array, rng: np.random.Generator) -> list[Tube]:
    """Sinuses, deep veins, veins on the surface, in the cortex and in the white matter.

    Parameters
    ----------
    depth
        Distance from the surface of the brain, negative inside; mm, (X, Y, Z).
    affine
        4 x 4, voxel of `depth` -> MNI; mm.
    rng
        Where the small veins lie.
    """

    def surface(directions: Array, level: float) -> Array:
        steps = np.arange(20.0, 125.0, 0.5)
        points = _CENTRE + directions[:, None, :] * steps[None, :, None]
        voxels = (points - affine[:3, 3]) / affine.diagonal()[:3]
        values = scipy.ndimage.map_coordinates(depth, np.moveaxis(voxels, -1, 0), order=1, mode="nearest")
        return points[np.arange(len(points)), np.argmax(values > level, axis=1)]

    def unit(vectors: Array) -> Array:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    angles = np.radians(np.linspace(15, 195, 60))
    midline = surface(np.stack([0 * angles, np.cos(angles), np.sin(angles)], axis=1), 0.5)
    midline = scipy.ndimage.gaussian_filter1d(midline, 2, axis=0)
    found = [tube("blood", tuple(zip(midline, np.linspace(2.0, 4.5, len(midline)), strict=True)))]
    torcula = tuple(midline[-1])
    found.append(tube("blood", (((0, -39, 6), 2.0), ((0, -60, 6), 2.0), (torcula, 2.5))))
    paired = (
        (((2, 2, 15), 0.8), ((2.5, -18, 15), 1.1), ((1.5, -34, 10), 1.3), ((0, -39, 6), 1.6)),  # internal cerebral
        (((10, 2, -19), 0.7), ((15, -14, -14), 1.0), ((15, -28, -3), 1.2), ((3, -38, 4), 1.3)),  # basal
        (((24, 0, 24), 0.5), ((14, -1, 19), 0.8), ((3, 2, 15), 0.9)),  # thalamostriate
        (((9, 30, 12), 0.5), ((5, 18, 14), 0.7), ((2, 3, 15), 0.8)),  # septal
    )
    for stations in paired:
        found += [tube("blood", stations), tube("blood", mirrored(stations))]
    for side in (-1, 1):  # transverse sinuses
        bend = surface(unit(np.array([(side * x, -1.0, -0.34) for x in (0.15, 0.4, 0.8, 1.3)])), 1.0)
        found.append(tube("blood", ((torcula, 3.0), *((tuple(point), 3.2) for point in bend))))
    for _ in range(26):  # on the surface, up to the sagittal sinus
        start = unit(np.array([rng.choice((-1, 1)) * rng.uniform(0.5, 1), rng.uniform(-0.9, 0.8), rng.uniform(0, 0.5)]))
        end = unit(np.array([0.02 * np.sign(start[0]), start[1] - 0.15, 1.0]))
        mix = np.linspace(0, 1, 25)[:, None]
        wiggle = 0.03 * scipy.ndimage.gaussian_filter1d(rng.standard_normal((25, 3)), 2, axis=0) * 3
        path = surface(unit((1 - mix) * start + mix * end + wiggle), -1.5)
        path = scipy.ndimage.gaussian_filter1d(path, 1, axis=0)
        found.append(tube("blood", tuple(zip(path, np.linspace(0.6, rng.uniform(1.0, 1.8), 25), strict=True))))
    for _ in range(60):  # from the cortex inwards
        direction = unit(np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(-0.3, 1)]))
        start = surface(direction[None], -2.0)[0]
        end = start - (direction + 0.2 * rng.standard_normal(3)) * rng.uniform(10, 26)
        found.append(tube("blood", ((start, rng.uniform(0.6, 1.0)), (end, 0.4))))
    for _ in range(40):  # medullary, fanning out above the ventricles
        side, y = rng.choice((-1, 1)), rng.uniform(-38, 24)
        start = np.array([side * rng.uniform(16, 22), y, rng.uniform(21, 26)])
        end = start + np.array([side * rng.uniform(0.3, 1), rng.uniform(-0.4, 0.4), 1.0]) * rng.uniform(10, 20)
        found.append(tube("blood", ((start, rng.uniform(0.5, 0.8)), (end, 0.4))))
    return found
