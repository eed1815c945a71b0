"""The head as maps on any grid: susceptibility, proton density, relaxation rates and labels.

The brain is the ICBM152 2009a nonlinear symmetric average (Fonov 2011, doi:10.1016/j.neuroimage.2010.07.033) that the
nilearn package carries; the rest is drawn around and into it. All shapes are known in continuous coordinates, so
that one head can be seen by grids of any voxel size and direction.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis.simulate import shapes
from neuraxis.simulate.tissues import R2PRIME_PER_PPM_TESLA, TISSUES, Tissue
from neuraxis.volume import Array, Grid, Tensor

Where = tuple[Any, ...]
"""Slices of a box, or the indices of single voxels."""

nib = lazy.load("nibabel")
scipy = lazy.load("scipy")
torch = lazy.load("torch")

MNI_TO_ADULT = 0.92
"""The MNI average is larger than a usual head in every direction. Lancaster 2007, doi:10.1002/hbm.20345"""

SCALP, SKULL, DURA = 13.0, 8.0, 2.0
"""Distance of the outer surface of scalp, skull and fluid from the brain's hull; mm."""

_COARSE = 2.0
"""Voxel edge of the distance map and of the texture; mm."""


@dataclass(frozen=True)
class Person:
    """One participant in one session: pose maps MNI mm to scanner mm; iron scales the chi of deep nuclei.

    `body` seeds what is the person's own (small veins, texture).
    """

    pose: Array
    iron: float = 1.0
    body: int = 0


@dataclass
class Head:
    """Maps on a grid: chi in ppm, m0 relative to water, r1 and r2star in 1/s, labels, brain (bool)."""

    grid: Grid
    chi: Tensor
    m0: Tensor
    r1: Tensor
    r2star: Tensor
    labels: Tensor
    brain: Tensor


