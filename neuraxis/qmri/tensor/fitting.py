"""A tensor fitted in every voxel around the cord by dipy, without the slices that motion correction flagged."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Volume

Maps = tuple[Volume, Volume, Volume, Volume, Volume]
"""FA, MD, AD, RD and the main direction."""

_LEAST = 6
"""Directions that a tensor needs."""


def fitted(
    corrected: Volume,
    volumes: Table,
    b_values: Array,
    b_vectors: Array,
    where: Volume | None,
    motion: Table | None,
    method: str,
    **more: Any,
) -> Maps:
    """The maps of a tensor, zero outside `where` (None: everywhere); `motion` flags slices that a fit leaves out.

    Eigenvalues l1 >= l2 >= l3 of the tensor D in S = S0 exp(-b g' D g) (Basser 1994) give AD = l1, RD = (l2 + l3) / 2,
    MD = (l1 + l2 + l3) / 3 and FA = sqrt(3/2 sum (l - MD)^2 / sum l^2); V1 is the eigenvector of l1.
    """
    upright = corrected.oriented("RAS")
    data = np.asarray(upright.data, np.float64)
    mask = np.ones(data.shape[:3], bool) if where is None else np.asarray(where.oriented("RAS").data) > 0
    kept = np.ones((data.shape[2], data.shape[3]), bool)
    if motion is not None:
        kept[motion["slice"][motion["outlier"] == 1], motion["volume"][motion["outlier"] == 1]] = False
    weighted, b_vectors = volumes["weighted"] == 1, np.reshape(b_vectors, (3, -1))
    made = np.zeros((*data.shape[:3], 7), np.float32)
    for pattern in np.unique(kept, axis=0):
        slices = np.flatnonzero((kept == pattern).all(1))
        chosen = pattern if (pattern & weighted).sum() >= _LEAST and (pattern & ~weighted).any() else np.ones_like(pattern)
        inside = mask[:, :, slices]
        if inside.any():
            values = data[:, :, slices][inside][:, chosen]
            part = np.zeros((*inside.shape, 7), np.float32)
            part[inside] = _maps(values, b_values[chosen], b_vectors[:, chosen], ~weighted[chosen], method, **more)
            made[:, :, slices] = part
    made = np.nan_to_num(made, posinf=0, neginf=0)
    found = [*(made[..., n] for n in range(4)), made[..., 4:]]
    fa, md, ad, rd, v1 = (Volume(one, upright.grid).onto(corrected.grid) for one in found)
    return fa, md, ad, rd, v1


def _maps(values: Array, b_values: Array, b_vectors: Array, unweighted: Array, method: str, **more: Any) -> Array:
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    if (~unweighted).sum() < _LEAST:
        raise ValueError(f"a tensor needs {_LEAST} diffusion-weighted volumes, and there are {(~unweighted).sum()}")
    lone = (~unweighted) & (np.linalg.norm(b_vectors, axis=0) < 0.5)
    if lone.any():
        raise ValueError(f"volume {np.flatnonzero(lone)[0]} is diffusion-weighted and has no direction")
    threshold = float(b_values[unweighted].max()) if unweighted.any() else 0.0
    table = gradient_table(b_values, bvecs=b_vectors.T, b0_threshold=threshold)
    fit = TensorModel(table, fit_method=method, **more).fit(values)
    return np.column_stack([fit.fa, fit.md, fit.ad, fit.rd, fit.evecs[..., 0]])
