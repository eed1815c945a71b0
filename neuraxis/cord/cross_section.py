"""Geometry of one cross-section of the cord, seen along the cord: outline, diameters, quadrants, symmetry."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuraxis.volume import Array

_FINE = 0.1
"""Pixel of the finely sampled section; mm (SCT's)."""

_MOST_PIXELS = 400
"""Per axis: a section wider than 40 mm is sampled more coarsely."""

_WHOLE = 0.9
"""Share of the region that its largest part must hold for diameters to mean something."""

_CERTAIN = 0.05
"""Closer than this to 0 or 1, a soft value counts as certain."""

_COHERENT = 1.0
"""Area over which errors of the boundary go together; mm2, about the resolution of cord images."""


@dataclass(frozen=True)
class Section:
    """The cord of one slice as a plane across the cord would cut it; mm, x to the left, y to the front.

    A plane that the cord crosses at an angle t to its normal shows it stretched by 1/cos(t) in the direction u of the tilt.
    Positions are mapped by p -> p - (1 - cos t)(p.u)u, which is the exact projection along the cord.
    """

    position: Array
    """(2, N), of all pixels with cord."""
    value: Array
    """(N,), soft value of each pixel."""
    region: Array
    """(rows, columns) bool: the largest part above 0.5, on the pixels of the slice."""
    squeeze: Array
    """2 x 2, slice -> section."""
    pixel: tuple[float, float]
    """Of the slice; mm."""
    area: float
    """mm2, of all soft values."""
    parts: int
    holes: int
    largest: float
    """Share of the region that is in its largest part."""
    hull: Array
    """(M, 2), the convex outline of the region."""

    @property
    def shaped(self) -> bool:
        """Whether this is one cross-section, so that its diameters mean something."""
        return self.largest >= _WHOLE

    @property
    def region_area(self) -> float:
        """Area of the region; mm2."""
        return float(np.count_nonzero(self.region) * math.prod(self.pixel) * np.linalg.det(self.squeeze))

    def moments(self) -> tuple[Array, Array]:
        """Centroid and 2 x 2 covariance of the region; mm, mm2."""
        x, y = (one * size for one, size in zip(np.nonzero(self.region), self.pixel, strict=True))
        middle = np.array([x.mean(), y.mean()])
        x, y = x - middle[0], y - middle[1]
        xx, xy, yy = (float((one * other).mean()) for one, other in ((x, x), (x, y), (y, y)))
        spread = np.array([[xx, xy], [xy, yy]]) + np.diag(np.square(self.pixel)) / 12
        return self.squeeze @ middle, self.squeeze @ spread @ self.squeeze.T

    def hull_moments(self) -> tuple[float, Array, Array]:
        """Area, centroid and covariance of the convex outline, by Green's theorem; mm2, mm, mm2."""
        a = self.hull - self.hull.mean(axis=0)
        b = np.roll(a, -1, axis=0)
        cross = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
        area = cross.sum() / 2
        centroid = (cross @ (a + b)) / (6 * area)
        second = np.einsum("n,ni,nj->ij", cross, a, a) * 2 + np.einsum("n,ni,nj->ij", cross, b, b) * 2
        mixed = np.einsum("n,ni,nj->ij", cross, a, b)
        spread = (second + mixed + mixed.T) / (24 * area) - np.outer(centroid, centroid)
        return abs(float(area)), centroid + self.hull.mean(axis=0), spread

    def turned(self, center: Array, axis: float) -> tuple[Array, Array]:
        """Left and front coordinate of every pixel from `center`, along axes turned by `axis` (rad)."""
        x, y = self.position - center[:, None]
        return math.cos(axis) * x + math.sin(axis) * y, math.cos(axis) * y - math.sin(axis) * x

    def depth(self, center: Array, axis: float, strip: float) -> tuple[float, float]:
        """Tissue in front of and behind `center`: mean over a strip of that width (mm) around the midline; mm."""
        left, front = self.turned(center, axis)
        weight = self._weight() * _ramp(strip / 2 - np.abs(left))
        ahead = _ramp(front)
        return _total(weight, ahead) / strip, _total(weight, 1 - ahead) / strip

    def quadrants(self, center: Array, axis: float) -> Array:
        """[front, back][left, right]: their areas; mm2."""
        left, front = (_ramp(one) for one in self.turned(center, axis))
        weight = self._weight()
        return np.array([[_total(weight, f * s) for s in (left, 1 - left)] for f in (front, 1 - front)])

    def symmetry(self, center: Array, axis: float) -> tuple[float, float]:
        """Dice of the region with its mirror image, left to right and front to back."""
        to_section = self.squeeze * self.pixel  # of pixel indices
        to_pixel = np.linalg.inv(to_section)
        turn = np.array([[math.cos(axis), math.sin(axis)], [-math.sin(axis), math.cos(axis)]])
        i, j = (one.astype(np.float32) for one in np.nonzero(self.region))
        framed = np.pad(self.region, 1)  # what lies beyond the patch is not cord
        found = []
        for flip in ((-1, 1), (1, -1)):
            mirror = turn.T @ np.diag(flip) @ turn
            matrix, offset = to_pixel @ mirror @ to_section, to_pixel @ (center - mirror @ center)
            rows, columns = (
                np.clip(np.rint(m[0] * i + m[1] * j + (o + 1)), 0, n - 1).astype(np.intp)
                for m, o, n in zip(matrix.astype(np.float32), offset.tolist(), framed.shape, strict=True)
            )
            found.append(np.count_nonzero(framed[rows, columns]) / len(i))
        return found[0], found[1]

    def _weight(self) -> Array:
        """Area of each pixel that is cord; mm2."""
        return self.value * (self.area / self.value.sum(dtype=np.float64))


def _ramp(distance: Array) -> Array:
    """1 inside, 0 outside, and the share of a pixel between: an edge has no jumps."""
    return np.clip(distance / _FINE + 0.5, 0, 1)


def _total(weight: Array, share: Array) -> float:
    """Sum of products, without the threads of a BLAS: they cost more than a section has to give."""
    return float(np.einsum("i,i->", weight, share))


def section_of(patch: Array, voxel: tuple[float, float], slope: tuple[float, float]) -> Section:
    """The section of a patch of one slice that holds all its cord.

    `voxel` is the size of its voxels (mm), `slope` the tilt of the cord: mm to the left and to the front per mm upwards.
    """
    from scipy.ndimage import label

    cosine = 1 / math.sqrt(1 + slope[0] ** 2 + slope[1] ** 2)
    direction = np.array(slope) / (math.hypot(*slope) or 1)
    squeeze = np.eye(2) - (1 - cosine) * np.outer(direction, direction)
    fine, pixel = _magnified(np.pad(patch, 1), voxel)
    labels, parts = label(fine > 0.5, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=2)[1:]
    region = labels == 1 + int(sizes.argmax()) if parts else np.zeros_like(labels, dtype=bool)
    filled = np.nonzero(fine > 1e-6)
    (a, b), (c, d) = (squeeze * pixel).tolist()
    return Section(
        position=np.stack([a * filled[0] + b * filled[1], c * filled[0] + d * filled[1]]),
        value=fine[filled],
        region=region,
        squeeze=squeeze,
        pixel=pixel,
        area=float(patch.sum(dtype=np.float64)) * voxel[0] * voxel[1] * cosine,
        parts=parts,
        holes=label(~region)[1] - 1 if parts else 0,
        largest=float(sizes.max() / sizes.sum()) if parts else 0.0,
        hull=_hull(region) * pixel @ squeeze.T if parts else np.zeros((0, 2)),
    )


def _magnified(patch: Array, voxel: tuple[float, float]) -> tuple[Array, tuple[float, float]]:
    """Linear interpolation on fine pixels that fill the same field of view, and their size; the rim is zero."""
    fine, sizes = patch.astype(np.float32), []
    for number, size in zip(patch.shape, voxel, strict=True):
        many = max(number, min(round(number * size / _FINE), _MOST_PIXELS))
        at = np.clip((np.arange(many) + 0.5) * number / many - 0.5, 0, number - 1)
        low = np.minimum(at.astype(int), number - 2)
        share = (at - low).astype(np.float32)[:, None]
        fine = (fine[low] * (1 - share) + fine[low + 1] * share).T  # each axis in turn: twice transposed is as before
        sizes.append(number * size / many)
    return fine, (sizes[0], sizes[1])


def _hull(region: Array) -> Array:
    """Corners of the convex outline of a region, counter-clockwise; pixel edges count to it."""
    from scipy.spatial import ConvexHull

    rows = np.flatnonzero(region.any(axis=1))
    first, last = region[rows].argmax(axis=1), region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.column_stack([rows, one]) for one in (first, last)])
    edges = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (ends[:, None, :] + edges).reshape(-1, 2)
    return points[ConvexHull(points).vertices]


def boundary_error(patch: Array, voxel: tuple[float, float]) -> float:
    """Standard error of the area inside a soft outline, in the plane of the slice; mm2.

        error^2 = sum over soft voxels of p (1 - p) * a * max(a, 1 mm2)  +  sum over hard edges of a^2 / 12

    with a the area of a voxel. A voxel with 0.05 < p < 0.95 is cord with probability p, and neighbours within 1 mm2 err
    together, so that finer voxels of one outline state the same error. An edge between two certain voxels says nothing about
    the share of cord beside it: the error of rounding it to a voxel is evenly spread.
    """
    a = voxel[0] * voxel[1]
    p = np.pad(patch.astype(np.float64), 1)
    soft = (p > _CERTAIN) & (p < 1 - _CERTAIN)
    sure = np.where(p >= 1 - _CERTAIN, 1, np.where(p <= _CERTAIN, -1, 0))
    edges = sum(
        np.count_nonzero(one * other < 0) for one, other in ((sure[1:], sure[:-1]), (sure[:, 1:], sure[:, :-1]))
    )
    return math.sqrt(float((p * (1 - p))[soft].sum()) * a * max(a, _COHERENT) + edges * a * a / 12)
