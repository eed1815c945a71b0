"""From a row of discs along the cord to labels that can be trusted: which is which, and where its posterior edge lies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.curve import Curve, areas_along, curve_of
from neuraxis.cord.discs.numbering import Chain, area_evidence, junction_evidence, numberings
from neuraxis.cord.discs.pattern import ROOT, STEP, Likeness, Picture, picture, posterior_edge
from neuraxis.cord.discs.session import session
from neuraxis.cord.vertebrae import PMJ, disc_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

GRID = 2
"""Rows of the picture per row of the search."""

_THICKEST_MM = 3.0
"""A disc is 4 to 6 mm high in the neck: thicker slices across the cord do not show it."""

_LEAST_VIEW_MM = 45.0
"""Height of the bodies in view below which no chain of three discs fits."""

_SAME = 6
"""Rows of the search (mm) nearer to each other than this are of one disc."""

_ADVICE = "give disc labels in derivatives/labels, or one disc by the knob `first`"


class Untrusted(Exception):
    """Why nothing is labelled."""


def _known(first: str) -> tuple[int, float] | None:
    if not first:
        return None
    disc, _, place = first.partition(":")
    try:
        number, height = int(disc), float(place)
    except ValueError:
        number, height = 0, np.nan
    if not 3 <= number <= 24 or not np.isfinite(height):
        raise ValueError(f'first must be "disc:slice" with a disc of 3 to 24, e.g. "3:120", not {first!r}')
    return number, height


@dataclass(frozen=True, eq=False)
class Search:
    """What the numbering is decided on."""

    image: Picture
    like: Likeness
    evidence: Array
    chain: Chain
    agreement: float
    names: Array | None = None
    """(numbers, rows of the search) log-probability of each disc by its looks."""
    margin: float = np.inf
    """By how much (log-probability) it beats a chain of what lies between its discs."""


Searcher = Callable[[Volume, Curve, Picture], tuple[Search, ...]]
"""What sees discs in a picture; the surest search first, none where nothing is like a row of discs."""


def labelled(
    image: Volume,
    cord: Volume,
    centerline: Table,
    pmj: Volume | None,
    other_discs: Table | None,
    searcher: Searcher,
    *,
    first: str,
    certainty: float,
    likeness: float,
) -> Volume:
    """Labels of the discs that `searcher` sees in the straightened picture.

    With a warning those of another image where none is trusted; all zero without such.
    """
    if not certainty >= 1:
        raise ValueError(f"certainty must be at least 1, not {certainty}")
    if not 0 <= likeness <= 1:
        raise ValueError(f"likeness must lie between 0 and 1, not {likeness}")
    known = _known(first)
    if not image.grid.same_as(cord.grid):
        raise ValueError("image and cord lie on two grids")
    upright, mask = image.oriented(), cord.oriented()
    labels = np.zeros(upright.data.shape[:3], np.int16)
    try:
        found = _found(upright, mask, centerline, pmj, searcher, known, certainty, likeness)
        for number, voxel in found.items():
            labels[voxel] = number
    except Untrusted as reason:
        if other_discs is not None and len(other_discs):
            warnings.warn(f"the image alone does not tell the levels: {reason}", stacklevel=3)
            return session(image, cord, other_discs)
        warnings.warn(f"levels are not trusted: {reason}; {_ADVICE}", stacklevel=3)
    return Volume(labels, upright.grid).onto(image.grid)


def _found(
    upright: Volume,
    mask: Volume,
    centerline: Table,
    pmj: Volume | None,
    searcher: Searcher,
    known: tuple[int, float] | None,
    certainty: float,
    likeness: float,
) -> dict[int, tuple[int, int, int]]:
    """Disc -> voxel of the upright frame."""
    thickness = upright.grid.voxel_size[2]
    if thickness > _THICKEST_MM:
        raise Untrusted(f"slices of {thickness:.1f} mm across the cord do not show the discs")
    curve = curve_of(upright, centerline, step=STEP, extend=15.0)
    image = picture(upright, curve)
    height = image.rows.sum() * STEP
    if height < _LEAST_VIEW_MM:
        raise Untrusted(f"only {height:.0f} mm of vertebral bodies are in view in front of the cord")
    trusted, reasons = [], [Untrusted("no row of like discs is seen in front of the cord")]
    for search in searcher(upright, curve, image):
        try:
            trusted.append((search, _numbered(search, curve, mask, pmj, known, certainty, likeness)))
        except Untrusted as reason:
            reasons.append(reason)
    if not trusted:
        raise reasons[min(1, len(reasons) - 1)]
    if any(_differ(trusted[0][1], other) for _, other in trusted[1:]):
        raise Untrusted("two ways of telling the discs give them different numbers")
    return _placed(*trusted[0], curve, upright)


def _differ(one: Chain, other: Chain) -> bool:
    """Whether a disc of one chain has another number in the other chain."""
    return any(
        abs(row - other_row) < _SAME and number != other_number
        for number, row in enumerate(one.rows, one.first)
        for other_number, other_row in enumerate(other.rows, other.first)
    )


def sharpened(like: Likeness, rows: Array) -> Array:
    """Each row moved to the highest score within 1.5 mm."""
    reach = np.arange(-round(1.5 / STEP), round(1.5 / STEP) + 1)
    around = np.clip(rows[:, None] + reach, 0, len(like.score) - 1)
    return around[np.arange(len(rows)), like.score[around].argmax(axis=1)]


def _numbered(
    search: Search,
    curve: Curve,
    mask: Volume,
    pmj: Volume | None,
    known: tuple[int, float] | None,
    certainty: float,
    likeness: float,
) -> Chain:
    """The chain of the one numbering that is clearly the best; Untrusted where there is none, or no row of like discs."""
    if search.agreement < likeness or len(search.chain.rows) < (2 if known else 3):
        raise Untrusted("no row of like discs is seen in front of the cord")
    if search.margin < np.log(certainty):
        raise Untrusted("discs and vertebral bodies cannot be told apart")
    seen = search.image.rows[::GRID]
    if known is not None:
        number, height = known
        tips = curve.centre[:, 2] + ROOT * curve.front[:, 2]  # the height that the user saw is the posterior edge's
        row = int(np.abs(tips / curve.voxel_size[2] - height).argmin())
        chains = numberings(search.evidence, seen, row // GRID, slack=5, names=search.names).get(number, [])
        chain = max(chains, key=lambda one: one.score, default=None)
        if chain is None or search.evidence[chain.rows[number - chain.first]] <= 0:
            raise Untrusted(f"no disc is seen near slice {height:g}, which was given for {disc_name(number)}")
        return chain
    rows = search.chain.rows
    reference = int(rows[np.argsort(np.abs(np.arange(len(rows)) - (len(rows) - 1) / 2), kind="stable")[0]])
    areas, junction = areas_along(curve, mask)[::GRID], _junction(curve, pmj)
    probable: dict[int, float] = {}
    best: dict[int, Chain] = {}
    for number, chains in numberings(search.evidence, seen, reference, names=search.names).items():
        scores = []
        for chain in chains:
            more = area_evidence(chain, areas)
            if junction is not None:
                more += junction_evidence(chain, junction / GRID)
            scores.append(chain.score + more)
        best[number] = chains[int(np.argmax(scores))]
        probable[number] = float(np.logaddexp.reduce(scores))
    order = sorted(probable, key=lambda number: -probable[number])
    ratio = np.exp(min(probable[order[0]] - probable[order[1]], 50.0)) if len(order) > 1 else np.inf
    if ratio < certainty:
        height = round(float(curve.centre[reference * GRID, 2] / curve.voxel_size[2]))
        raise Untrusted(
            f"{len(rows)} discs are seen, but that near slice {height} may be {disc_name(order[0])} or "
            f"{disc_name(order[1])} (the first {ratio:.1f} times as probable, {certainty:g} times is asked for)"
        )
    return best[order[0]]


def _junction(curve: Curve, pmj: Volume | None) -> float | None:
    """Row nearest to the pontomedullary junction, counted on beyond the curve's upper end; None without one."""
    if pmj is None:
        return None
    places = np.argwhere(pmj.oriented().data == PMJ)
    if len(places) != 1:
        return None
    point = places[0] * curve.voxel_size
    row = int(np.linalg.norm(curve.centre - point, axis=1).argmin())
    return row + float((point - curve.centre[row]) @ curve.up[row]) / STEP


