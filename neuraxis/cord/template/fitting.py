"""The steps by which the sections of a cord are laid onto those of the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuraxis.cord.orientation import from_image, from_outlines, neighbours
from neuraxis.cord.template.deforming import deformed
from neuraxis.cord.template.inplane import (
    Chain,
    Columns,
    Map,
    Radial,
    Rigid,
    Values,
    columns,
    moments,
    outline,
)
from neuraxis.cord.template.sections import Axis, Sections, Shares
from neuraxis.volume import Array, Volume

STEPS = ("centre", "rotation", "image_rotation", "radial", "columns", "gray", "tissue")

_WIDTH_MM = 24.0
"""Width of the square in which a cord lies; mm."""

_PIXEL_MM = 0.5
"""Of the sections that are deformed or whose symmetry is looked for; mm."""

_AROUND_MM = 54.0
"""Width of the square whose symmetry is looked for; mm."""

_CONTRAST_MM = 10.0
"""Standard deviation of the stretch of cord over which the contrast of the tissues is taken to be one; mm."""

_LEAST_SHARE = 0.3
"""Sections with a smaller part of the template's area than this, over what is usual in the image, lack a part of the cord's mask."""

_WHOLE_SHARE = 0.9
_PART_MM = 1.0
"""Beside such a section, within a slice and this, those with less than this share lack a part too; mm."""

_ROUNDS, _UPDATE_MM, _WHOLE_MM = 60, 1.0, 0.5
"""Of the deformation: rounds, and standard deviations of the Gaussians that smooth each update and the whole."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What is laid onto each other.

    `smoothing`: standard deviations along the cord of centres, turns and outlines; mm. `image` and `gray_matter` are the image's,
    `tissues` the template's grey and white matter; None where they are not at hand.
    """

    cut: Sections
    axis: Axis
    cord: Volume
    pam50_cord: Volume
    smoothing: tuple[float, float, float]
    image: Volume | None = None
    gray_matter: Volume | None = None
    tissues: tuple[Volume | None, Volume | None] = (None, None)

    def shown(self) -> Array:
        """Which sections show the cord as a whole: those with as large a share of the template's area as most, and not at the edge of the view."""
        here, there = (moments(one, self._count, _WIDTH_MM)[0] for one in self._both(Chain()))
        share = here / np.maximum(there, 1e-9)
        usual = np.median(share[share > 0]) if (share > 0).any() else np.inf
        lacking = (share < _LEAST_SHARE * usual) | self._at_edge()
        # between a slice with a cord and one without, sections hold a part of it
        thick = self.cord.oriented("LAS").grid.voxel_size[2]
        heights = self.cut.heights
        beside = (np.abs(heights[:, None] - heights[lacking][None, :]) <= thick + _PART_MM).any(axis=1)
        return np.asarray(~(lacking | (beside & (share < _WHOLE_SHARE * usual))))

    def _at_edge(self) -> Array:
        """Sections whose slice holds cord in the outermost pixels of the image."""
        upright = self.cord.oriented("LAS")
        mask = upright.data > 0.5
        touched = np.asarray(mask[[0, -1]].any(axis=(0, 1))) | np.asarray(mask[:, [0, -1]].any(axis=(0, 1)))
        nothing = np.zeros(self._count)
        middles = self.cut.to_body(nothing, nothing, self.cut.heights)
        inverse = np.linalg.inv(upright.grid.matrix)
        slices = np.rint((middles @ inverse[:3, :3].T + inverse[:3, 3])[:, 2]).astype(int)
        return np.asarray(touched[np.clip(slices, 0, len(touched) - 1)])

    def chain(self, steps: tuple[str, ...]) -> Chain:
        """The steps one after the other."""
        found = Chain()
        for step in steps:
            found = Chain((*found.maps, getattr(self, f"_{step}")(found)))
        return found

    def _centre(self, chain: Chain) -> Map:
        here, there = (moments(one, self._count, _WIDTH_MM)[1] for one in self._both(chain))
        return Rigid(neighbours(self.cut.heights, self.smoothing[0]) @ (here - there), np.zeros(self._count))

    def _rotation(self, chain: Chain) -> Map:
        spreads = [list(moments(one, self._count, _WIDTH_MM)[2]) for one in self._both(chain)]
        here, there = (from_outlines(one, self.cut.heights, self.smoothing[1]) for one in spreads)
        return Rigid(np.zeros((self._count, 2)), here - there)

    def _image_rotation(self, chain: Chain) -> Map:
        image = _needed(self.image, "image_rotation", "the image")
        at = self._pixels(_AROUND_MM)
        sections = _through(self._seen(image, held=True), chain)(*at)  # the border of the field of view is no edge
        middle = np.full((self._count, 2), (sections.shape[1] - 1) / 2)
        turn = from_image(np.moveaxis(sections, 0, -1), middle, self.cut.heights, (_PIXEL_MM, _PIXEL_MM), self.smoothing[1])
        return Rigid(np.zeros((self._count, 2)), turn)

    def _radial(self, chain: Chain) -> Map:
        weights = neighbours(self.cut.heights, self.smoothing[2])
        here, there = (outline(one, self._count, weights) for one in self._both(chain))
        return Radial(there, here)

    def _columns(self, chain: Chain) -> Map:
        weights = neighbours(self.cut.heights, self.smoothing[2])
        here, there = (columns(one, self._count, weights, _WIDTH_MM) for one in self._both(chain))
        return Columns(there[0], here[0], there[1], here[1])

    def _gray(self, chain: Chain) -> Map:
        at = self._pixels(_WIDTH_MM)
        moving = _through(self._seen(_needed(self.gray_matter, "gray", "the grey matter of the image")), chain)(*at)
        fixed = self._template(_needed(self.tissues[0], "gray", "the template's grey matter"))(*at)
        return self._deformed(chain, at, fixed, moving)

    def _tissue(self, chain: Chain) -> Map:
        at = self._pixels(_WIDTH_MM)
        seen = _through(self._seen(_needed(self.image, "tissue", "the image")), chain)(*at)
        gray, white = (self._template(_needed(one, "tissue", "the template's tissues"))(*at) for one in self.tissues)
        here, there = (one(*at) for one in self._both(chain))
        shown = _as_gray(seen, gray, white, there > 0.5, self.cut.heights)
        inside = here * there  # what lies beside the cord has another contrast
        return self._deformed(chain, at, gray * inside, shown * inside)

    def _deformed(self, chain: Chain, at: tuple[Array, Array, Array], fixed: Array, moving: Array) -> Map:
        """Both cords stay on each other while the channel is brought together."""
        here, there = (one(*at) for one in self._both(chain))
        along = neighbours(self.cut.heights, self.smoothing[2])
        return deformed([there, fixed], [here, moving], _PIXEL_MM, along, rounds=_ROUNDS, update=_UPDATE_MM, whole=_WHOLE_MM)

    @property
    def _count(self) -> int:
        return len(self.cut.heights)

    def _both(self, chain: Chain) -> tuple[Values, Values]:
        """The share of the cord in the image's sections, as the steps so far lay them, and in the template's."""
        return _through(self._seen(self.cord), chain), self._template(self.pam50_cord)

    def _pixels(self, width: float) -> tuple[Array, Array, Array]:
        """Number, left and front of the pixels of all sections."""
        steps = np.arange(-width / 2, width / 2 + _PIXEL_MM / 2, _PIXEL_MM)
        number, left, front = np.meshgrid(np.arange(self._count), steps, steps, indexing="ij")
        return number, left, front

    def _seen(self, volume: Volume, held: bool = False) -> Values:
        """A volume of the image in its sections; beyond it 0, or its border's values."""
        shares, known = Shares(volume, held), np.arange(self._count)

        def values(number: Array, left: Array, front: Array) -> Array:
            height = np.interp(number, known, self.cut.heights).ravel()
            return shares(self.cut.to_body(left.ravel(), front.ravel(), height)).reshape(np.shape(number))

        return values

    def _template(self, volume: Volume) -> Values:
        """A volume of the template in its sections."""
        shares, known = Shares(volume), np.arange(self._count)
        return lambda number, left, front: shares(self.axis.to_template(left, front, np.interp(number, known, self.cut.heights)))


def _through(values: Values, chain: Chain) -> Values:
    """The image's sections as a chain lays them onto the template's."""
    return lambda number, left, front: values(number, *chain.there(number, left, front))


def _needed(volume: Volume | None, step: str, what: str) -> Volume:
    if volume is None:
        raise ValueError(f"the step {step} needs {what}")
    return volume


def _as_gray(seen: Array, gray: Array, white: Array, inside: Array, heights: Array) -> Array:
    """The image's values as shares of grey matter: 0 is the value of white matter, 1 that of grey, by least squares near each section."""
    found = np.zeros_like(seen)
    for number, height in enumerate(heights):
        weight = np.exp(-0.5 * ((heights - height) / _CONTRAST_MM) ** 2)
        near = weight > 0.05
        within = inside[near]
        root = np.sqrt(np.broadcast_to(weight[near][:, None, None], within.shape)[within])
        shares = np.stack([white[near][within], gray[near][within]], axis=1)
        values = np.linalg.lstsq(shares * root[:, None], seen[near][within] * root, rcond=None)[0]
        if abs(values[1] - values[0]) > 1e-6 * abs(values).max():
            found[number] = np.clip((seen[number] - values[0]) / (values[1] - values[0]), -0.5, 1.5)
    return found
