"""The course of a spinal cord through the neck, and the sizes of cord, grey matter and canal along it.

Along the cord, places are given as height in PAM50: half a millimetre per slice of the template, times the person's scale in
the body. Across it, u points to the right and v to the front, both from the centre of the cord in a plane orthogonal to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.vertebrae import PAM50_DISCS, PAM50_LEVELS, PAM50_SLICE_MM
from neuraxis.volume import Array

scipy = lazy.load("scipy")

HEIGHT = {disc: PAM50_SLICE_MM * place for disc, place in PAM50_DISCS.items() if disc <= 21}
"""Height of each disc in PAM50; mm."""

PMJ_ABOVE_C2C3 = 64.0
"""Distance of the pontomedullary junction from the disc C2/C3 along the cord; mm.
Bedard 2022, doi:10.3389/fnimg.2022.1031253"""

PMJ_HEIGHT = HEIGHT[3] + PMJ_ABOVE_C2C3

_STEP = 0.5
"""Distance of the points by which the curve is stored; mm."""

_SETTLED = 0.1
"""Newton's method ends when its last step was shorter; mm. What is left is the square of that over the radius of the bend."""

_LOWEST, _HIGHEST = HEIGHT[14], PMJ_HEIGHT + 60.0

_LEAN = (
    (_HIGHEST, 16.0), (PMJ_HEIGHT, 9.0), (HEIGHT[1], 0.0), (HEIGHT[3], -3.0), (HEIGHT[5], 2.0), (HEIGHT[6], 7.0),
    (HEIGHT[8], 20.0), (HEIGHT[9], 26.0), (HEIGHT[11], 28.0), (HEIGHT[13], 16.0), (_LOWEST, 12.0),
)  # fmt: skip
"""Height -> angle by which the cord leans to the front as it goes up, lying on the back; degrees. Plausible, not measured."""

_AREA = (
    (PMJ_HEIGHT, 150.0), (PMJ_HEIGHT - 8, 120.0), (PMJ_HEIGHT - 16, 82.0), (HEIGHT[1], 65.0),
    *((PAM50_SLICE_MM * sum(PAM50_LEVELS[n]) / 2, area) for n, area in
      enumerate((63.1, 63.6, 66.4, 72.7, 71.5, 63.5, 50.7, 44.2, 40.9, 39.0), start=1)),
)  # fmt: skip
"""Height -> area across the cord; mm2: the means over each level of the PAM50 cord (De Leener 2018,
doi:10.1016/j.neuroimage.2017.10.041), and a medulla above."""

_FLATNESS = (
    (PMJ_HEIGHT, 1.25), (HEIGHT[1], 1.3), (HEIGHT[2], 1.35), (HEIGHT[3], 1.45), (HEIGHT[4], 1.65), (HEIGHT[5], 1.80),
    (HEIGHT[6], 1.85), (HEIGHT[7], 1.80), (HEIGHT[8], 1.55), (HEIGHT[9], 1.35), (HEIGHT[10], 1.25), (_LOWEST, 1.2),
)  # fmt: skip
"""Height -> width over depth of the cord, flattest in the cervical enlargement. After Frostell 2016,
doi:10.3389/fneur.2016.00238"""

_CANAL = (
    (_HIGHEST, 22.0, 28.0), (HEIGHT[1], 18.0, 24.0), (HEIGHT[2], 15.5, 22.0), (HEIGHT[3], 13.5, 19.5),
    (HEIGHT[5], 12.6, 19.5), (HEIGHT[7], 12.4, 19.5), (HEIGHT[8], 12.6, 18.5), (HEIGHT[10], 13.0, 16.0),
    (_LOWEST, 13.0, 15.5),
)  # fmt: skip
"""Height -> depth and width of the dural sac; mm. Plausible, not measured."""

COMPRESSION_REACH = 4.5
"""How far a compression reaches along the cord (standard deviation of its profile); mm."""

_CANAL_CENTRE = -0.4
"""Place of the dural sac's centre from the cord's, to the front; mm."""


def along(knots: tuple, height: Array, column: int = 1) -> Array:
    """A smooth curve through (height, value, ...) knots without overshoot, level beyond its ends."""
    table = np.array(sorted(knots))
    curve = scipy.interpolate.PchipInterpolator(table[:, 0], table[:, column])
    return curve(np.clip(height, table[0, 0], table[-1, 0]))


class Sizes(NamedTuple):
    """Depth and width of the cord and of the dural sac, (N,) each; mm of the template."""

    cord_deep: Array
    cord_wide: Array
    canal_deep: Array
    canal_wide: Array


