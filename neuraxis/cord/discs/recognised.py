"""Discs seen, and told apart by their looks, by a small network of our own, numbered as a chain, or not at all."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis import resources
from neuraxis.cord.curve import Curve
from neuraxis.cord.discs.matching import searched
from neuraxis.cord.discs.numbering import FIRST, LAST, best_chain
from neuraxis.cord.discs.pattern import ROOT, STEP, Likeness, Picture, learned, mean_plane
from neuraxis.cord.discs.placing import GRID, Search, labelled, sharpened
from neuraxis.numerics import nets
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

scipy = lazy.load("scipy")

BACK, COLUMNS, COLUMN_MM = 28, 32, 2
"""The network's picture: from 28 mm behind the cord's centre 32 columns of 2 mm to the front; rows of 1 mm."""

_HALF_WIDTH = 4.0
"""Sagittal planes within this distance of the cord are averaged; mm."""

_LEVEL_MM = (20.0, 12.0)
"""Standard deviations, along the cord and to the front, of the level that the picture is divided by."""

_OFFSET = 100.0
"""Put on the picture: nnU-Net cuts off what is exactly zero, and takes the offset away again."""

_BODY = (9.0, 20.0)
"""Columns (mm in front of the cord's centre) whose probabilities count."""

_SLOPES = np.tan(np.radians(np.arange(-30, 31, 5)))

_UNTILTED = 0.15
"""Loss of probability of a disc tilted by 27 degrees."""

_SHARPNESS_MM = 1.2
"""Standard deviation along the cord that puts the highest score into the middle of a disc."""

_NEAR, _BOTH = 4, 0.75
"""Of the discs found by likeness this share must have one of the network within so many mm."""

_END_MM = 4.0
"""Nearer than this to an end of the view a disc is counted, but not labelled: its middle may lie outside."""

_GAIN = 2.0
"""Weight of the log-odds of a disc."""

_NAMES = 1.0
"""Weight, for all discs together, of what they look like: their neighbours are seen by the same eye, no new evidence."""

_RARE = 1e-3
"""Probability of a name below which the network is not believed."""


def recognised(
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
    """Discs by a small network, in a chain.

    The sagittal picture around the cord is straightened along the centerline and shown to a U-Net of 1.8 MB, trained on
    synthetic pictures of any contrast made from PAM50 alone. It gives each point the probabilities D_n of being of disc n.
    Along the cord, with D = sum D_n averaged over the depth of the bodies, chains of discs p_n are sought by dynamic
    programming,

        max  sum_n 2 log(D / (1 - D))(p_n) + (1 / N) log(D_n / D)(p_n) - (log((p_n - p_n+1) / (c d_n)))^2 / (2 0.09^2)

    with the distances d_n of PAM50 and one size c (its logarithm has a standard deviation of 0.12), for every number of the
    highest disc at once. The area of the cord and the pontomedullary junction count too. Where the number stays open, that of
    the likeness of the discs (`matching`) is taken, if the network sees the same discs; where the two contradict each other,
    a second numbering is nearly as probable, or the discs found are not like each other, nothing is labelled, with a warning.
    Each label lies at the posterior edge of its disc; C1/C2 is no disc and is never labelled.

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
    ValueError: image and cord lie on two grids, the centerline is too short, a knob cannot be read, or the model is missing or
    changed.

    References
    ----------
    Isensee 2021, doi:10.1038/s41592-020-01008-z
    Billot 2023, doi:10.1016/j.media.2023.102789
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    return labelled(image, cord, centerline, pmj, other_discs, _searcher, first=first, certainty=certainty, likeness=likeness)


def _searcher(upright: Volume, curve: Curve, image: Picture) -> tuple[Search, ...]:
    """The network's search, and the one by likeness where the network sees its discs too."""
    seen, like = _seen(upright, curve, image), searched(image)
    if seen is None:
        return ()
    if like is None:
        return (seen,)
    away = np.abs(like.chain.rows[:, None] - seen.chain.rows).min(axis=1)
    return (seen, like) if (away <= _NEAR).mean() >= _BOTH else (seen,)


def _seen(upright: Volume, curve: Curve, image: Picture) -> Search | None:
    """The best chain of the network's discs, their likeness to each other, and the names by their looks."""
    shown = _shown(upright, curve)
    if shown is None:
        return None
    score, slope, names = _along(nets.predict(shown, resources.find("cord-discs")).data[:, :, 0])
    odds = (np.clip(score, 0, 1) + 0.02) / (1.02 - np.clip(score, 0, 1))
    evidence = np.clip(_GAIN * np.log(odds), -4.0, 4.0)
    chain = best_chain(evidence, image.rows[::GRID])
    if chain is None or len(chain.rows) < 2:
        return None
    rows = chain.rows * GRID
    like, agreement = learned(image, rows, slope[chain.rows])
    for _ in range(2):
        sharp = sharpened(like, rows)
        like, agreement = learned(image, sharp, like.slope[sharp])
    ends = np.flatnonzero(image.rows)[[0, -1]]
    beside = (np.abs(np.arange(len(like.score))[:, None] - ends) * STEP < _END_MM).any(axis=1)
    like = Likeness(np.where(beside, np.minimum(like.score, 0.0), like.score), like.slope)
    return Search(image, like, evidence, chain, agreement, _NAMES / len(chain.rows) * np.log(names + _RARE))


def _shown(upright: Volume, curve: Curve) -> Volume | None:
    """What the network sees, (columns, rows, 1): each point against the level around; None where all is alike."""
    front = np.arange(COLUMNS * COLUMN_MM) - float(BACK)
    mean, seen = mean_plane(upright, curve, np.arange(0, len(curve.arc), GRID), front, _HALF_WIDTH)

    def around(what: Array) -> Array:
        return np.asarray(scipy.ndimage.gaussian_filter(what, _LEVEL_MM, mode="constant"))

    level = around(np.clip(mean, 0, None) * seen) / np.maximum(around(seen.astype(float)), 1e-3)
    level = np.maximum(level, max(1e-3 * float(level.max()), 1e-12))
    values = np.clip(np.clip(mean, 0, None) / level - 1, -1.5, 2.5)
    inside = values[seen]
    if not len(inside) or not inside.std() > 0:
        return None
    values = np.where(seen, (values - inside.mean()) / inside.std(), 0.0)
    values = values.reshape(len(values), COLUMNS, COLUMN_MM).mean(axis=2).T[:, :, None] + _OFFSET
    grid = Grid.of(values.shape, np.diag([COLUMN_MM, GRID * STEP, 1.0, 1.0]))
    return Volume(values.astype(np.float32), grid)


def _along(found: Array) -> tuple[Array, Array, Array]:
    """Per row of the search: probability of a disc, its slope, and (numbers, rows) which it is if it is one."""
    front = COLUMN_MM * (np.arange(COLUMNS) + 0.5) - 0.5 - BACK
    columns = np.flatnonzero((front >= _BODY[0]) & (front <= _BODY[1]))
    discs = found[..., -(LAST - FIRST + 1) :]  # (columns, rows, numbers)
    rows = np.arange(discs.shape[1])
    lines = np.empty((len(_SLOPES), len(rows), discs.shape[2]))
    for line, slope in zip(lines, _SLOPES, strict=True):
        places = rows[:, None] + slope * (front[columns] - ROOT)[None]
        for k in range(discs.shape[2]):
            line[:, k] = scipy.ndimage.map_coordinates(
                discs[columns, :, k].T, [places, np.broadcast_to(np.arange(len(columns)), places.shape)], order=1
            ).mean(axis=1)
    score = scipy.ndimage.gaussian_filter1d(lines.sum(axis=2), _SHARPNESS_MM, axis=1)
    score -= _UNTILTED * (_SLOPES[:, None] / 0.5) ** 2
    best = score.argmax(axis=0)
    names = lines[best, rows].T
    return score.max(axis=0), _SLOPES[best], names / np.maximum(names.sum(axis=0), 1e-9)
