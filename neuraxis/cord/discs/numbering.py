"""Which disc is which: all chains of discs along the cord under the spacings of PAM50, and the evidence for each numbering."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from neuraxis.cord.vertebrae import PAM50_DISCS, PAM50_SLICE_MM
from neuraxis.volume import Array

FIRST, LAST = 3, 24
"""C2/C3 is the highest disc there is; L4/L5 the lowest that a cord's image is asked for."""

_LUMBAR_MM = {21: 35.0, 22: 36.0, 23: 36.0, 24: 35.0}
"""Disc to disc below L1/L2, where PAM50 ends; mm. An estimate: L1 of PAM50 (33.5 mm) and a little more."""

SPACING = {
    **{n: (PAM50_DISCS[n] - PAM50_DISCS[n + 1]) * PAM50_SLICE_MM for n in range(1, 21)},
    **_LUMBAR_MM,
}
"""Disc -> distance to the next one below in PAM50; mm."""

AREA = {
    2: 62.0, 3: 63.3, 4: 69.2, 5: 74.0, 6: 67.4, 7: 55.6, 8: 47.1, 9: 41.0, 10: 40.0, 11: 37.5, 12: 34.8, 13: 34.0, 14: 35.4,
    15: 34.8, 16: 36.8, 17: 37.3, 18: 36.1, 19: 42.4,
}  # fmt: skip
"""Disc -> area of PAM50's cord there; mm2. Below T11/T12 the end of the cord varies too much to tell anything."""

PMJ_TO_C2C3 = 64.0
"""From the pontomedullary junction down to C2/C3, the mean of 804 adults; mm (Bedard 2022, doi:10.3389/fnimg.2022.1031253)."""

_TOO_HIGH = 0.1
"""Loss of log-probability per mm of cord above where the medulla should end."""

_SPREAD = 0.09
"""Standard deviation of the logarithm of one spacing around its scaled PAM50 value."""

_SCALE_SPREAD = 0.12
"""Standard deviation of the logarithm of a person's size against PAM50."""

_AREA_SPREAD = 0.20
"""Standard deviation of the logarithm of an area around its scaled PAM50 value: cords differ, masks err."""

_SCALES = np.exp(np.arange(-0.30, 0.301, 0.06))

_STEP = 1.0
"""Grid of the search along the cord; mm."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Discs from the top down under one numbering."""

    first: int
    """Number of the highest."""
    rows: Array
    """(D,) mm-rows of the search grid, from the top down."""
    scale: float
    """Size against PAM50."""
    score: float
    """Logarithm of its posterior, up to a constant."""


def best_chain(evidence: Array, seen: Array) -> Chain | None:
    """The most probable chain under any numbering; None where nothing is seen."""
    if seen.sum() < 10:
        return None
    return max((_best(_Messages(evidence, seen, scale)) for scale in _SCALES), key=lambda one: one.score)


def numberings(
    evidence: Array, seen: Array, reference: int, slack: int = 3, names: Array | None = None
) -> dict[int, list[Chain]]:
    """For each number that the disc within `slack` rows of `reference` may have: the best chain per scale.

    `names` (LAST - FIRST + 1, rows): what a row says for or against being each disc, by its looks; log-probability.
    """
    found: dict[int, list[Chain]] = {}
    for scale in _SCALES:
        messages = _Messages(evidence, seen, scale, names)
        for number in range(FIRST, LAST + 1):
            chain = _through(messages, number, reference, slack)
            if np.isfinite(chain.score):
                found.setdefault(number, []).append(chain)
    return found


def area_evidence(chain: Chain, area: Array) -> float:
    """Log-likelihood of the cord's areas (mm2 per row, NaN where unknown) at a chain's discs, free of the cord's size.

    Areas are even along the cord over about two discs, so each counts half.
    """
    ratios = []
    for offset, row in enumerate(chain.rows):
        number = chain.first + offset
        if number in AREA and np.isfinite(area[row]) and area[row] > 0:
            ratios.append(np.log(area[row] / AREA[number]))
    if len(ratios) < 2:
        return 0.0
    off = np.clip(np.array(ratios) - np.median(ratios), -2 * _AREA_SPREAD, 2 * _AREA_SPREAD)
    missing = len(chain.rows) - len(ratios)  # a disc beyond the table is neither for nor against
    return float(-0.25 * ((off / _AREA_SPREAD) ** 2).sum() - 0.25 * missing)


def junction_evidence(chain: Chain, row: float) -> float:
    """Log-likelihood of a pontomedullary junction at a row of the search grid."""
    number, top = chain.first, float(chain.rows[0])
    expected = chain.scale * (PMJ_TO_C2C3 + sum(SPACING[n] for n in range(FIRST, number)))
    distance = (row - top) * _STEP
    if distance <= 0:
        return -12.5
    return float(max(-0.5 * (np.log(distance / expected) / _SPREAD) ** 2, -12.5))