class Place(NamedTuple):
    """Where points lie (u to the right, v to the front, height) and what sizes cord and canal have there; (N,) each."""

    u: Array
    v: Array
    height: Array
    size: Sizes

    def part(self, chosen: Array) -> Place:
        """Some of the points."""
        return Place(self.u[chosen], self.v[chosen], self.height[chosen], Sizes(*(one[chosen] for one in self.size)))


@dataclass(frozen=True)
class Spine:
    """One person's cord: its curve in the body, and what lies across it.

    scale multiplies all lengths but the cord's own width and depth; area multiplies the cord's area; lordosis the bend of the
    neck; canal the canal's diameters; sway is the sideways lean in degrees; compression_height is where the cord is squeezed
    (None: nowhere) to 1 - compression_depth of its depth; origin is the place of disc C4/C5 in the scanner, mm.
    """

    scale: float = 1.0
    area: float = 1.0
    lordosis: float = 1.0
    canal: float = 1.0
    sway: float = 1.5
    compression_height: float | None = None
    compression_depth: float = 0.45
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _curve: Array = field(init=False, repr=False)
    _sizes: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arc = np.arange(_LOWEST * self.scale, _HIGHEST * self.scale, _STEP)
        height = arc / self.scale
        lean = np.radians(along(_LEAN, height)) * self.lordosis
        lean = scipy.ndimage.gaussian_filter1d(lean, 8 / _STEP)  # the knots of a piecewise cubic bend too sharply
        aside = np.radians(self.sway) * np.sin(2 * np.pi * (height - HEIGHT[5]) / 260)
        tangent = np.stack([np.sin(aside), np.sin(lean) * np.cos(aside), np.cos(lean) * np.cos(aside)], axis=1)
        place = scipy.integrate.cumulative_trapezoid(tangent, dx=_STEP, axis=0, initial=0)
        place += np.array(self.origin) - place[int(np.argmin(np.abs(height - HEIGHT[5])))]
        bend = np.gradient(tangent, _STEP, axis=0)
        object.__setattr__(self, "_curve", np.concatenate([place, tangent, bend], axis=1))
        object.__setattr__(self, "_sizes", np.stack(self._measure(height), axis=1))

    def _measure(self, height: Array) -> tuple[Array, Array, Array, Array]:
        """Depth and width of the cord and of the canal; mm of the template."""
        area, flat = along(_AREA, height) * self.area, along(_FLATNESS, height)
        deep, wide = (np.sqrt(4 * area / np.pi * flat**power) / self.scale for power in (-1, 1))
        sac_deep, sac_wide = along(_CANAL, height, 1) * self.canal, along(_CANAL, height, 2) * self.canal
        if self.compression_height is not None:
            squeeze = np.exp(-0.5 * ((height - self.compression_height) / (COMPRESSION_REACH / self.scale)) ** 2)
            deep = deep * (1 - self.compression_depth * squeeze)
            wide = wide * (1 + 0.15 * self.compression_depth * squeeze)
            sac_deep = sac_deep + squeeze * (deep * 1.04 - 2 * _CANAL_CENTRE - sac_deep)
        return deep, wide, np.maximum(sac_deep, deep - 2 * _CANAL_CENTRE), np.maximum(sac_wide, wide + 1)

    def at(self, height: Array) -> tuple[Array, Array]:
        """Place (N, 3; mm in the scanner) and direction upwards (N, 3) of the cord at heights in PAM50 mm."""
        found = self._read(self._curve, np.asarray(height, dtype=float))
        return found[:, :3], found[:, 3:6] / np.linalg.norm(found[:, 3:6], axis=1, keepdims=True)

    def sizes(self, height: Array) -> Sizes:
        """Sizes of cord and canal at heights; mm of the template (times scale: mm)."""
        return Sizes(*self._read(self._sizes, np.asarray(height)).T)

    def cord_area(self, height: Array) -> Array:
        """Area of the section orthogonal to the cord; mm2."""
        size = self.sizes(height)
        return np.pi / 4 * size.cord_deep * size.cord_wide * self.scale**2

    def local(self, points: Array) -> Place:
        """u (right), v (front) and height of points (N, 3; mm in the scanner), with the sizes there: in mm of the template.

        The height is that of the nearest point of the curve, by Newton's method from the point at the same z.
        """
        points = np.asarray(points, dtype=np.float32)
        curve = self._curve.astype(np.float32)
        scale = np.float32(self.scale)
        height = (
            np.interp(points[:, 2], self._curve[:, 2], np.arange(len(curve))).astype(np.float32)
            * np.float32(_STEP)
            / scale
        )
        height += np.float32(_LOWEST)
        for _ in range(5):
            found = self._read(curve, height)
            away = points - found[:, :3]
            fall = np.einsum("ij,ij->i", away, found[:, 3:6])
            turn = np.einsum("ij,ij->i", away, found[:, 6:])
            step = fall / np.maximum(1 - turn, np.float32(0.3)) / scale
            height += step
            if np.abs(step).max(initial=0) < _SETTLED:
                break
        found = self._read(curve, height)
        away, tangent = points - found[:, :3], found[:, 3:6]
        right, front = across(tangent)
        u, v = np.einsum("ij,ij->i", away, right), np.einsum("ij,ij->i", away, front)
        sizes = Sizes(*np.ascontiguousarray(self._read(self._sizes.astype(np.float32), height).T))
        return Place(u / scale, v / scale, height, sizes)

    def place(self, u: float, v: float, height: float) -> Array:
        """The way back of `local` for one point; (3,), mm in the scanner."""
        centre, tangent = self.at(np.array([height]))
        right, front = across(tangent)
        return (centre + (u * right + v * front) * self.scale)[0]

    def canal_front(self, height: Array) -> Array:
        """v of the front wall of the dural sac."""
        return self.sizes(height).canal_deep / 2 + _CANAL_CENTRE

    def _read(self, table: Array, height: Array) -> Array:
        """Rows of a table by height, linearly between its points and held at its ends."""
        at = (height - table.dtype.type(_LOWEST)) * table.dtype.type(self.scale / _STEP)
        at = np.clip(at, 0, len(table) - 1.01)
        low = at.astype(np.int32)
        share = (at - low)[:, None]
        found = np.take(table, low, axis=0)
        found += share * np.take(np.diff(table, axis=0), low, axis=0)
        return found


