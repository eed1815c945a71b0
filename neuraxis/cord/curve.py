"""The cord's own coordinates: arc length upwards, distance to the front, distance to the left; from them to voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_BEND_MM = 5.0
"""Standard deviation (mm) with which the tangent is smoothed: a frame that shakes tears the picture."""

_END_MM = 20.0
"""Length of either end whose direction, by least squares, is that of the straight extension."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points along a cord at even steps of arc length, each with its own upright frame.

    All arrays in mm of the upright frame (voxel index times voxel size), rows from the feet to the head.
    """

    arc: Array
    """(N,) arc length, 0 at the lowest slice of the cord; negative and beyond its length where it was extended."""
    centre: Array
    """(N, 3) points of the centerline."""
    up: Array
    """(N, 3) unit tangents."""
    front: Array
    """(N, 3) unit vectors to the front, square to the tangent."""
    left: Array
    """(N, 3) unit vectors to the left."""
    voxel_size: Array
    """(3,) of the upright frame; mm."""

    def sample(self, upright: Volume, along: Array, front: Array, left: Array) -> Array:
        """Linear interpolation of an upright volume at rows `along` and offsets (mm) that broadcast; NaN outside it."""
        from scipy.ndimage import map_coordinates

        along, front, left = np.broadcast_arrays(along, front, left)
        points = self.centre[along] + front[..., None] * self.front[along] + left[..., None] * self.left[along]
        places = np.moveaxis(points / self.voxel_size, -1, 0)
        bounds = np.array(upright.data.shape[:3]).reshape(3, *[1] * along.ndim)
        inside = ((places >= -0.5) & (places <= bounds - 0.5)).all(axis=0)
        values = map_coordinates(upright.data, places, order=1, mode="nearest", output=np.float32)
        return np.where(inside, values, np.float32(np.nan))


def curve_of(upright: Volume, centerline: Table, *, step: float = 0.5, extend: float = 0.0) -> Curve:
    """The curve of a centerline in an upright volume, straight on by `extend` mm beyond both ends."""
    from scipy.ndimage import gaussian_filter1d

    size = np.array(upright.grid.voxel_size)
    points = np.stack([centerline["x"], centerline["y"], centerline["slice"]], axis=1) * size
    if len(points) == 0:
        raise ValueError("the centerline is empty")
    if len(points) == 1:  # one thick slice: its axis is taken as upright, half a slice to either side
        points = points + np.array([[0, 0, -0.5], [0, 0, 0.5]]) * size[2]
    points = points[np.argsort(points[:, 2])]
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    arc = np.arange(0.0, lengths[-1] + 1e-6, step)
    centre = np.stack([np.interp(arc, lengths, axis) for axis in points.T], axis=1)
    sigma = min(_BEND_MM, lengths[-1] / 6) / step
    up = gaussian_filter1d(np.gradient(centre, axis=0) if len(arc) > 1 else np.array([[0, 0, 1.0]]), sigma, axis=0)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    more = round(extend / step)
    if more:
        steps = step * np.arange(1, more + 1)[:, None]
        part = min(round(_END_MM / step) + 1, len(arc))
        low, high = (_direction(one) for one in (centre[:part], centre[-part:]))
        centre = np.concatenate([centre[0] - steps[::-1] * low, centre, centre[-1] + steps * high])
        up = np.concatenate([np.repeat(low[None], more, axis=0), up, np.repeat(high[None], more, axis=0)])
        arc = np.concatenate([arc[0] - steps[::-1, 0], arc, arc[-1] + steps[:, 0]])
    front = np.array([0.0, 1.0, 0.0]) - up[:, 1:2] * up
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    return Curve(arc, centre, up, front, np.cross(up, front) * -1.0, size)


def areas_along(curve: Curve, mask: Volume) -> Array:
    """Area of the cord across itself at every row; mm2, NaN where there is none."""
    x, y, _ = curve.voxel_size
    flat = np.clip(mask.data, 0, 1).sum(axis=(0, 1)) * x * y
    slices = curve.centre[:, 2] / curve.voxel_size[2]
    found = np.interp(slices, np.arange(len(flat)), flat, left=0, right=0) * curve.up[:, 2]
    return np.where(found > 1.0, found, np.nan)


def _direction(points: Array) -> Array:
    """Unit vector of a straight line through points that follow each other."""
    place = np.arange(len(points)) - (len(points) - 1) / 2
    slope = (place[:, None] * points).sum(axis=0)
    return np.asarray(slope / np.linalg.norm(slope))
