"""The cord's outline in polar coordinates around its path, by dynamic programming; no weights, any contrast."""

from __future__ import annotations

import math
import warnings

import lazy_loader as lazy
import numpy as np

from neuraxis.cord.tissues.column import checked_path
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_TURNS = 72
_BIN = 0.25
_REACH = 13.0
"""Directions, and radii that are read; mm."""

_SMALLEST, _LARGEST = 2.0, 9.5
"""Radii that an outline may have; mm. Atrophic to stretched by a slanting cut."""

_BRIGHT_RING = 0.13
"""CSF is taken as brighter than the cord from this rise, relative to the cord's brightness."""

_CANAL = 125.0
"""A bright inside of this median area (mm2) is no cord but a whole canal."""

_USUAL = (6.2, 4.3)
"""Half axes of a usual cord, right to left and front to back; mm. The search begins with it."""

_OTHER_SIGN = 0.2
"""Worth of a step of the other sign, where the cord touches the wall of its canal."""

_CROSSING, _WITHIN = 3.0, 0.05
"""Price of brightness that comes back along a ray, in units of D, beyond what grey and white matter differ by."""

_AWAY = 0.7
"""Weight of a brightness that differs from the cord's the other way than CSF's: shading, grey matter, or bone."""

_GAP = (2, 6.0)
"""Slices without an edge are filled between neighbours up to this number or length (mm)."""


def polar(
    image: Volume,
    cord_path: Table,
    *,
    level: float = 0.5,
    edge: float = 1.0,
    region: float = 0.5,
    stiffness: float = 0.3,
    coupling: float = 0.3,
    roundness: float = 1.5,
    along: float = 2.5,
    iterations: int = 4,
    least_edge: float = 0.1,
) -> Volume:
    """Outline of the cord slice by slice in polar coordinates, by dynamic programming.

    Rays from the centre of the cord give its brightness I(r, theta). With the cord's level m, the CSF's level f and
    D = |f - m|, the closed outline r(theta) maximises

        sum_theta edge sign(f - m) (dI/dr) / D + region integral_0^r (1/2 - |I - m| / D) dr
                  - 3 max(0, B - 0.05) - stiffness (dr/dtheta)^2
                  - coupling (r - r_neighbours)^2 - roundness (r - r_oval)^2

    The integral is largest where the brightness is half way between cord and CSF; so the outline is the half maximum.
    B is how far the brightness, once gone towards f, has come back within r (in D): beyond the CSF. r_oval is the oval
    through the sharp parts of the outline. Centre, levels and the neighbours' outlines are then taken from the outline
    found, and all is repeated. Whether CSF is the brighter or the darker is decided from the data.

    Parameters
    ----------
    image
        Image of the cord, any contrast and orientation; any unit, (X, Y, Z), finite.
    cord_path
        Rough path of the cord: slice, x, y (voxel indices of the upright image).
    level
        Where between cord and CSF the outline lies, 0.1 to 0.9: 0.5 is the half maximum, and unbiased for a blurred edge;
        smaller is tighter, as masks drawn by hand often are (by 14 % of the area on T1w in Horsfield 2010).
    edge
        Weight of the brightness step; at least 0. Larger follows the sharpest edge.
    region
        Weight of the evenness inside; at least 0. Larger keeps the outline from edges beyond the CSF.
    stiffness
        Price of a change of the radius around the circle; at least 0. Larger is rounder.
    coupling
        Price of a difference from neighbouring slices, where they are near; at least 0. Larger is smoother along the cord.
    roundness
        Price of a difference from the oval through the sharp parts of the outline; at least 0. Larger bridges places
        where the cord touches what looks alike.
    along
        Standard deviation of the averaging along the cord; mm, at least 0. Larger has less noise and less detail along.
    iterations
        Number of searches; 1 to 20.
    least_edge
        Smallest mean step at the outline, relative to D per mm, 0 to 1; a slice below it has no outline of its own.

    Returns
    -------
    Cord; 0..1, the share of each voxel inside the outline, (X, Y, Z), zero in slices without an outline.

    Raises
    ------
    ValueError: a knob is outside its range, the path is empty or leaves the image, or no outline is found.

    References
    ----------
    Horsfield 2010, doi:10.1016/j.neuroimage.2009.12.121
    De Leener 2014, doi:10.1016/j.neuroimage.2014.04.051
    """
    from neuraxis.cord.segmentation.contours import share_inside

    _check(
        edge=edge,
        region=region,
        stiffness=stiffness,
        coupling=coupling,
        roundness=roundness,
        along=along,
        least_edge=least_edge,
    )
    if not 0.1 <= level <= 0.9:
        raise ValueError(f"level must lie between 0.1 and 0.9, not {level}")
    if not 1 <= iterations <= 20:
        raise ValueError(f"iterations must lie between 1 and 20, not {iterations}")
    if not np.isfinite(image.data).all():
        raise ValueError("the image holds numbers that are not finite")
    upright = image.oriented()
    path = checked_path(cord_path, upright.grid)
    rows, voxels = path["slice"].astype(int), np.stack([path["x"], path["y"]], 1)
    if not ((voxels >= -0.5) & (voxels <= np.array(upright.data.shape[:2]) - 0.5)).all():
        raise ValueError("the path of the cord leaves the image")
    size = upright.grid.voxel_size
    slices = np.ascontiguousarray(np.moveaxis(upright.data, 2, 0)[rows], np.float32)
    if min(slices.shape[1:]) < 2:
        raise ValueError("the image has fewer than two voxels across the cord")
    search = _Search(slices, size, level, edge, region, stiffness, coupling, roundness, along)
    start = voxels * np.array(size[:2])
    centres, radius, strength = search.run(start, iterations)
    if not search.rising and (strength >= least_edge).any() and np.median((radius**2).mean(1)) * np.pi > _CANAL:
        search.rising = search.faint = True
        warnings.warn("cord and CSF hardly differ in brightness: the outline leans on a usual cord's", stacklevel=2)
        centres, radius, strength = search.run(start, iterations)
    valid, radius, centres = _bridged(strength >= least_edge, radius, centres, size[2], rows)
    if not valid.any():
        raise ValueError("no outline of a cord is found around the path")
    found = np.zeros(upright.data.shape[:3], np.float32)
    share = share_inside(centres, radius, valid, size[:2], slices.shape)
    found[:, :, rows] = np.moveaxis(share, 0, 2)
    return Volume(found, upright.grid).onto(image.grid)


