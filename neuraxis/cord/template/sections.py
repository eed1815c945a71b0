"""Sections across a cord, each beside the section of PAM50 at the same height."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.straight_frame import Straightening
from neuraxis.cord.vertebrae import PAM50_SLICE_MM
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

_FAR = 1000.0
"""How far the scale of the cord's length goes on past the outermost landmarks; mm."""

_CENTRE_MM = 5.0
"""Standard deviation with which the centre of the template's cord is smoothed along it; mm."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The line through the middle of the template's cord.

    Height is the distance above the template's lowest slice, 0.5 mm for each slice. A section's two axes run to the left and to the front.
    """

    origin: Array
    """Place of the middle of the template's lowest slice; RAS+ mm, (3,)."""
    centre: Array
    """To the left and to the front of the origin, for each slice; mm, (N, 2)."""
    ends: tuple[float, float]
    """Heights between which the template has a cord; mm."""

    @classmethod
    def of(cls, pam50_cord: Volume) -> Axis:
        """Of the template's cord, on a grid (left, front, up) that begins at its lowest slice.

        ValueError: it lies otherwise, or marks nothing.
        """
        grid = pam50_cord.grid
        turned = grid.matrix[:3, :3] / np.array(grid.voxel_size)
        if not np.allclose(turned, np.diag([-1, 1, 1]), atol=1e-3) or abs(grid.voxel_size[2] - PAM50_SLICE_MM) > 1e-3:
            raise ValueError("the template's voxels must run to the left, to the front and upwards, with slices of 0.5 mm")
        shares = np.asarray(pam50_cord.data, float)
        mass = shares.sum(axis=(0, 1))
        filled = np.flatnonzero(mass > 0)
        if len(filled) < 2:
            raise ValueError("the template's cord is empty")
        centre = np.stack([(shares.sum(axis=1 - axis).T @ np.arange(grid.shape[axis]))[filled] / mass[filled] for axis in (0, 1)], axis=1)
        smooth = scipy.ndimage.gaussian_filter1d(centre * np.array(grid.voxel_size[:2]), _CENTRE_MM / PAM50_SLICE_MM, axis=0, mode="nearest")
        at = np.arange(len(mass))
        whole = np.stack([np.interp(at, filled, column) for column in smooth.T], axis=1)
        return cls(grid.matrix[:3, 3], whole, (filled[0] * PAM50_SLICE_MM, filled[-1] * PAM50_SLICE_MM))

    def to_template(self, left: Array, front: Array, height: Array) -> Array:
        """Places in the template; RAS+ mm, (N, 3)."""
        x, y = self._middle(height)
        return self.origin + np.stack([-(x + left), y + front, height], axis=-1)

    def from_template(self, points: Array) -> tuple[Array, Array, Array]:
        """Left, front and height of places in the template (N, 3); mm."""
        away = points - self.origin
        x, y = self._middle(away[..., 2])
        return -away[..., 0] - x, away[..., 1] - y, away[..., 2]

    def _middle(self, height: Array) -> tuple[Array, Array]:
        at, known = np.asarray(height) / PAM50_SLICE_MM, np.arange(len(self.centre))
        return np.interp(at, known, self.centre[:, 0]), np.interp(at, known, self.centre[:, 1])


