"""Maps within the sections: from the template's section to that of the image, and back; all are exact inverses of each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array

scipy = lazy.load("scipy")

_ANGLES = 72
"""Directions in which the distance of the outline is measured."""

_HARMONICS = 8
"""Of the outline as a function of direction: what is finer than this is the grid of the image."""

_RAY_MM = 0.1
"""Distance of the points along a direction; mm."""

_REACH_MM = 14.0
"""Distance to which an outline is looked for; mm. No cord is wider than this."""

_FADE_MM = 8.0
"""Beyond the outline the map fades to none over this distance; mm."""

_LEAST_MM = 0.5
"""An outline that is nearer to the middle, or a column that is shorter, is taken as this long; mm."""

Values = Callable[[Array, Array, Array], Array]
"""Number of the section, left and front (mm) to the share of the cord there."""


class Map(Protocol):
    """From the template's sections to those of the image: number of the section, left and front (mm)."""

    def there(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]: ...

    def back(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True, eq=False)
class Chain:
    """Maps one after the other, the first one nearest to the image."""

    maps: tuple[Map, ...] = ()

    def there(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        for one in reversed(self.maps):
            left, front = one.there(number, left, front)
        return left, front

    def back(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        for one in self.maps:
            left, front = one.back(number, left, front)
        return left, front


@dataclass(frozen=True, eq=False)
class Rigid:
    """Each section turned by `angle` (rad, from left to front) about its middle, then moved by `shift` (mm, (N, 2))."""

    shift: Array
    angle: Array

    def there(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        (x, y), (cos, sin) = self._at(number)
        return cos * left - sin * front + x, sin * left + cos * front + y

    def back(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        (x, y), (cos, sin) = self._at(number)
        left, front = left - x, front - y
        return cos * left + sin * front, cos * front - sin * left

    def _at(self, number: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        known = np.arange(len(self.shift))
        x, y, angle = (np.interp(number, known, column) for column in (self.shift[:, 0], self.shift[:, 1], self.angle))
        return (x, y), (np.cos(angle), np.sin(angle))


@dataclass(frozen=True, eq=False)
class Radial:
    """Each direction stretched so that the template's outline becomes that of the image; distances of the outlines in mm, (N, 72)."""

    template: Array
    image: Array

    def there(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        return self._stretched(number, left, front, self.template, self.image)

    def back(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        return self._stretched(number, left, front, self.image, self.template)

    def _stretched(self, number: Array, left: Array, front: Array, source: Array, target: Array) -> tuple[Array, Array]:
        distance = np.hypot(left, front)
        from_, to = (around(table, number, np.arctan2(front, left)) for table in (source, target))
        scale = _lengths(distance, from_, to) / np.maximum(distance, 1e-9)
        return left * scale, front * scale


@dataclass(frozen=True, eq=False)
class Columns:
    """Each section stretched from left to right, then each of its columns from back to front; edges in mm.

    `sides_*`: the left-right edges (N, 2); `edges_*`: back and front of each column, at even steps between the sides, (N, C, 2).
    """

    sides_template: Array
    sides_image: Array
    edges_template: Array
    edges_image: Array

    def there(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        return self._stretched(number, left, front, (self.sides_template, self.edges_template), (self.sides_image, self.edges_image))

    def back(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        return self._stretched(number, left, front, (self.sides_image, self.edges_image), (self.sides_template, self.edges_template))

    def _stretched(
        self, number: Array, left: Array, front: Array, source: tuple[Array, Array], target: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        known = np.arange(len(source[0]))
        from_, to = ([np.interp(number, known, sides[:, n]) for n in (0, 1)] for sides, _ in (source, target))
        column = (left - from_[0]) / (from_[1] - from_[0]) * (source[1].shape[1] - 1)
        before, after = (
            [scipy.ndimage.map_coordinates(edges[..., n], np.stack([number, column]), order=1, mode="nearest") for n in (0, 1)]
            for _, edges in (source, target)
        )
        return _between(left, from_, to), _between(front, before, after)


def outline(values: Values, count: int, smoothing: Array) -> Array:
    """Distance of the outline from the middle in every direction of every section; mm, (N, 72).

    The cord's share m along a direction gives r = sqrt(2 integral m r dr), which keeps the area of the sector and needs no
    threshold. `smoothing`: weights of every section for every section, (N, N).
    """
    distance = np.arange(_RAY_MM / 2, _REACH_MM, _RAY_MM)
    angle = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    number, phi, r = np.meshgrid(np.arange(count), angle, distance, indexing="ij")
    share = values(number, r * np.cos(phi), r * np.sin(phi))
    found = np.sqrt(2 * _RAY_MM * (share * distance).sum(axis=2))
    spectrum = np.fft.rfft(found, axis=1)
    spectrum[:, _HARMONICS + 1 :] = 0
    found = np.fft.irfft(spectrum, _ANGLES, axis=1)
    return np.maximum(smoothing @ found, _LEAST_MM)


def columns(values: Values, count: int, smoothing: Array, width: float, pixel: float = 0.25) -> tuple[Array, Array]:
    """Left-right edges (N, 2) of the cord in every section, and the edges of its columns (N, C, 2); mm.

    The edges from left to right are those between which 96 % of the area lie; what lies beyond goes on in the same way. A column's
    length is that of the cord in it, its middle that of the cord's centre of mass.
    """
    steps = np.arange(-width / 2, width / 2 + pixel / 2, pixel)
    number, left, front = np.meshgrid(np.arange(count), steps, steps, indexing="ij")
    share = values(number, left, front)
    length = share.sum(axis=2) * pixel
    middle = (share * steps).sum(axis=2) * pixel / np.maximum(length, 1e-9)
    sides, edges = np.zeros((count, 2)), np.zeros((count, _COLUMNS, 2))
    for one in range(count):
        grown = np.cumsum(length[one]) / max(length[one].sum(), 1e-9)
        first, last = (np.interp(part, grown, steps) for part in (0.02, 0.98))
        if last - first < _LEAST_MM:
            first, last = -_LEAST_MM, _LEAST_MM
        sides[one] = first, last
        at = np.linspace(first, last, _COLUMNS)
        tall = np.maximum(np.interp(at, steps, length[one]), _LEAST_MM)
        centre = np.interp(at, steps, middle[one])
        edges[one] = np.stack([centre - tall / 2, centre + tall / 2], axis=1)
    return smoothing @ sides, np.einsum("ij,jck->ick", smoothing, edges)


_COLUMNS = 41
"""Columns from the left edge to the right one."""


def moments(values: Values, count: int, width: float, pixel: float = 0.5) -> tuple[Array, Array, Array]:
    """Area (mm2, (N,)), centre (mm, (N, 2)) and covariance (mm2, (N, 2, 2)) of the cord in every section."""
    steps = np.arange(-width / 2, width / 2 + pixel / 2, pixel)
    number, left, front = np.meshgrid(np.arange(count), steps, steps, indexing="ij")
    share = values(number, left, front)
    whole = share.sum(axis=(1, 2))
    mass = np.maximum(whole, 1e-9)
    places = np.stack([left, front])
    centre = np.einsum("knab,nab->nk", places, share) / mass[:, None]
    away = places - centre.T[:, :, None, None]
    spread = np.einsum("knab,lnab,nab->nkl", away, away, share) / mass[:, None, None]
    return whole * pixel**2, centre, spread


def around(table: Array, number: Array, angle: Array) -> Array:
    """A table (N, 72) over sections and directions at numbers of sections and angles (rad)."""
    at = np.mod(angle / (2 * np.pi) * table.shape[1], table.shape[1])
    closed = np.concatenate([table, table[:, :1]], axis=1)
    return np.asarray(scipy.ndimage.map_coordinates(closed, np.stack([number, at]), order=1, mode="nearest"))


def _lengths(distance: Array, source: Array, target: Array) -> Array:
    """Distances stretched so that `source` becomes `target`, fading to none."""
    end = np.maximum(source, target) + _FADE_MM
    past = target + (distance - source) * (end - target) / (end - source)
    return np.where(distance <= source, distance * target / source, np.where(distance <= end, past, distance))


def _between(value: Array, source: list[Array], target: list[Array]) -> Array:
    """Linear from the two edges of `source` to those of `target`, fading to none beyond them."""
    low, high = np.minimum(source[0], target[0]) - _FADE_MM, np.maximum(source[1], target[1]) + _FADE_MM
    inside = target[0] + (value - source[0]) * (target[1] - target[0]) / (source[1] - source[0])
    below = low + (value - low) * (target[0] - low) / (source[0] - low)
    above = high + (value - high) * (target[1] - high) / (source[1] - high)
    found = np.where(value < source[0], below, np.where(value > source[1], above, inside))
    return np.where((value < low) | (value > high), value, found)
