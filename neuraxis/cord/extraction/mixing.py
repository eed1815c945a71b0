"""Voxels as mixtures of regions, y = X beta: the regions' values beta by least squares (ml), and with what is known before (map).

All works on the sums X'X, X'y and y'y, so that slices can be added up and hundreds of systems are solved at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neuraxis.volume import Array

_SMALLEST = 1e-9
"""Eigenvalues of X'X with unit diagonal below this share of the largest are zero: double precision knows no better."""

_SEEN = 1e-4
"""A region of which more than this lies in directions that the voxels do not see is not determined."""


class Sums(NamedTuple):
    """What the voxels of one or many systems add up to."""

    gram: Array
    """X'X; (..., R, R)."""
    moment: Array
    """X'y; (..., R)."""
    square: Array
    """y'y; (...)."""
    voxels: Array
    """Their number; (...)."""

    def merged(self, columns: Array) -> Sums:
        """The same voxels with regions added up; `columns` (R, P) is 1 where a region belongs to a column."""
        return Sums(columns.T @ self.gram @ columns, self.moment @ columns, self.square, self.voxels)


class Fit(NamedTuple):
    """Values of the regions, and how well the voxels determine them."""

    value: Array
    """(..., R); NaN for an empty region."""
    error: Array
    """Standard error; (..., R), NaN where nothing is left to estimate it from."""
    inflation: Array
    """Variance over that of a region alone in its voxels; 1 or more, infinite where it is not determined; (..., R)."""


def sums(values: Array, weights: Array) -> Sums:
    """Of voxels: values (N,), weights (N, R). Voxels without any weight say nothing and are left out."""
    inside = (weights > 0).any(axis=1)
    x, y = weights[inside].astype(float), values[inside].astype(float)
    return Sums(x.T @ x, y @ x, np.asarray(y @ y), np.asarray(float(len(y))))


def ml(system: Sums) -> Fit:
    """Least squares, beta = (X'X)^-1 X'y: maximum likelihood with the same noise in every voxel.

    Where the system has no single solution, the smallest one is given, and inflation is infinite.

    Parameters
    ----------
    system
        Sums over the voxels of one or many systems.

    Returns
    -------
    Value, standard error by the residuals, and variance inflation.
    """
    scale = np.sqrt(np.einsum("...ii->...i", system.gram))
    there = scale > 0
    unit = np.where(there, 1 / np.where(there, scale, 1), 0)
    eigen, vectors = np.linalg.eigh(system.gram * unit[..., :, None] * unit[..., None, :])
    kept = eigen > _SMALLEST * eigen[..., -1:]
    kept &= eigen > 0
    inverse = np.where(kept, 1 / np.where(kept, eigen, 1), 0)
    across = vectors**2
    inflation = np.einsum("...rk,...k->...r", across, inverse)
    unseen = np.einsum("...rk,...k->...r", across, ~kept)
    along = np.einsum("...rk,...r->...k", vectors, unit * system.moment) * inverse
    value = unit * np.einsum("...rk,...k->...r", vectors, along)
    noise = noise_variance_of(system, value, kept.sum(-1))
    inflation = np.where(unseen > _SEEN, np.inf, inflation)
    error = np.sqrt(noise[..., None] * np.where(np.isfinite(inflation), inflation, np.nan)) * unit
    return Fit(*(np.where(there, one, np.nan) for one in (value, error, inflation)))


def noise_variance_of(system: Sums, value: Array, rank: Array) -> Array:
    """Sum of squared residuals over the voxels beyond the rank; NaN where there are none."""
    fitted = np.einsum("...r,...rs,...s->...", value, system.gram, value)
    rest = np.maximum(system.square - 2 * (value * system.moment).sum(-1) + fitted, 0)
    free = system.voxels - rank
    return np.where(free > 0, rest / np.where(free > 0, free, 1), np.nan)


def maximum_a_posteriori(system: Sums, before: Array, noise_variance: float = 1.0, label_variance: float = 1.0) -> Fit:
    """Most probable values, where those of the regions scatter normally about `before`.

        beta = beta0 + (X'X + (noise_variance / label_variance) I)^-1 X'(y - X beta0)

    Parameters
    ----------
    system
        Sums over the voxels of one or many systems.
    before
        beta0, what is expected of each region; (..., R).
    noise_variance
        Variance of the map's noise in a voxel; above 0, the map's unit squared.
    label_variance
        Variance of the regions about what is expected of them; above 0, the map's unit squared.

    Returns
    -------
    Value, and its standard error when the ratio of the variances is right and the noise is that of the residuals; inflation
    is 1, for there is always one solution.
    """
    ratio = noise_variance / label_variance
    there = np.einsum("...ii->...i", system.gram) > 0
    inverse = np.linalg.inv(system.gram + ratio * np.eye(system.gram.shape[-1]))
    rest = system.moment - np.einsum("...rs,...s->...r", system.gram, before)
    value = before + np.einsum("...rs,...s->...r", inverse, rest)
    used = np.einsum("...rs,...sr->...", inverse, system.gram)
    noise = noise_variance_of(system, value, used)
    error = np.sqrt(noise[..., None] * np.einsum("...rr->...r", inverse))
    return Fit(np.where(there, value, np.nan), np.where(there, error, np.nan), np.where(there, 1.0, np.nan))


def expected(system: Sums, clusters: Sequence[range]) -> Array:
    """beta0 of every region: the least squares value of its cluster, all regions of a cluster taken together; (..., R).

    0 in a cluster of no weight, where it changes nothing.
    """
    columns = np.zeros((system.gram.shape[-1], len(clusters)))
    for column, regions in enumerate(clusters):
        columns[list(regions), column] = 1
    return np.nan_to_num(ml(system.merged(columns)).value) @ columns.T
