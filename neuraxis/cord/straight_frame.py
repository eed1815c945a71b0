"""Coordinates along and across a curved centerline: the way between the body and a frame in which the cord is straight."""

from __future__ import annotations

from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

BEYOND = 10.0
"""How far past its two ends the centerline is continued as a straight line; mm."""

_STEP = 0.2
"""Distance of the points by which a centerline is stored; mm."""

_SMOOTHING = 3.0
"""Standard deviation with which a centerline is smoothed along itself: one slice half a voxel off would tear the sections
apart. A bend of radius R is flattened by the square of this over 2 R, 0.05 mm at 100 mm; mm."""

_LEAST_STRETCH = 0.1
"""Sections of a bent cord draw together on the inner side; past the centre of the bend they cross. Closer than this share
of their distance on the centerline, a point is called invalid."""

_BLOCK = 100_000
"""Points that are worked on at once, so that little memory is needed."""

_ROUNDS = 6
"""Steps of Newton's method to the nearest point of the centerline."""


@dataclass(frozen=True, eq=False)
class Straightening:
    """The way between the curved body and a frame in which the cord is a straight line, both in RAS+ mm.

    A straight point (a, b, t) from `origin` along `axes` is the curved point

        p = C(s) + a e1(s) + b e2(s),   t = f(s)

    where C is the centerline, smoothed over 3 mm, by its arc length s, e1 and e2 are the axes to the left and to the front, turned by the smallest
    rotation that takes the upward axis into the direction of the centerline, and f is the identity or, between discs, linear.

    Parameters
    ----------
    axes
        Columns are the directions to the left, to the front and upwards; orthonormal, (3, 3).
    origin
        Place of the middle of the centerline, which stays where it is; mm, (3,).
    curve
        Rows for every 0.2 mm of arc length, ends continued: C, e1, e2, tangent, curvature vector; mm, 1 and 1/mm, (N, 15).
    start
        Arc length of the first row; mm.
    knots
        Arc lengths (first row) and what they become (second row); mm, (2, K), both rising.
    ends
        Arc lengths of the two ends of the centerline as it was given; mm.
    """

    axes: Array
    origin: Array
    curve: Array
    start: float
    knots: Array
    ends: tuple[float, float]

    @classmethod
    def of(cls, centerline: Table, grid: Grid) -> Straightening:
        """From a centerline (columns x_mm, y_mm, z_mm, from below upwards) and the grid of its image, which gives the axes."""
        points = np.stack([np.asarray(centerline[name], dtype=float) for name in ("x_mm", "y_mm", "z_mm")], axis=1)
        if len(points) < 2:
            raise ValueError(f"a centerline of {len(points)} slice(s) has no direction: at least two are needed")
        if not np.isfinite(points).all():
            raise ValueError("the centerline has places that are not finite")
        axes = _upright_axes(grid)
        if not (np.diff(points @ axes[:, 2]) > 0).all():
            raise ValueError("the centerline does not run upwards from slice to slice")
        curve, length = _curve(points, axes)
        knots = np.array([[0.0, length], [-length / 2, length / 2]])
        origin = np.array(
            [np.interp(length / 2, -BEYOND + _STEP * np.arange(len(curve)), row) for row in curve[:, :3].T]
        )
        return cls(axes, origin, curve, -BEYOND, knots, (0.0, length))

    def matched(self, arcs: Array, targets: Array) -> Straightening:
        """The same, but with arc lengths `arcs` brought to `targets` (mm, up to a shift), the pieces between them stretched."""
        order = np.argsort(arcs)
        arcs, targets = np.asarray(arcs, float)[order], np.asarray(targets, float)[order]
        if len(arcs) < 2 or (np.diff(arcs) <= 0).any() or (np.diff(targets) <= 0).any():
            raise ValueError("at least two discs are needed, in the same order in image and destination")
        middle = np.interp(sum(self.ends) / 2, arcs, targets)
        return Straightening(
            self.axes, self.origin, self.curve, self.start, np.stack([arcs, targets - middle]), self.ends
        )

    def by_slices(self) -> Straightening:
        """The same centerline, with the image's own slices as sections: for images that are too coarse along the cord to be cut anew."""
        along = np.concatenate([self.axes[:, 0], self.axes[:, 1], self.axes[:, 2], np.zeros(3)])
        curve = np.concatenate([self.curve[:, :3], np.broadcast_to(along, (len(self.curve), 12))], axis=1)
        return Straightening(self.axes, self.origin, curve, self.start, self.knots, self.ends)

    def to_curved(self, points: Array) -> Array:
        """Straight points (N, 3) in the body; mm."""
        a, b, t = ((np.asarray(points, dtype=float) - self.origin) @ self.axes).T
        return self.section(a, b, _along(t, self.knots[1], self.knots[0]))

    def to_straight(self, points: Array) -> Array:
        """Points of the body (N, 3) in the straight frame; mm."""
        a, b, arc, _ = self.foot(points)
        t = _along(arc, self.knots[0], self.knots[1])
        return np.stack([a, b, t], axis=1) @ self.axes.T + self.origin

    def section(self, a: Array, b: Array, arc: Array) -> Array:
        """The points at `a` to the left and `b` to the front of the centerline at arc lengths; mm, (N, 3)."""
        rows, past = self._rows(arc, self.curve[:, 0:9])
        found = rows[:, 0:3] + a[:, None] * rows[:, 3:6] + b[:, None] * rows[:, 6:9]
        for end, tangent in ((past < 0, self.curve[0, 9:12]), (past > 0, self.curve[-1, 9:12])):
            found[end] += past[end, None] * tangent
        return found

    def foot(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """Left, front and arc length of points (N, 3), and by how much sections stretch there (below 0: they cross).

        The section that holds a point is found by Newton's method on (p - C(s)) . C'(s) = 0, from the height of the point.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 3)
        if len(points) > _BLOCK:
            parts = [self.foot(points[start : start + _BLOCK]) for start in range(0, len(points), _BLOCK)]
            a, b, arc, stretch = (np.concatenate(one) for one in zip(*parts, strict=True))
            return a, b, arc, stretch
        height = self.curve[:, :3] @ self.axes[:, 2]
        arc = self.start + _STEP * np.interp(points @ self.axes[:, 2], height, np.arange(len(height)))
        open_ = np.arange(len(points))  # those that have not arrived
        for _ in range(_ROUNDS):
            rows, past = self._rows(arc[open_], self.curve)
            away = points[open_] - rows[:, 0:3]
            stretch = 1 - np.einsum("ij,ij->i", away, rows[:, 12:15])
            step = (np.einsum("ij,ij->i", away, rows[:, 9:12]) - past) / np.maximum(stretch, 0.3)
            arc[open_] += step
            open_ = open_[np.abs(step) > 1e-6]
            if not len(open_):
                break
        rows, _ = self._rows(arc, self.curve)
        away = points - rows[:, 0:3]
        a, b = np.einsum("ij,ij->i", away, rows[:, 3:6]), np.einsum("ij,ij->i", away, rows[:, 6:9])
        stretch = 1 - np.einsum("ij,ij->i", away, rows[:, 12:15])
        stretch[open_] = -1  # no section holds such a point
        return a, b, arc, stretch

    def grid(self, width: float, voxel_size: tuple[float, float, float]) -> Grid:
        """An upright (left, front, up) grid of the straight frame that holds the centerline in its middle."""
        low, high = _along(np.array([self.ends[0] - BEYOND, self.ends[1] + BEYOND]), *self.knots)
        size = np.array(voxel_size)
        half = np.ceil(np.array([width / 2, width / 2]) / size[:2] - 0.5).astype(int)
        shape = (*(2 * half + 1), max(int((high - low) / size[2] + 1e-6) + 1, 1))
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * size
        matrix[:3, 3] = self.origin + self.axes @ np.array([*(-half * size[:2]), low])
        return Grid.of(shape, matrix)

    def curved_field(self, grid: Grid) -> Volume:
        """On a grid of the straight frame: displacement to the body, in RAS+ mm (..., 3); NaN where sections cross."""
        steps = [np.arange(n)[:, None] * grid.matrix[:3, axis] @ self.axes for axis, n in enumerate(grid.shape)]
        corner = (grid.matrix[:3, 3] - self.origin) @ self.axes
        a, b, t = (step[:, axis] + corner[axis] for axis, step in enumerate(steps))
        rows, past = self._rows(_along(t, self.knots[1], self.knots[0]), self.curve)
        a, b = a[:, None, None, None], b[None, :, None, None]
        field = a * rows[:, 3:6] + b * rows[:, 6:9] + rows[:, 0:3]
        left, front = (np.einsum("ij,ij->i", rows[:, n : n + 3], rows[:, 12:15]) for n in (3, 6))
        inward = a[..., 0] * left + b[..., 0] * front
        field -= centres(grid).reshape(field.shape)
        field[(1 - inward <= _LEAST_STRETCH) | (np.abs(past) > 0.5 * _STEP)] = np.nan
        return Volume(field.astype(np.float32), grid)

    def straight_field(self, grid: Grid, width: float) -> Volume:
        """On a grid in the body: displacement to the straight frame, in RAS+ mm (..., 3); NaN away from the cord."""
        field = np.full((*grid.shape, 3), np.nan, np.float32)
        voxels, a, b, arc = self.region(grid, width)
        straight = np.stack([a, b, _along(arc, *self.knots)], axis=1) @ self.axes.T + self.origin
        field[tuple(voxels.T)] = straight - places(grid, voxels)
        return Volume(field, grid)

    def region(self, grid: Grid, width: float) -> tuple[Array, Array, Array, Array]:
        """Voxels (N, 3) within `width` across the cord or its continuation, and their left, front and arc length; mm."""
        near = self.near(grid, width)
        a, b, arc, stretch = self.foot(places(grid, near))
        kept = (np.maximum(np.abs(a), np.abs(b)) <= width / 2) & (stretch > _LEAST_STRETCH)
        kept &= (arc >= self.ends[0] - BEYOND) & (arc <= self.ends[1] + BEYOND)
        return near[kept], a[kept], b[kept], arc[kept]

    def near(self, grid: Grid, width: float) -> Array:
        """Voxels (N, 3) of a grid in the body that may lie within `width` across the centerline or its continuation."""
        reach = width / np.sqrt(2) + 2 * _STEP
        inverse = np.linalg.inv(grid.matrix)
        # a chain of balls every few mm, each within its box of voxels
        stride = max(int(reach / 3 / _STEP), 1)
        centres = np.concatenate([self.curve[::stride, :3], self.curve[-1:, :3]])
        half = np.linalg.norm(inverse[:3, :3], axis=1) * (reach + stride * _STEP / 2)
        marked = np.zeros(grid.shape, bool)
        for centre in centres @ inverse[:3, :3].T + inverse[:3, 3]:
            low = np.maximum(np.ceil(centre - half), 0).astype(int)
            high = np.maximum(np.floor(centre + half) + 1, 0).astype(int)
            marked[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
        return np.argwhere(marked)

    def _rows(self, arc: Array, table: Array) -> tuple[Array, Array]:
        """Rows of columns of the stored curve at arc lengths, and how far these lie past its two ends; mm."""
        at = (arc - self.start) / _STEP
        held = np.clip(at, 0, len(table) - 1)
        low = np.minimum(held.astype(np.int32), len(table) - 2)
        rows = np.take(np.diff(table, axis=0), low, axis=0)
        rows *= (held - low)[:, None]
        rows += np.take(table, low, axis=0)
        return rows, (at - held) * _STEP


def _upright_axes(grid: Grid) -> Array:
    """Orthonormal directions to the left, to the front and upwards that fit the axes of a grid best; columns, (3, 3)."""
    upright = Volume(np.broadcast_to(np.int8(0), grid.shape), grid).oriented("LAS").grid
    left, _, right = np.linalg.svd(upright.matrix[:3, :3] / np.array(upright.voxel_size))
    return left @ right


def _curve(points: Array, axes: Array) -> tuple[Array, float]:
    """Rows of the stored curve (see `Straightening`) through points, and the length between its ends; mm."""
    at = _arc(points)
    spline = scipy.interpolate.make_interp_spline(at, points, k=min(len(points) - 1, 3))
    dense = np.linspace(0, at[-1], max(int(at[-1] / 0.05), 2) + 1)
    arc = _arc(spline(dense))
    # evenly spaced, with straight ends, and smoothed
    reach = BEYOND + 5 * _SMOOTHING
    steps = -reach + _STEP * np.arange(int(np.ceil((arc[-1] + 2 * reach) / _STEP)) + 1)
    inside = np.clip(steps, 0, arc[-1])
    where = np.interp(inside, arc, dense)
    slope = spline(where, 1)
    rough = spline(where) + (steps - inside)[:, None] * slope / np.linalg.norm(slope, axis=1, keepdims=True)
    smooth = scipy.ndimage.gaussian_filter1d(rough, _SMOOTHING / _STEP, axis=0, mode="nearest")
    travelled = _arc(smooth)
    travelled -= np.interp(0.0, steps, travelled)
    length = float(np.interp(arc[-1], steps, travelled))
    arc = -BEYOND + _STEP * np.arange(int(np.ceil((length + 2 * BEYOND) / _STEP)) + 1)
    place = scipy.interpolate.make_interp_spline(travelled, smooth, k=3)(arc)
    tangent = np.gradient(place, _STEP, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    bend = np.gradient(tangent, _STEP, axis=0)
    if (tangent @ axes[:, 2] <= 0.1).any():
        raise ValueError("the centerline turns away from the upward axis by more than 84 degrees")
    left, front = (_turned(axes[:, n], axes[:, 2], tangent) for n in (0, 1))
    return np.concatenate([place, left, front, tangent, bend], axis=1), length


def _arc(points: Array) -> Array:
    """Length of a line through points from the first to each; mm, (N,)."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def _turned(vector: Array, up: Array, tangent: Array) -> Array:
    """A vector after the smallest rotation that takes `up` into each tangent (Rodrigues' formula); (N, 3)."""
    axis = np.cross(up, tangent)
    once = np.cross(axis, vector)
    return vector + once + np.cross(axis, once) / (1 + tangent @ up)[:, None]


def _along(values: Array, known: Array, wanted: Array) -> Array:
    """Linear between known values, which become the wanted ones; past them lengths stay what they are."""
    values = np.asarray(values, dtype=float)
    past = values - np.clip(values, known[0], known[-1])
    return np.interp(values, known, wanted) + past


def centres(grid: Grid) -> Array:
    """Centres of all voxels of a grid, in the order of its data; RAS+ mm, (N, 3)."""
    steps = [np.arange(n) for n in grid.shape]
    matrix = grid.matrix
    x, y, z = (step[:, None] * matrix[:3, n] for n, step in enumerate(steps))
    return (x[:, None, None] + y[None, :, None] + z[None, None, :] + matrix[:3, 3]).reshape(-1, 3)


def places(grid: Grid, voxels: Array) -> Array:
    """Centres of voxels (N, 3) of a grid; RAS+ mm, (N, 3)."""
    return voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]


class Sampler:
    """Values of an image between its voxels, by splines of order 0, 1 or 3; outside the field of view there are none."""

    def __init__(self, image: Volume, order: int) -> None:
        data = image.data if order == 0 else image.data.astype(np.float32)
        self.order, self.grid = order, image.grid
        self.coefficients = scipy.ndimage.spline_filter(data, order, output=np.float32) if order > 1 else data
        self.inverse = np.linalg.inv(image.grid.matrix)

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """Values at points (N, 3; RAS+ mm), 0 outside, and whether they lie within half a voxel of the grid."""
        at = (points @ self.inverse[:3, :3].T + self.inverse[:3, 3]).T
        last = np.array(self.grid.shape)[:, None] - 1
        inside = np.all((at >= -0.5) & (at <= last + 0.5), axis=0)
        found = np.zeros(len(points), self.coefficients.dtype)
        clipped = np.clip(at[:, inside], 0, last)
        found[inside] = scipy.ndimage.map_coordinates(
            self.coefficients, clipped, order=self.order, prefilter=False, mode="mirror"
        )
        return found, inside
