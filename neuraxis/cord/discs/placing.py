"""From a row of discs along the cord to labels that can be trusted: which is which, and where its posterior edge lies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.curve import Curve, areas_along, curve_of
from neuraxis.cord.discs.numbering import Chain, area_evidence, junction_evidence, numberings
from neuraxis.cord.discs.pattern import ROOT, STEP, Likeness, Picture, picture, posterior_edge
from neuraxis.cord.discs.session import session, voxels_of
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


_OFF = 0.25
"""Discs of another image may lie off those seen here by this share of a spacing; at half of one nobody knows which is which."""


class Untrusted(Exception):
    """Why nothing is labelled."""


class Unnumbered(Untrusted):
    """Why discs that are seen have no numbers."""

    def __init__(self, reason: str, search: Search, curve: Curve):
        super().__init__(reason)
        self.search, self.curve = search, curve


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

    Where they cannot be numbered those of another image of the session tell, if they lie on them; where none is seen those of
    the other image are taken. Either with a warning. All zero where nothing is trusted.
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
        try:
            found = _found(upright, mask, centerline, pmj, searcher, known, certainty, likeness)
        except Untrusted as reason:
            if other_discs is None or not len(other_discs):
                raise
            warnings.warn(f"the image alone does not tell the levels: {reason}", stacklevel=3)
            if not isinstance(reason, Unnumbered):
                return session(image, cord, other_discs)
            found = _numbered_by(other_discs, reason.search, reason.curve, upright)
        for number, voxel in found.items():
            labels[voxel] = number
    except Untrusted as reason:
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
        raise Unnumbered("two ways of telling the discs give them different numbers", trusted[0][0], curve)
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
        row = int(np.abs(_tips(curve)[:, 2] / curve.voxel_size[2] - height).argmin())  # the user saw the posterior edge's height
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
        raise Unnumbered(
            f"{len(rows)} discs are seen, but that near slice {height} may be {disc_name(order[0])} or "
            f"{disc_name(order[1])} (the first {ratio:.1f} times as probable, {certainty:g} times is asked for)",
            search,
            curve,
        )
    return best[order[0]]


def _numbered_by(other_discs: Table, search: Search, curve: Curve, upright: Volume) -> dict[int, tuple[int, int, int]]:
    """The discs seen, under the numbers that discs of another image have at their places; Untrusted where they lie beside them."""
    points = voxels_of(other_discs, upright.grid) * curve.voxel_size
    away = np.linalg.norm(_tips(curve)[None] - points[:, None], axis=2)
    rows = away.argmin(axis=1)
    told = {
        int(number): row / GRID
        for number, row in zip(other_discs["value"], rows, strict=True)
        if 0 < row < len(curve.arc) - 1 and search.image.rows[row]
    }
    middle = int(search.chain.rows[len(search.chain.rows) // 2])
    nearest, off = None, np.inf
    for chains in numberings(search.evidence, search.image.rows[::GRID], middle).values():
        chain = max(chains, key=lambda one: one.score)
        offsets = [abs(row - told[number]) for number, row in enumerate(chain.rows, chain.first) if number in told]
        if offsets and float(np.median(offsets)) < off:
            nearest, off = chain, float(np.median(offsets))
    if nearest is None:
        raise Untrusted("the discs of another image of the session lie beside this image")
    if off > _OFF * float(np.median(np.abs(np.diff(search.chain.rows)))):
        raise Untrusted(
            f"the discs of another image of the session lie {off:.0f} mm off those seen here: somebody moved, or it is another person"
        )
    warnings.warn(
        f"the discs are numbered by those of another image of the session, which lie {off:.0f} mm off (median): their numbers are "
        "right as far as nobody moved by a level",
        stacklevel=4,
    )
    return _placed(search, nearest, curve, upright)


def _tips(curve: Curve) -> Array:
    """(N, 3) where the posterior edge of a disc usually lies; mm of the upright frame."""
    return curve.centre + ROOT * curve.front


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
