"""Discs found as a chain of like patterns along the straightened cord, numbered by their spacing, or not at all."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from neuraxis.cord.curve import Curve, areas_along, curve_of
from neuraxis.cord.discs.numbering import Chain, area_evidence, best_chain, junction_evidence, numberings
from neuraxis.cord.discs.pattern import ROOT, STEP, Likeness, Picture, bands, learned, mixed, picture, posterior_edge
from neuraxis.cord.vertebrae import PMJ, disc_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_THICKEST_MM = 3.0
"""A disc is 4 to 6 mm high in the neck: thicker slices across the cord do not show it."""

_LEAST_VIEW_MM = 45.0
"""Height of the bodies in view below which no chain of three discs fits."""

_ADVICE = "give disc labels in derivatives/labels, or one disc by the knob `first`"

_STARTS = 3
"""How many mixtures of contrasts are followed to the end."""

_LIKE = 3.0
"""Weight, per disc, of its correlation with its neighbours when mixtures are compared; about the score of a sure disc."""

_GRID = 2
"""Rows of the picture per row of the search."""


def matching(
    image: Volume,
    cord: Volume,
    centerline: Table,
    pmj: Volume | None = None,
    *,
    first: str = "",
    certainty: float = 20.0,
    likeness: float = 0.5,
) -> Volume:
    """Chain of like patterns.

    The sagittal picture in front of the cord is straightened along the centerline. Every height gets a score s of a thin
    plate against its surroundings (dark, bright, or bright between dark end plates: the mixture that fits best), which is
    then learned anew from the discs found. Chains of discs p_n are sought by dynamic programming,

        max  sum_n s(p_n) - (log((p_n - p_n+1) / (c d_n)))^2 / (2 0.09^2) - (log c)^2 / (2 0.12^2)

    with the distances d_n of PAM50 and one size c, for every number of the highest disc at once; a disc that should be in
    view but is not costs as much as it would have brought. So the tall C2 without a disc above, the low discs of the neck
    and the growing thoracic ones, the area of the cord and the pontomedullary junction decide the numbers. Where a second
    numbering is nearly as probable nothing is labelled, with a warning. Thick axial slices and pictures without vertebral
    bodies give no labels either. Each label lies at the posterior edge of its disc; C1/C2 is no disc and is never labelled.

    Parameters
    ----------
    image
        Image of any contrast; any unit, (X, Y, Z), finite.
    cord
        Cord; 0 to 1, (X, Y, Z), binary or soft.
    centerline
        Line of the cord; table with the columns slice, x, y in voxels of the upright frame.
    pmj
        Pontomedullary junction; (X, Y, Z), one voxel of value 50 or none.
    first
        One disc that is known, as "disc:slice", e.g. "3:120" for C2/C3 in upright slice 120; empty lets the image decide.
    certainty
        How many times more probable than the second the best numbering must be; at least 1.
    likeness
        Least mean correlation of each disc with the mean of the others; 0 to 1. Lower accepts poorer images.

    Returns
    -------
    discs: labels, (X, Y, Z), whole numbers, one voxel per disc (3 is C2/C3, 8 C7/T1, 20 T12/L1); all zero if none is trusted.

    Raises
    ------
    ValueError: image and cord lie on two grids, the centerline is too short, or a knob cannot be read.

    References
    ----------
    Ullmann 2014, doi:10.1155/2014/719520
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
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
        found = _found(upright, mask, centerline, pmj, known, certainty, likeness)
        for number, voxel in found.items():
            labels[voxel] = number
    except _Untrusted as reason:
        warnings.warn(f"levels are not trusted: {reason}; {_ADVICE}", stacklevel=2)
    return Volume(labels, upright.grid).onto(image.grid)


class _Untrusted(Exception):
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
class _Search:
    """What the numbering is decided on."""

    image: Picture
    like: Likeness
    evidence: Array
    chain: Chain
    agreement: float
    margin: float = np.inf
    """By how much (log-probability) it beats a chain of what lies between its discs."""


def _found(
    upright: Volume,
    mask: Volume,
    centerline: Table,
    pmj: Volume | None,
    known: tuple[int, float] | None,
    certainty: float,
    likeness: float,
) -> dict[int, tuple[int, int, int]]:
    """Disc -> voxel of the upright frame."""
    thickness = upright.grid.voxel_size[2]
    if thickness > _THICKEST_MM:
        raise _Untrusted(f"slices of {thickness:.1f} mm across the cord do not show the discs")
    curve = curve_of(upright, centerline, step=STEP, extend=15.0)
    image = picture(upright, curve)
    height = image.rows.sum() * STEP
    if height < _LEAST_VIEW_MM:
        raise _Untrusted(f"only {height:.0f} mm of vertebral bodies are in view in front of the cord")
    search = _searched(image)
    if search is None or search.agreement < likeness or len(search.chain.rows) < (2 if known else 3):
        raise _Untrusted("no row of like discs is seen in front of the cord")
    if search.margin < np.log(certainty):
        raise _Untrusted("discs and vertebral bodies cannot be told apart")
    chain = _numbered(search, curve, mask, pmj, known, certainty)
    return _placed(search, chain, curve, upright)