def across(tangent: Array) -> tuple[Array, Array]:
    """Unit vectors to the right and to the front, orthogonal to the cord's direction (N, 3) and to each other."""
    right = -tangent[:, :1] * tangent
    right[:, 0] += 1
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return right, np.cross(tangent, right)


def ellipse(u: Array, v: Array, wide: Array | float, deep: Array | float) -> Array:
    """Distance from an ellipse of these diameters around 0, negative inside; exact to first order at its edge."""
    a, b = u * (2 / wide), v * (2 / deep)
    size = np.sqrt(a * a + b * b)
    a, b = a / wide, b / deep
    return size * (size - 1) / np.maximum(2 * np.sqrt(a * a + b * b), np.float32(1e-3))


def cord_outside(at: Place) -> Array:
    """Distance from the surface of cord and medulla, negative inside; mm of the template."""
    return ellipse(at.u, at.v, at.size.cord_wide, at.size.cord_deep)


def canal_outside(at: Place) -> Array:
    """Distance from the dural sac, negative inside; mm of the template."""
    return ellipse(at.u, at.v - np.float32(_CANAL_CENTRE), at.size.canal_wide, at.size.canal_deep)


def gray_outside(at: Place) -> Array:
    """Distance from the butterfly of grey matter, negative inside; mm of the template.

    Front horns are ellipses, back horns slanting rods, joined by a bridge: all in parts of the cord's half width and depth.
    """
    a, b = np.abs(at.u) * (2 / at.size.cord_wide), at.v * (2 / at.size.cord_deep)
    unit = np.sqrt(at.size.cord_deep * at.size.cord_wide) / 2
    horn = (np.hypot((a - 0.30) / 0.17, (b - 0.22) / 0.27) - 1) * 0.2
    (x, y), (right, up) = (0.20, -0.02), (0.23, -0.72)  # the rod's foot, and from there to its tip
    part = np.clip(((a - x) * right + (b - y) * up) / (right**2 + up**2), 0, 1)
    rod = np.hypot(a - x - part * right, b - y - part * up) - (0.11 - 0.03 * part)
    bridge = np.maximum(a - 0.25, np.abs(b - 0.04) - 0.085)
    return np.minimum(np.minimum(horn, rod), bridge) * unit


def lesion_outside(at: Place) -> Array:
    """Distance from an egg-shaped lesion in the left back column behind C4, negative inside; mm of the template."""
    a, b = (at.u / at.size.cord_wide + 0.12) / 0.14, (at.v / at.size.cord_deep + 0.24) / 0.16
    middle = (HEIGHT[4] + HEIGHT[5]) / 2
    return (np.sqrt(a**2 + b**2 + ((at.height - middle) / 7.0) ** 2) - 1) * 1.4