@lru_cache(maxsize=1)
def _template() -> tuple[Array, Array]:
    """Grey matter, white matter and brain (3, X, Y, Z) from 0 to 1, with the affine to MNI mm."""
    found = importlib.util.find_spec("nilearn")
    if found is None or found.origin is None:
        raise ValueError("the package nilearn, which carries the average brain, is not installed")
    folder = Path(found.origin).parent / "datasets" / "data"
    images = [nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz") for name in ("gm", "wm", "t1")]
    grey, white, t1 = (np.asanyarray(image.dataobj) for image in images)
    channels = np.stack([grey.astype(np.float32) / 255, white.astype(np.float32) / 255, (t1 > 0).astype(np.float32)])
    return channels, np.asarray(images[0].affine)


@lru_cache(maxsize=1)
def _depth() -> tuple[Array, Array]:
    """Distance in mm from the closed surface of the brain, negative inside, with the affine to MNI mm."""
    channels, affine = _template()
    low, high = np.array((-98.0, -134.0, -140.0)), np.array((98.0, 118.0, 106.0))
    coarse = np.diag([_COARSE] * 3 + [1.0])
    coarse[:3, 3] = low
    voxels = np.meshgrid(*[np.arange(a, b, _COARSE) for a, b in zip(low, high, strict=True)], indexing="ij")
    at = [axis - origin for axis, origin in zip(voxels, affine[:3, 3], strict=True)]
    brain = scipy.ndimage.map_coordinates(channels[2], at, order=1, mode="constant") > 0.5
    distance = scipy.ndimage.distance_transform_edt
    grown = distance(~brain) * _COARSE <= 10
    hull = distance(grown) * _COARSE > 10
    signed = (distance(~hull) - distance(hull)) * _COARSE
    return scipy.ndimage.gaussian_filter(signed, 0.7).astype(np.float32), coarse


def _texture(shape: tuple[int, ...], seed: int) -> Array:
    """Random pattern of unit variance with detail from 3 to 10 mm."""
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(shape, dtype=np.float32)
    found = np.zeros(shape, np.float32)
    for sigma in (0.7, 2.0):
        smooth = scipy.ndimage.gaussian_filter(noise, sigma)
        found += smooth / smooth.std()
    return np.clip(found / found.std(), -3, 3)


def _sample(channels: Array, affine: Array, grid: Grid, pose: Array, border: str) -> Tensor:
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


def reach(grid: Grid, person: Person) -> Grid:
    """The grid, grown by whole voxels until it holds the head and neck: what is outside the picture has a field too."""
    depth, affine = _depth()
    inside = _outside_head(torch.from_numpy(depth), _positions(Grid.of(depth.shape, affine))) < 2
    points = np.stack(np.nonzero(inside.numpy()), axis=1)[::7] @ affine[:3, :3].T + affine[:3, 3]
    voxels = np.linalg.inv(grid.matrix) @ person.pose @ np.c_[points, np.ones(len(points))].T
    low = np.minimum(np.floor(voxels[:3].min(axis=1)), 0).astype(int)
    high = np.maximum(np.ceil(voxels[:3].max(axis=1)), np.array(grid.shape) - 1).astype(int)
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    return Grid.of(high - low + 1, matrix)


def _positions(grid: Grid, pose: Array | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """MNI coordinates (x, y, z) of every voxel, each (X, Y, Z); mm."""
    matrix = grid.matrix if pose is None else np.linalg.inv(pose) @ grid.matrix
    steps = [torch.arange(n).float() for n in grid.shape]
    x, y, z = (
        (steps[0] * row[0] + row[3])[:, None, None] + (steps[1] * row[1])[None, :, None] + (steps[2] * row[2])
        for row in matrix[:3].tolist()
    )
    return x, y, z


def _outside_head(depth: Tensor, position: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Distance from the skin, negative inside: cranium, face, nose and neck; mm, roughly."""
    x, y, z = position

    def ellipsoid(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Tensor:
        size = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 + ((z - centre[2]) / axes[2]) ** 2
        return size.sqrt_().sub_(1).mul_(min(axes))

    neck = (((x / 58) ** 2 + ((y + 32) / 60) ** 2).sqrt_() - 1).mul_(55)
    neck = torch.maximum(neck, torch.maximum(z + 45, -132 - z))
    found = torch.minimum(depth - SCALP, neck)
    found = torch.minimum(found, ellipsoid((0, 32, -52), (64, 62, 76)))
    return torch.minimum(found, ellipsoid((0, 96, -48), (12, 16, 20)))


def head(grid: Grid, person: Person, field_strength: float, calcification: bool = False) -> Head:
    """Draw the head of `person` on `grid`.

    Parameters
    ----------
    grid
        Where the maps are wanted, in scanner mm.
    person
        Whose head it is, and how it lies.
    field_strength
        For the relaxation rates; T.
    calcification
        Whether to add one.
    """
    voxel = float(np.prod(grid.voxel_size) ** (1 / 3)) / _scale(person.pose)
    maps, labels = _drawing(grid)
    depth_map, coarse = _depth()
    both = np.stack([depth_map, _texture(depth_map.shape, person.body)])
    depth, texture = _sample(both, coarse, grid, person.pose, "border")

    def paint(tissue: Tissue, share: Tensor, where: Where = (slice(None),) * 3) -> None:
        for level, value in zip(maps, _numbers(tissue, person, field_strength), strict=True):
            level[where] += share * (value - level[where])
        labels[where] = torch.where(share > 0.5, tissue.label, labels[where])

    def edge(distance: Tensor) -> Tensor:
        return (0.5 - distance / voxel).clamp_(0, 1)

    skin = _outside_head(depth, _positions(grid, person.pose))
    paint(TISSUES["muscle"], edge(skin))
    paint(TISSUES["bone"], edge(depth - SKULL))
    paint(TISSUES["CSF"], edge(depth - DURA))
    _draw_tubes(_spine(), grid, person.pose, voxel, paint)
    brain = _paint_brain(maps, labels, grid, person, field_strength)
    for shape in shapes.both_sides(shapes.CAVITIES):
        where, points = _box(grid, person.pose, shape.centre, max(shape.axes) + 2 * voxel)
        share = edge(torch.from_numpy(shapes.outside(shape, points)).float())
        paint(TISSUES[shape.tissue], share * ((depth[where] > 4) & (skin[where] < -4)), where)
    for stations in shapes.AIRWAYS:
        _draw_tubes([shapes.tube("air", stations)], grid, person.pose, voxel, paint)
    fluid = labels == TISSUES["CSF"].label
    nuclei = shapes.both_sides(shapes.NUCLEI)
    tails = [shapes.tube("caudate", part) for part in (shapes.CAUDATE, shapes.mirrored(shapes.CAUDATE))]
    _draw_tubes(tails, grid, person.pose, voxel, paint, but=fluid)
    for shape in nuclei:
        where, points = _box(grid, person.pose, shape.centre, max(shape.axes) + 2 * voxel)
        share = edge(torch.from_numpy(shapes.outside(shape, points)).float())
        paint(TISSUES[shape.tissue], share * ~fluid[where], where)
    vessels = shapes.veins(depth_map, coarse, np.random.default_rng([person.body, 2]))
    _draw_tubes(vessels, grid, person.pose, voxel, paint)
    if calcification:
        shape = shapes.CALCIFICATION
        where, points = _box(grid, person.pose, shape.centre, max(shape.axes) + 2 * voxel)
        paint(TISSUES[shape.tissue], edge(torch.from_numpy(shapes.outside(shape, points)).float()), where)
    chi, m0, r1, r2star, rough = maps
    before = chi.abs()
    chi += rough * texture
    r2star += (chi.abs() - before) * (R2PRIME_PER_PPM_TESLA * field_strength)
    return Head(grid, chi, m0, r1, r2star.clamp_(min=0.2), labels, brain)


def _drawing(grid: Grid) -> tuple[list[Tensor], Tensor]:
    """Empty maps (chi, m0, r1, r2star, texture) and labels: air everywhere."""
    air = TISSUES["air"]
    start = (air.chi, air.m0, air.r1(3), air.r2star(3), air.texture)
    return [torch.full(grid.shape, float(v)) for v in start], torch.full(grid.shape, air.label, dtype=torch.uint8)


def _numbers(tissue: Tissue, person: Person, field_strength: float) -> tuple[float, ...]:
    """chi, m0, r1, r2star, texture of `tissue` in `person`."""
    chi = tissue.chi * (person.iron if tissue.iron else 1.0)
    extra = abs(chi - tissue.chi) * R2PRIME_PER_PPM_TESLA * field_strength * np.sign(chi - tissue.chi)
    return chi, tissue.m0, tissue.r1(field_strength), tissue.r2star(field_strength) + extra, tissue.texture


def _scale(pose: Array) -> float:
    return float(abs(np.linalg.det(pose[:3, :3])) ** (1 / 3))


def _spine() -> list[shapes.Tube]:
    found = []
    for tissue, radius, below in shapes.SPINE_LAYERS:
        path = shapes.tube(tissue, tuple((point, radius) for point in shapes.SPINE))
        keep = path.points[:, 2] <= shapes.SPINE[0][2] - below * 4
        found.append(shapes.Tube(tissue, path.points[keep], path.radii[keep]))
    return found


def _paint_brain(maps: list[Tensor], labels: Tensor, grid: Grid, person: Person, field_strength: float) -> Tensor:
    """Mix grey matter, white matter and CSF into the maps by their share; the mask of the brain."""
    channels, affine = _template()
    grey, white, inside = _sample(channels, affine, grid, person.pose, "zeros")
    fluid = (1 - grey - white).clamp_(min=0)
    # the average of 152 brains is blurred: a power of the shares makes it one brain again
    shares = [white.pow_(3), grey.pow_(3), fluid.pow_(3)]
    total = shares[0] + shares[1] + shares[2]
    tissues = [TISSUES[name] for name in ("white matter", "grey matter", "CSF")]
    brain = inside > 0.5
    lead = torch.maximum(shares[1], shares[2])
    labels[brain & (shares[0] >= lead)] = tissues[0].label
    labels[brain & (shares[0] < lead) & (shares[1] >= shares[2])] = tissues[1].label
    labels[brain & (shares[2] >= lead) & (shares[2] > shares[0])] = tissues[2].label
    inside /= total
    for share in shares:
        share *= inside
    outside = 1 - inside * total
    for number, level in enumerate(maps):
        level *= outside
        for share, tissue in zip(shares, tissues, strict=True):
            level.add_(share, alpha=_numbers(tissue, person, field_strength)[number])
    return brain


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


def _near(tube: shapes.Tube, grid: Grid, pose: Array, thick: float) -> Array:
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


def _draw_tubes(tubes, grid: Grid, pose: Array, voxel: float, paint, but: Tensor | None = None) -> None:  # type: ignore[no-untyped-def]
    """Paint each tube with soft edges; a tube thinner than a voxel fills the part of it that it takes."""
    to_mni = np.linalg.inv(pose) @ grid.matrix
    for tube in tubes:
        thick = float(tube.radii.max()) + voxel
        voxels = _near(tube, grid, pose, thick)
        points = voxels @ to_mni[:3, :3].T + to_mni[:3, 3]
        distance, nearest = scipy.spatial.cKDTree(tube.points).query(points, distance_upper_bound=thick)
        radius = np.append(tube.radii, 0.0)[nearest]
        share = np.clip(0.5 - (distance - radius) / voxel, 0, 1) * np.minimum(np.pi * (radius / voxel) ** 2, 1)
        keep = share > 0
        where = tuple(torch.from_numpy(axis) for axis in voxels[keep].T)
        share = torch.from_numpy(share[keep]).float()
        paint(TISSUES[tube.tissue], share if but is None else share * ~but[where], where)