def _check(**knobs: float) -> None:
    for name, value in knobs.items():
        if not 0 <= value < math.inf or (name == "least_edge" and value > 1):
            raise ValueError(f"{name} must be at least 0{' and at most 1' * (name == 'least_edge')}, not {value}")


class _Search:
    """The outline of every slice, refined in turns."""

    def __init__(self, slices, size, level, edge, region, stiffness, coupling, roundness, along):
        self.slices, self.size = slices, size
        self.edge, self.region, self.level = edge, region, level
        self.faint = False
        self.rising: bool | None = None  # whether CSF is brighter than the cord: decided at the first look
        self.angles = 2 * np.pi * np.arange(_TURNS) / _TURNS
        self.radii = np.arange(0, _REACH + _BIN / 2, _BIN)
        self.bend = stiffness * (_BIN / (2 * np.pi / _TURNS)) ** 2 / 10
        self.coupling = coupling * math.exp(-size[2] / 4)
        self.roundness = roundness
        half = int(2 * along / size[2]) if size[2] < along else 0  # thick slices differ too much
        self.along = np.exp(-0.5 * (np.arange(-half, half + 1) * size[2] / max(along, 1e-6)) ** 2)
        self.blur = max(0.4, 0.5 * math.sqrt(size[0] * size[1])) / _BIN

    def run(self, centres: Array, iterations: int) -> tuple[Array, Array, Array]:
        from neuraxis.cord.segmentation.contours import closed_radius, profiles

        usual = 1 / np.hypot(np.cos(self.angles) / _USUAL[0], np.sin(self.angles) / _USUAL[1])
        sure = np.ones((len(centres), _TURNS))
        radius = np.tile(usual, (len(centres), 1))
        for step in range(iterations):
            seen = profiles(self.slices, centres, self.size[:2], self.angles, self.radii, self.along)
            cord, csf = self._levels(seen, radius)
            gain, slope = self._gain(seen, cord, csf)
            if step > 0:
                others, oval = self._smooth(radius, 6.0), usual if self.faint else self._oval(radius, sure)
                gain = gain - self.coupling * (self.radii - others[..., None]) ** 2
                gain = gain - self.roundness * (self.radii - oval[..., None]) ** 2
            forbidden = (self.radii < _SMALLEST) | (self.radii > _LARGEST)
            best = closed_radius(np.where(forbidden, -1e3, gain), self.bend, 2)
            radius = self._subpixel(best, slope)
            at = np.take_along_axis(slope, best[..., None], 2)[..., 0]
            sure = np.clip(at, 0, 1) ** 2 + 0.01
            if step < iterations - 1:
                centres, radius, sure = self._recentred(centres, radius, sure)
        return centres, radius, self._worth(at).mean(1)

    def _levels(self, seen: Array, radius: Array) -> tuple[Array, Array]:
        """Brightness of the cord and of what surrounds it in each slice."""
        r = self.radii[None, None, :]
        inside = np.where((r < 0.8 * radius[..., None]) & (r > 0.25 * radius[..., None]), seen, np.nan)
        cord = np.nanmedian(inside, (1, 2))
        ring = np.where((r > radius[..., None]) & (r < radius[..., None] + 4), seen, np.nan)
        high, low = np.nanmax(ring, 2), np.nanmin(ring, 2)
        if self.rising is None:
            rise = np.median(high, 1) - cord
            self.rising = bool(np.median(rise / np.maximum(np.abs(cord), 1e-12)) > _BRIGHT_RING)
        csf = np.percentile(high, 60, axis=1) if self.rising else np.percentile(low, 50, axis=1)
        cord, csf = self._smooth(cord, 4.0), self._smooth(csf, 4.0)
        least = 0.05 * np.maximum(np.abs(cord), 1e-12)
        csf = np.maximum(csf, cord + least) if self.rising else np.minimum(csf, cord - least)
        return cord, csf

    def _gain(self, seen: Array, cord: Array, csf: Array) -> tuple[Array, Array]:
        contrast = np.abs(csf - cord)[:, None, None]
        slope = scipy.ndimage.gaussian_filter1d(seen, self.blur, axis=2, order=1, mode="nearest") / _BIN / contrast
        slope = slope if self.rising else -slope
        towards = (seen - cord[:, None, None]) / (csf - cord)[:, None, None]
        even = np.clip(0.5 - np.where(towards > 0, towards, -_AWAY * towards), -0.5, 0.5)
        # what was crossed to come here: on the far side of the CSF the brightness comes back towards the cord's
        towards = towards * (self.radii > 1)
        fallen = np.maximum.accumulate(np.maximum.accumulate(towards, 2) - towards, 2)
        inside = np.cumsum(even, 2) * _BIN - _CROSSING * np.maximum(fallen - _WITHIN, 0)
        return self.edge * self._worth(slope) + self.region * inside, slope

    @staticmethod
    def _worth(slope: Array) -> Array:
        clipped = np.clip(slope, -1.5, 1.5)
        return np.maximum(clipped, -_OTHER_SIGN * clipped)

    def _subpixel(self, best: Array, slope: Array) -> Array:
        """The parabola through the three samples about the steepest one near the best bin."""
        bins = np.clip(best[..., None] + np.arange(-2, 3), 1, len(self.radii) - 2)
        near = np.take_along_axis(slope, bins, 2)
        top = np.take_along_axis(bins, near.argmax(2)[..., None], 2)
        a, b, c = (np.take_along_axis(slope, top + k, 2)[..., 0] for k in (-1, 0, 1))
        bow = a - 2 * b + c
        peaked = (bow < -1e-9) & (b >= a) & (b >= c) & (b > 0)
        shift = np.where(peaked, 0.5 * (a - c) / np.where(peaked, bow, 1), 0)
        inwards = (0.5 - self.level) / np.maximum(
            b, 0.5
        )  # an edge of this slope crosses other levels nearer or farther
        radius = np.where(peaked, (top[..., 0] + shift) * _BIN - inwards, best * _BIN)
        return scipy.ndimage.gaussian_filter1d(radius, 1.0, axis=1, mode="wrap")

    def _oval(self, radius: Array, sure: Array) -> Array:
        """The oval (offset, radius and second order around the circle) through the sure parts of each outline."""
        t = self.angles
        basis = np.stack([np.ones_like(t), np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)], 1)
        normal = np.einsum("ti,zt,tj->zij", basis, sure, basis) + 1e-6 * np.eye(5)
        right = np.einsum("ti,zt,zt->zi", basis, sure, radius)
        return np.linalg.solve(normal, right[..., None])[..., 0] @ basis.T

    def _recentred(self, centres: Array, radius: Array, sure: Array) -> tuple[Array, Array, Array]:
        """The outline, and how sure each direction is, about its own centre of area."""
        from neuraxis.cord.segmentation.contours import area_centre, seen_from

        moved = self._smooth(centres + area_centre(radius, self.angles), 3.0)
        again, surely = seen_from(centres - moved, radius, self.angles, (sure,))
        return moved, again, surely

    def _smooth(self, values: Array, sigma: float) -> Array:
        """Along the cord; slices of 1.5 sigma and more stay as they are."""
        if len(values) < 2 or self.size[2] > 1.5 * sigma:
            return values
        return scipy.ndimage.gaussian_filter1d(values, sigma / 2 / self.size[2], axis=0, mode="nearest")