class _Messages:
    """Best scores of everything below a disc, and of everything above it, for every number and row, at one scale."""

    def __init__(self, evidence: Array, seen: Array, scale: float, names: Array | None = None):
        alone, self.scale = np.where(seen, evidence, -np.inf), float(scale)
        self.own = {n: alone if names is None else alone + names[n - FIRST] for n in range(FIRST, LAST + 1)}
        lowest, highest = np.flatnonzero(seen)[[0, -1]]
        rows = np.arange(len(evidence))
        self.gaps = {number: SPACING[number] * self.scale for number in SPACING}
        self.top = {number: _beyond(highest - rows, self.gaps[number - 1]) for number in range(FIRST + 1, LAST + 1)}
        self.top[FIRST] = -_TOO_HIGH * np.maximum((highest - rows) * _STEP - PMJ_TO_C2C3 * self.scale, 0.0)
        self.below, self.down = {LAST: self.own[LAST]}, {LAST: np.full(len(rows), -1)}
        for number in range(LAST - 1, FIRST - 1, -1):
            end = _beyond(rows - lowest, self.gaps[number])
            best, self.down[number] = _step(end, self.below[number + 1], self.gaps[number])
            self.below[number] = best + self.own[number]

    @cached_property
    def upwards(self) -> tuple[dict[int, Array], dict[int, Array]]:
        """Best scores of a disc and everything above it, and the rows of the next disc above (-1: none)."""
        above, up = {FIRST: self.top[FIRST] + self.own[FIRST]}, {FIRST: np.full(len(self.own[FIRST]), -1)}
        for number in range(FIRST + 1, LAST + 1):
            best, come = _step(self.top[number][::-1], above[number - 1][::-1], self.gaps[number - 1])
            above[number], up[number] = (
                best[::-1] + self.own[number],
                np.where(come < 0, -1, len(best) - 1 - come)[::-1],
            )
        return above, up


def _beyond(room: Array, gap: float) -> Array:
    """Log-probability that the next disc lies beyond the view, `room` rows away (less than there are rows in all)."""
    return _beyond_by_room(gap, len(room) + 1)[np.maximum(room, 0)]


@cache
def _beyond_by_room(gap: float, rooms: int) -> Array:
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr((np.log(gap) - np.log(np.maximum(np.arange(rooms) * _STEP, 0.5))) / _SPREAD))


@cache
def _prices(gap: float) -> tuple[Array, Array]:
    """Rows to the next disc, from far to near, and their log-probability."""
    nearest, farthest = max(round(gap * 0.7 / _STEP), 1), round(gap * 1.4 / _STEP) + 1
    steps = np.arange(farthest, nearest - 1, -1)
    return steps, -0.5 * (np.log(steps * _STEP / gap) / _SPREAD) ** 2


def _step(end: Array, message: Array, gap: float) -> tuple[Array, Array]:
    """The better of an end here and the best next disc below; and that disc's row (-1: the end)."""
    steps, price = _prices(gap)
    padded = np.concatenate([np.full(steps[0], -np.inf), message])
    strides = padded.strides * 2
    reached = np.lib.stride_tricks.as_strided(padded, (len(end), len(steps)), strides) + price
    best = reached.argmax(axis=1)
    rows = np.arange(len(end))
    score = reached[rows, best]
    return np.maximum(score, end), np.where(score > end, rows - steps[best], -1)


def _best(messages: _Messages) -> Chain:
    """The best chain of all."""
    totals = {number: messages.below[number] + messages.top[number] for number in messages.below}
    number = max(totals, key=lambda one: totals[one].max())
    row = int(totals[number].argmax())
    return _chain(messages, number, [row], float(totals[number][row]))


def _through(messages: _Messages, number: int, reference: int, slack: int) -> Chain:
    """The best chain of those whose disc `number` lies within `slack` rows of `reference`."""
    above, up = messages.upwards
    low = max(reference - slack, 0)
    own = messages.own[number][low : reference + slack + 1]
    total = messages.below[number][low : low + len(own)] + above[number][low : low + len(own)]
    total = np.where(np.isfinite(total), total - np.where(np.isfinite(own), own, 0.0), -np.inf)
    row = low + int(total.argmax())
    path = [row]
    first = number
    while first > FIRST and up[first][path[0]] >= 0:
        path.insert(0, int(up[first][path[0]]))
        first -= 1
    return _chain(messages, number, path, float(total.max()))


def _chain(messages: _Messages, number: int, path: list[int], score: float) -> Chain:
    """A path that ends at disc `number` followed downwards, with the prior of its size."""
    first = number - len(path) + 1
    while number < LAST and messages.down[number][path[-1]] >= 0:
        path.append(int(messages.down[number][path[-1]]))
        number += 1
    return Chain(first, np.array(path), messages.scale, score - 0.5 * (np.log(messages.scale) / _SCALE_SPREAD) ** 2)
