"""The figures of one map: every estimator in every region, for many groups of slices at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neuraxis.cord.extraction.estimators import HALF, ratio, weighted_median
from neuraxis.cord.extraction.groups import Group
from neuraxis.cord.extraction.mixing import Fit, Sums, expected, maximum_a_posteriori, ml
from neuraxis.cord.tracts import CLUSTERS, COMBINED, NUMBERS, REGIONS, members
from neuraxis.volume import Array

_PARTS = len(REGIONS)


class Shares(NamedTuple):
    """The voxels with any region, slice by slice, and what they hold."""

    where: tuple[Array, Array, Array]
    """Upright x, y, z, in the order of z."""
    weights: Array
    """Share of each voxel in all that is measured, in the order of NUMBERS; (N, 43)."""
    bounds: Array
    """Voxels bounds[z] to bounds[z + 1] are those of slice z; (Z + 1,)."""

    @classmethod
    def of(cls, atlas: Array) -> Shares:
        """Of an upright atlas (X, Y, Z, 37)."""
        z, y, x = np.nonzero(np.moveaxis(np.any(atlas, axis=3), (0, 1, 2), (2, 1, 0)))
        weights = atlas[x, y, z].astype(np.float64) @ members()
        return cls((x, y, z), weights, np.searchsorted(z, np.arange(atlas.shape[2] + 1)))


def measured(
    shares: Shares, data: Array, groups: Sequence[Group], *, noise_variance: float, label_variance: float, whole_slices: bool
) -> dict[str, Array]:
    """The figures of a map.

    Parameters
    ----------
    shares
        The voxels and what they hold.
    data
        The upright map; (X, Y, Z). What is not a number is left out.
    groups
        Which slices are measured together; G of them.
    noise_variance, label_variance
        Of `maximum_a_posteriori`.
    whole_slices
        Whether values of no weight are points of the median's interpolation.

    Returns
    -------
    Column of the table -> (G, 43); beside them `known`, the share of the region's size where the map is a number, and
    `inflation` of ml.
    """
    values = data[shares.where].astype(np.float64)
    known = np.isfinite(values)
    shift = float(values[known].mean()) if known.any() else 0.0  # squares of small differences lose no digits
    added, top = _slice_by_slice(shares, values, known, shift)
    chosen = np.array([group.chosen for group in groups], float).reshape(len(groups), -1)
    sums = {name: np.tensordot(chosen, one, 1) for name, one in added.items()}
    size, mean = sums["size"], ratio(sums["first"], sums["size"])
    found = {
        "size": size,
        "known": ratio(size, sums["whole"]),
        "fraction": ratio(sums["squares"], size),
        "wa": mean + shift,
        "bin": ratio(sums["own_first"], sums["own"]) + shift,
        "max": _largest(top, chosen),
        "sd": np.sqrt(np.maximum(ratio(sums["second"], size) - mean**2, 0)),
        "left_out": sums["left_out"].astype(int),
    }
    least, likely = _unmixed(
        Sums(sums["gram"], sums["moment"], sums["square"], sums["count"]), size[:, :_PARTS], noise_variance, label_variance
    )
    found |= {"ml": least.value, "ml_error": least.error, "inflation": least.inflation}
    found |= {"map": likely.value, "map_error": likely.error}
    found["median"] = _medians(shares, values, known, groups, data if whole_slices else None)
    return found


def _slice_by_slice(shares: Shares, values: Array, known: Array, shift: float) -> tuple[dict[str, Array], Array]:
    """What the voxels of every slice add up to, and the largest value of each region in it; first axis Z."""
    slices, all_ = len(shares.bounds) - 1, len(NUMBERS)
    names = ("size", "whole", "squares", "first", "second", "own", "own_first", "left_out")
    added: dict[str, Array] = {name: np.zeros((slices, all_)) for name in names}
    added |= {"gram": np.zeros((slices, _PARTS, _PARTS)), "moment": np.zeros((slices, _PARTS))}
    added |= {"square": np.zeros(slices), "count": np.zeros(slices)}
    top = np.full((slices, all_), -np.inf)
    for z in np.flatnonzero(np.diff(shares.bounds)):
        within = slice(shares.bounds[z], shares.bounds[z + 1])
        weights, there = shares.weights[within], known[within]
        added["whole"][z] = weights.sum(0)
        added["left_out"][z] = (weights[~there] > 0).sum(0)
        weights, value = weights[there], values[within][there]
        own, parts, moved = weights >= HALF, weights[:, :_PARTS], value - shift
        added["size"][z], added["squares"][z] = weights.sum(0), (weights**2).sum(0)
        added["first"][z], added["second"][z] = moved @ weights, moved**2 @ weights
        added["own"][z], added["own_first"][z] = own.sum(0), moved @ own
        added["gram"][z], added["moment"][z] = parts.T @ parts, value @ parts
        added["square"][z], added["count"][z] = value @ value, len(value)
        top[z] = np.where(weights > 0, value[:, None], -np.inf).max(0, initial=-np.inf)
    return added, top


def _largest(top: Array, chosen: Array) -> Array:
    found = np.array([top[one > 0].max(0, initial=-np.inf) for one in chosen]).reshape(len(chosen), top.shape[1])
    return np.where(np.isfinite(found), found, np.nan)


def _unmixed(system: Sums, size: Array, noise_variance: float, label_variance: float) -> tuple[Fit, Fit]:
    """ml and map of all that is measured; a combined region is one column, the regions outside it stay columns of their own."""
    before = expected(system, CLUSTERS)
    least = [ml(system)]
    likely = [maximum_a_posteriori(system, before, noise_variance, label_variance)]
    for _, regions in COMBINED.values():
        inside = np.isin(np.arange(_PARTS), regions)
        columns = np.column_stack([inside, np.eye(_PARTS)[:, ~inside]]).astype(float)
        together = np.nan_to_num(ratio((before * size)[:, inside].sum(1), size[:, inside].sum(1)))
        one = system.merged(columns)
        least.append(_first(ml(one)))
        start = np.column_stack([together, before[:, ~inside]])
        likely.append(_first(maximum_a_posteriori(one, start, noise_variance, label_variance)))
    return _joined(least), _joined(likely)


def _first(fit: Fit) -> Fit:
    return Fit(*(one[:, :1] for one in fit))


def _joined(fits: Sequence[Fit]) -> Fit:
    return Fit(*(np.concatenate(parts, axis=1) for parts in zip(*fits, strict=True)))


def _medians(shares: Shares, values: Array, known: Array, groups: Sequence[Group], data: Array | None) -> Array:
    """(G, 43); `data`: the whole upright map, whose values of no weight count too."""
    slices = range(len(shares.bounds) - 1)
    ordered = [np.empty(0)] * len(slices)
    if data is not None:
        ordered = [np.sort(data[:, :, z][np.isfinite(data[:, :, z])]) for z in slices]
    parts = [np.flatnonzero(known[shares.bounds[z] : shares.bounds[z + 1]]) + shares.bounds[z] for z in slices]
    found = np.full((len(groups), len(NUMBERS)), np.nan)
    for number, group in enumerate(groups):
        chosen = np.flatnonzero(group.chosen)
        voxels = np.concatenate([np.empty(0, int), *(parts[z] for z in chosen)])
        found[number] = weighted_median(values[voxels], shares.weights[voxels], [ordered[z] for z in chosen])
    return found