def _bridged(valid: Array, radius: Array, centres: Array, spacing: float, rows: Array) -> tuple[Array, Array, Array]:
    """Short gaps filled from both neighbours; the longer ones stay open; both are told."""
    longest = max(_GAP[0], int(_GAP[1] / spacing)) if spacing <= _GAP[1] else _GAP[0]
    parts, number = scipy.ndimage.label(~valid)
    radius, centres, valid = radius.copy(), centres.copy(), valid.copy()
    filled: list[int] = []
    open_: list[int] = []
    for part in range(1, number + 1):
        at = np.flatnonzero(parts == part)
        before, after = at[0] - 1, at[-1] + 1
        if before < 0 or after >= len(valid) or len(at) > longest:
            open_.extend(rows[at])
            continue
        share = ((at - before) / (after - before))[:, None]
        radius[at] = (1 - share) * radius[before] + share * radius[after]
        centres[at] = (1 - share) * centres[before] + share * centres[after]
        valid[at] = True
        filled.extend(rows[at])
    for which, what in ((filled, "filled from their neighbours"), (open_, "left out")):
        if which and valid.any():
            names = ", ".join(str(one) for one in which[:12]) + (", ..." if len(which) > 12 else "")
            warnings.warn(f"no edge of the cord was found in {len(which)} slices, {what}: {names}", stacklevel=3)
    return valid, radius, centres