def _placed(search: Search, chain: Chain, curve: Curve, upright: Volume) -> dict[int, tuple[int, int, int]]:
    """The posterior edge of each disc of a chain that the image bears out, as a voxel."""
    like, rows = search.like, chain.rows * GRID
    rows = np.where(search.evidence[chain.rows] > 0, sharpened(like, rows), rows)
    trusted = [n for n, row in enumerate(rows) if like.score[row] > 0 and search.evidence[chain.rows[n]] > 0]
    edges = np.array([posterior_edge(search.image, int(row), float(like.slope[row])) for row in rows])
    usual = float(np.nanmedian(edges)) if np.isfinite(edges).any() else ROOT
    edges = np.where(np.abs(edges - usual) <= 4.0, edges, usual)  # NaN too
    placed = {}
    for n in trusted:
        row = int(
            np.clip(rows[n] + round(float(like.slope[rows[n]]) * (edges[n] - ROOT) / STEP), 0, len(curve.arc) - 1)
        )
        point = curve.centre[row] + edges[n] * curve.front[row]
        i, j, k = (int(v) for v in np.round(point / curve.voxel_size))
        if all(0 <= v < size for v, size in zip((i, j, k), upright.data.shape, strict=False)):
            placed[chain.first + n] = (i, j, k)
    return placed
