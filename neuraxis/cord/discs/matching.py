"""Discs found as a chain of like patterns along the straightened cord, numbered by their spacing, or not at all."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.curve import Curve
from neuraxis.cord.discs.numbering import best_chain
from neuraxis.cord.discs.pattern import Picture, bands, learned, mixed
from neuraxis.cord.discs.placing import GRID, Search, labelled, sharpened
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_STARTS = 3
"""How many mixtures of contrasts are followed to the end."""

_LIKE = 3.0
"""Weight, per disc, of its correlation with its neighbours when mixtures are compared; about the score of a sure disc."""


def matching(
    image: Volume,
    cord: Volume,
    centerline: Table,
    pmj: Volume | None = None,
    other_discs: Table | None = None,
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
    other_discs
        Discs of the session's reference image: value, and x, y, z in mm (RAS+). They number the discs seen here, if they lie
        on them, or are taken where none is seen, when this image alone does not tell; with a warning.
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
    return labelled(image, cord, centerline, pmj, other_discs, _searcher, first=first, certainty=certainty, likeness=likeness)


def _searcher(upright: Volume, curve: Curve, image: Picture) -> tuple[Search, ...]:
    found = searched(image)
    return () if found is None else (found,)


def searched(image: Picture) -> Search | None:
    """The best chain: under the likeliest mixtures of contrasts first, then under the pattern that its own discs show."""
    seen, parts = image.rows[::GRID], bands(image)
    starts = []
    for degrees in range(0, 360, 30):
        like = mixed(image, parts, degrees)
        evidence = np.clip(2.5 * (like.score - 0.5), -4.0, 4.0)[::GRID]
        chain = best_chain(evidence, seen)
        if chain is not None:
            starts.append(Search(image, like, evidence, chain, 0.0))
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
    return Search(best.image, best.like, best.evidence, best.chain, best.agreement, margin=margin)


def _between(search: Search, rival: Search) -> bool:
    """Whether the rival's discs lie between those of the search: one of the two has taken bodies for discs."""
    rows, others = search.chain.rows, rival.chain.rows
    if len(rows) < 2 or len(others) < 2:
        return False
    away = np.abs(rows[:, None] - others).min(axis=1)
    return bool(np.median(away) > 0.25 * np.median(np.abs(np.diff(rows))))


def _relearned(search: Search, seen: Array, rounds: int = 3) -> Search:
    for _ in range(rounds):
        rows = sharpened(search.like, search.chain.rows * GRID)
        rows = rows[search.like.score[rows] > 0.5]
        if len(rows) < 2:
            return search
        like, agreement = learned(search.image, rows, search.like.slope[rows])
        typical = max(float(np.median(like.score[rows])), 0.5)
        evidence = np.clip(6.0 * (like.score / typical - 0.5), -4.0, 4.0)[::GRID]
        chain = best_chain(evidence, seen)
        if chain is None:
            return search
        search = Search(search.image, like, evidence, chain, agreement)
    return search
