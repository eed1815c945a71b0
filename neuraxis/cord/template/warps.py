"""The whole way between an image and PAM50, and as displacement fields that other programs can apply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuraxis.cord.straight_frame import places
from neuraxis.cord.template.inplane import Chain
from neuraxis.cord.template.sections import Axis, Sections
from neuraxis.cord.vertebrae import PAM50_SLICE_MM
from neuraxis.cord.warps import NOWHERE_MM, leads
from neuraxis.volume import Array, Grid, Volume

_BLOCK = 200_000
"""Points that are worked on at once."""


@dataclass(frozen=True, eq=False)
class Way:
    """Between places in the body and places in the template; RAS+ mm."""

    sections: Sections
    axis: Axis
    chain: Chain

    def template_of(self, left: Array, front: Array, height: Array) -> Array:
        """Places in the template of points of the image's sections; (N, 3)."""
        return self.axis.to_template(*self.chain.back(self.sections.number(height), left, front), height)

    def body_of(self, points: Array) -> Array:
        """Places in the body of places in the template (N, 3)."""
        left, front, height = self.axis.from_template(points)
        return self.sections.to_body(*self.chain.there(self.sections.number(height), left, front), height)

    def to_template(self, grid: Grid, width: float, beyond: float) -> Volume:
        """On a grid in the body: the way to the template; away from the cord it leads out of every image."""
        field = np.full((*grid.shape, 3), NOWHERE_MM, np.float32)
        voxels, left, front, height = self.sections.near(grid, width, beyond)
        for start in range(0, len(voxels), _BLOCK):
            part = slice(start, start + _BLOCK)
            found = self.template_of(left[part], front[part], height[part])
            field[tuple(voxels[part].T)] = found - places(grid, voxels[part])
        return Volume(field, grid)

    def to_body(self, grid: Grid, width: float, beyond: float) -> Volume:
        """On the template's grid, as far as the sections reach: the way to the body."""
        low, high = (self.sections.heights[0] - beyond, self.sections.heights[-1] + beyond)
        slices = np.arange(max(int(np.ceil(low / PAM50_SLICE_MM)), 0), min(int(high / PAM50_SLICE_MM), grid.shape[2] - 1) + 1)
        matrix = grid.matrix.copy()
        matrix[:3, 3] += matrix[:3, 2] * slices[0]
        part = Grid.of((*grid.shape[:2], len(slices)), matrix)
        field = np.full((*part.shape, 3), NOWHERE_MM, np.float32)
        voxels = np.argwhere(np.ones(part.shape, bool))
        points = places(part, voxels)
        left, front, _ = self.axis.from_template(points)
        near = np.maximum(np.abs(left), np.abs(front)) <= width / 2
        voxels, points = voxels[near], points[near]
        for start in range(0, len(voxels), _BLOCK):
            here = slice(start, start + _BLOCK)
            field[tuple(voxels[here].T)] = self.body_of(points[here]) - points[here]
        return Volume(field, part)


def brought(source: Volume, warp: Volume, order: int = 1) -> Array:
    """A volume (X, Y, Z) as a warp brings it onto its grid: out(p) = source(p + warp(p)); 0 where the warp leads nowhere."""
    from neuraxis.cord.straight_frame import Sampler, centres

    field = warp.data.reshape(-1, 3)
    known = np.flatnonzero(leads(field))
    sampler = Sampler(source, order)
    found = np.zeros(len(field), np.float32 if order else source.data.dtype)
    points = centres(warp.grid)[known] + field[known]
    found[known] = sampler(points)[0]
    return found.reshape(warp.grid.shape)