@dataclass(frozen=True, eq=False)
class Sections:
    """The cord of an image cut into sections, which have heights in the template.

    `frame` leads from arc length to the body; `knots` (2, K) from arc length to height; `heights` (N,) are those of the sections that are
    looked at, rising. All in mm.
    """

    frame: Straightening
    knots: Array
    heights: Array

    @classmethod
    def of(cls, centerline: Table, grid: Grid, landmarks: Table, axis: Axis, across: bool, step: float) -> Sections:
        """Sections across the cord every `step` mm of height, or the image's own slices.

        ValueError: no landmark, landmarks out of order, or no part of the cord lies within the template.
        """
        frame = Straightening.of(centerline, grid)
        if not across:
            frame = frame.by_slices()
        knots = _knots(frame, landmarks)
        low, high = (float(np.interp(end, *knots)) for end in frame.ends)
        low, high = max(low, axis.ends[0]), min(high, axis.ends[1])
        if across:
            heights = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        else:
            points = np.stack([np.asarray(centerline[name], float) for name in ("x_mm", "y_mm", "z_mm")], axis=1)
            heights = np.interp(frame.foot(points)[2], *knots)
            heights = heights[(heights >= axis.ends[0]) & (heights <= axis.ends[1])]
        if len(heights) < 2:
            raise ValueError("the landmarks lay less than two sections of this cord within the template")
        return cls(frame, knots, heights)

    def number(self, height: Array) -> Array:
        """Which section lies at a height, between two with a fraction; those past the ends are the last ones."""
        return np.asarray(np.interp(height, self.heights, np.arange(len(self.heights))))

    def to_body(self, left: Array, front: Array, height: Array) -> Array:
        """Places in the body; RAS+ mm, (N, 3)."""
        return self.frame.section(left, front, np.interp(height, self.knots[1], self.knots[0]))

    def from_body(self, points: Array) -> tuple[Array, Array, Array]:
        """Left, front and height of places in the body (N, 3); mm."""
        left, front, arc, _ = self.frame.foot(points)
        return left, front, np.interp(arc, *self.knots)

    def kept(self, which: Array) -> Sections:
        """The same with some of its sections; between them all goes on from one to the next."""
        return Sections(self.frame, self.knots, self.heights[which])

    def near(self, grid: Grid, width: float, beyond: float) -> tuple[Array, Array, Array, Array]:
        """Voxels (N, 3) of a grid in the body within `width` across, up to `beyond` mm past the outermost sections; left, front, height."""
        voxels, left, front, arc = self.frame.region(grid, width)
        height = np.interp(arc, *self.knots)
        kept = (height >= self.heights[0] - beyond) & (height <= self.heights[-1] + beyond)
        return voxels[kept], left[kept], front[kept], height[kept]


def _knots(frame: Straightening, landmarks: Table) -> Array:
    """Arc lengths and heights between which lengths are linear; past the landmarks the mean scale goes on."""
    if len(landmarks) == 0:
        raise ValueError("no landmark tells where in the template the cord lies")
    points = np.stack([np.asarray(landmarks[name], float) for name in "xyz"], axis=1)
    arcs, heights = frame.foot(points)[2], np.asarray(landmarks["height"], float)
    order = _agreeing(arcs, heights)
    arcs, heights = arcs[order], heights[order]
    scale = (heights[-1] - heights[0]) / (arcs[-1] - arcs[0]) if len(arcs) > 1 else 1.0
    past = np.array([-_FAR, *np.zeros(len(arcs)), _FAR])
    return np.stack([np.pad(arcs, 1, mode="edge") + past, np.pad(heights, 1, mode="edge") + past * scale])


def _agreeing(arcs: Array, heights: Array) -> Array:
    """Landmarks, from below, that follow each other as in the template at a likely scale; the one that contradicts most others is left out.

    ValueError where nobody can tell which one is wrong.
    """
    order = np.argsort(heights, kind="stable")
    dropped = 0
    while True:
        apart = arcs[order][None, :] - arcs[order][:, None]
        scale = (heights[order][None, :] - heights[order][:, None]) / np.where(apart == 0, np.nan, apart)
        wrong = ~((scale >= _SCALES[0]) & (scale <= _SCALES[1]))
        np.fill_diagonal(wrong, False)
        if not wrong.any():
            break
        count = wrong.sum(axis=0)
        worst = np.flatnonzero(count == count.max())
        if len(worst) > 1:
            raise ValueError("the landmarks do not follow each other in the image as they do in the template")
        order, dropped = np.delete(order, worst[0]), dropped + 1
    if dropped:
        warnings.warn(f"{dropped} landmark(s) contradict the others by their place along the cord: left out", stacklevel=4)
    return order


_SCALES = (0.4, 2.5)
"""Least and largest length of a stretch of cord in the template, over that in the image: people differ by much less."""


class Shares:
    """Values of a volume at places, by linear interpolation; beyond it 0, or its border's where `held`."""

    def __init__(self, volume: Volume, held: bool = False) -> None:
        self._data = np.asarray(volume.data, np.float32)
        self._inverse = np.linalg.inv(volume.grid.matrix)
        self._mode = "nearest" if held else "grid-constant"

    def __call__(self, points: Array) -> Array:
        """(..., 3) RAS+ mm to (...)."""
        at = np.moveaxis(points @ self._inverse[:3, :3].T + self._inverse[:3, 3], -1, 0)
        return np.asarray(scipy.ndimage.map_coordinates(self._data, at, order=1, mode=self._mode))