def _searched(image: Picture) -> _Search | None:
    """The best chain: under the likeliest mixtures of contrasts first, then under the pattern that its own discs show."""
    seen, parts = image.rows[::_GRID], bands(image)
    starts = []
    for degrees in range(0, 360, 30):
        like = mixed(image, parts, degrees)
        evidence = np.clip(2.5 * (like.score - 0.5), -4.0, 4.0)[::_GRID]
        chain = best_chain(evidence, seen)
        if chain is not None:
            starts.append(_Search(image, like, evidence, chain, 0.0))
    starts.sort(key=lambda one: -one.chain.score)
    ends = []
    for start in starts[:_STARTS]:
        end = _relearned(start, seen)
        # thin plates at the start and likeness among the discs at the end: bodies are like each other too, but not thin
        ends.append((start.chain.score + end.chain.score + _LIKE * end.agreement * len(end.chain.rows), end))
    if not ends:
        return None
    ends.sort(key=lambda one: -one[0])
    score, best = ends[0]
    margin = min((score - other for other, rival in ends[1:] if _between(best, rival)), default=np.inf)
    return _Search(best.image, best.like, best.evidence, best.chain, best.agreement, margin)


def _between(search: _Search, rival: _Search) -> bool:
    """Whether the rival's discs lie between those of the search: one of the two has taken bodies for discs."""
    rows, others = search.chain.rows, rival.chain.rows
    if len(rows) < 2 or len(others) < 2:
        return False
    away = np.abs(rows[:, None] - others).min(axis=1)
    return bool(np.median(away) > 0.25 * np.median(np.abs(np.diff(rows))))


def _relearned(search: _Search, seen: Array, rounds: int = 3) -> _Search:
    for _ in range(rounds):
        rows = _sharpened(search.like, search.chain.rows * _GRID)
        rows = rows[search.like.score[rows] > 0.5]
        if len(rows) < 2:
            return search
        like, agreement = learned(search.image, rows, search.like.slope[rows])
        typical = max(float(np.median(like.score[rows])), 0.5)
        evidence = np.clip(6.0 * (like.score / typical - 0.5), -4.0, 4.0)[::_GRID]
        chain = best_chain(evidence, seen)
        if chain is None:
            return search
        search = _Search(search.image, like, evidence, chain, agreement)
    return search


def _sharpened(like: Likeness, rows: Array) -> Array:
    """Each row moved to the highest score within 1.5 mm."""
    reach = np.arange(-round(1.5 / STEP), round(1.5 / STEP) + 1)
    around = np.clip(rows[:, None] + reach, 0, len(like.score) - 1)
    return around[np.arange(len(rows)), like.score[around].argmax(axis=1)]


def _numbered(
    search: _Search,
    curve: Curve,
    mask: Volume,
    pmj: Volume | None,
    known: tuple[int, float] | None,
    certainty: float,
) -> Chain:
    """The chain of the one numbering that is clearly the best."""
    seen = search.image.rows[::_GRID]
    if known is not None:
        number, height = known
        tips = curve.centre[:, 2] + ROOT * curve.front[:, 2]  # the height that the user saw is the posterior edge's
        row = int(np.abs(tips / curve.voxel_size[2] - height).argmin())
        chains = numberings(search.evidence, seen, row // _GRID, slack=5).get(number, [])
        chain = max(chains, key=lambda one: one.score, default=None)
        if chain is None or search.evidence[chain.rows[number - chain.first]] <= 0:
            raise _Untrusted(f"no disc is seen near slice {height:g}, which was given for {disc_name(number)}")
        return chain
    rows = search.chain.rows
    reference = int(rows[np.argsort(np.abs(np.arange(len(rows)) - (len(rows) - 1) / 2), kind="stable")[0]])
    areas, junction = areas_along(curve, mask)[::_GRID], _junction(curve, pmj)
    probable: dict[int, float] = {}
    best: dict[int, Chain] = {}
    for number, chains in numberings(search.evidence, seen, reference).items():
        scores = []
        for chain in chains:
            more = area_evidence(chain, areas)
            if junction is not None:
                more += junction_evidence(chain, junction / _GRID)
            scores.append(chain.score + more)
        best[number] = chains[int(np.argmax(scores))]
        probable[number] = float(np.logaddexp.reduce(scores))
    order = sorted(probable, key=lambda number: -probable[number])
    ratio = np.exp(min(probable[order[0]] - probable[order[1]], 50.0)) if len(order) > 1 else np.inf
    if ratio < certainty:
        height = round(float(curve.centre[reference * _GRID, 2] / curve.voxel_size[2]))
        raise _Untrusted(
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


def _placed(search: _Search, chain: Chain, curve: Curve, upright: Volume) -> dict[int, tuple[int, int, int]]:
    """The posterior edge of each disc of a chain that the image bears out, as a voxel."""
    like, rows = search.like, chain.rows * _GRID
    rows = np.where(search.evidence[chain.rows] > 0, _sharpened(like, rows), rows)
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
