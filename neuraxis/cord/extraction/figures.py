"""The figures of one map: every estimator in every region, for many groups of slices at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neuraxis.cord.extraction.estimators import binary_mean, maximum, ratio, weighted_mean, weighted_median, weighted_sd
from neuraxis.cord.extraction.groups import Group
from neuraxis.cord.extraction.mixing import Fit, Sums, expected, maximum_a_posteriori, ml, sums
from neuraxis.cord.tracts import CLUSTERS, COMBINED, REGIONS, members
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
    ordered = [_ordered(data[:, :, z]) if whole_slices else np.empty(0) for z in range(data.shape[2])]
    found: dict[str, list[Array]] = {}
    systems = []
    for group in groups:
        chosen = np.flatnonzero(group.chosen)
        voxels = np.concatenate([np.empty(0, int), *(np.arange(*shares.bounds[z : z + 2]) for z in chosen)])
        left_out, voxels = voxels[~known[voxels]], voxels[known[voxels]]
        value, weights = values[voxels], shares.weights[voxels]
        size = weights.sum(0)
        lost = shares.weights[left_out]
        one = {
            "size": size,
            "known": ratio(size, size + lost.sum(0)),
            "fraction": ratio((weights**2).sum(0), size),
            "wa": weighted_mean(value, weights),
            "bin": binary_mean(value, weights),
            "median": weighted_median(value, weights, [ordered[z] for z in chosen]),
            "max": maximum(value, weights),
            "sd": weighted_sd(value, weights),
            "left_out": (lost > 0).sum(0),
        }
        for name, figure in one.items():
            found.setdefault(name, []).append(figure)
        systems.append(sums(value, weights[:, :_PARTS]))
    figures = {name: np.stack(each) for name, each in found.items()}
    system = Sums(*(np.stack(part) for part in zip(*systems, strict=True)))
    least, likely = _unmixed(system, figures["size"][:, :_PARTS], noise_variance, label_variance)
    figures |= {"ml": least.value, "ml_error": least.error, "inflation": least.inflation}
    return figures | {"map": likely.value, "map_error": likely.error}


def _ordered(values: Array) -> Array:
    return np.sort(values[np.isfinite(values)])


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
