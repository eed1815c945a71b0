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
from neuraxis.simulate.drawing import edge, ellipsoid_share, overlap, positions, sample, tube_share
from neuraxis.simulate.tissues import TISSUES, Tissue
from neuraxis.units import R2PRIME_PER_PPM_TESLA
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

_WHITE = 1.2
"""Weight of white matter where it meets grey, so that grey is about 1.6 times as large, as in adults."""

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

    def part(self, grid: Grid, window: tuple[slice, ...]) -> Head:
        """A copy of the head in `window`, which is `grid`."""
        maps = (self.chi, self.m0, self.r1, self.r2star, self.labels, self.brain)
        return Head(grid, *(level[window].clone() for level in maps))


@lru_cache(maxsize=1)
def _template() -> tuple[Array, Array]:
    """Grey matter, white matter and brain (3, X, Y, Z) from 0 to 1, with the affine to MNI mm."""
    found = importlib.util.find_spec("nilearn")
    if found is None or found.origin is None:
        raise ValueError("the package nilearn, which carries the average brain, is not installed")
    folder = Path(found.origin).parent / "datasets" / "data"
    images = [nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz") for name in ("gm", "wm", "t1")]
    grey, white, t1 = (np.asanyarray(image.dataobj) for image in images)
    # the air around the brain is cut away, so that less has to be sampled
    low, high = np.argwhere(t1 > 0).min(axis=0) - 1, np.argwhere(t1 > 0).max(axis=0) + 2
    low = np.maximum(low, 0)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = np.array(images[0].affine)
    affine[:3, 3] += affine[:3, :3] @ low
    grey, white = (share[box].astype(np.float32) / 255 for share in (grey, white))
    return np.stack([grey, white, (t1[box] > 0).astype(np.float32)]), affine


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


def reach(grid: Grid, person: Person) -> Grid:
    """The grid, grown by whole voxels until it holds the head and neck: what is outside the picture has a field too."""
    depth, affine = _depth()
    inside = _outside_head(torch.from_numpy(depth), positions(Grid.of(depth.shape, affine))) < 2
    points = np.stack(np.nonzero(inside.numpy()), axis=1)[::7] @ affine[:3, :3].T + affine[:3, 3]
    voxels = np.linalg.inv(grid.matrix) @ person.pose @ np.c_[points, np.ones(len(points))].T
    low = np.minimum(np.floor(voxels[:3].min(axis=1)), 0).astype(int)
    high = np.maximum(np.ceil(voxels[:3].max(axis=1)), np.array(grid.shape) - 1).astype(int)
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    return Grid.of(high - low + 1, matrix)


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
    depth, texture = sample(both, coarse, grid, person.pose, "border")

    def paint(tissue: Tissue, share: Tensor, where: Where = (slice(None),) * 3) -> None:
        for level, value in zip(maps, _numbers(tissue, person, field_strength), strict=True):
            level[where] += share * (value - level[where])
        labels[where] = torch.where(share > 0.5, tissue.label, labels[where])

    def paint_shapes(several: list[shapes.Ellipsoid], where_not: Tensor | None = None) -> None:
        for shape in several:
            where, share = ellipsoid_share(shape, grid, person.pose, voxel)
            paint(TISSUES[shape.tissue], share if where_not is None else share * ~where_not[where], where)

    def paint_tubes(several: list[shapes.Tube], where_not: Tensor | None = None) -> None:
        for tube in several:
            where, share = tube_share(tube, grid, person.pose, voxel)
            paint(TISSUES[tube.tissue], share if where_not is None else share * ~where_not[where], where)

    skin = _outside_head(depth, positions(grid, person.pose))
    paint(TISSUES["muscle"], edge(skin, voxel))
    paint(TISSUES["bone"], edge(depth - SKULL, voxel))
    paint(TISSUES["CSF"], edge(depth - DURA, voxel))
    paint_tubes(_spine())
    brain = _paint_brain(maps, labels, grid, person, field_strength)
    paint_shapes(shapes.both_sides(shapes.CAVITIES), (depth <= 4) | (skin >= -4))
    del skin
    paint_tubes([shapes.tube("air", stations) for stations in shapes.AIRWAYS])
    fluid = labels == TISSUES["CSF"].label
    paint_tubes([shapes.tube("caudate", part) for part in (shapes.CAUDATE, shapes.mirrored(shapes.CAUDATE))], fluid)
    paint_shapes(shapes.both_sides(shapes.NUCLEI), fluid)
    paint_tubes(shapes.veins(depth_map, coarse, np.random.default_rng([person.body, 2])))
    if calcification:
        paint_shapes([shapes.CALCIFICATION])
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
    found = torch.zeros(grid.shape, dtype=torch.bool)
    window, part = overlap(grid, person.pose @ affine, channels.shape[1:])
    if 0 in part.shape:
        return found
    grey, white, inside = sample(channels, affine, part, person.pose, "zeros")
    fluid = (1 - grey - white).clamp_(min=0)
    # the average of 152 brains is blurred: a power of the shares makes it one brain again
    shares = [white.mul_(_WHITE).pow_(3), grey.pow_(3), fluid.pow_(3)]
    total = shares[0] + shares[1] + shares[2]
    tissues = [TISSUES[name] for name in ("white matter", "grey matter", "CSF")]
    brain = inside > 0.5
    lead = torch.maximum(shares[1], shares[2])
    drawn = labels[window]
    drawn[brain & (shares[0] >= lead)] = tissues[0].label
    drawn[brain & (shares[0] < lead) & (shares[1] >= shares[2])] = tissues[1].label
    drawn[brain & (shares[2] >= lead) & (shares[2] > shares[0])] = tissues[2].label
    outside = 1 - inside
    inside /= total
    for share in shares:
        share *= inside
    for number, level in enumerate(maps):
        level[window] *= outside
        for share, tissue in zip(shares, tissues, strict=True):
            level[window].add_(share, alpha=_numbers(tissue, person, field_strength)[number])
    found[window] = brain
    return found
