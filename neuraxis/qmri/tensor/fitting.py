"""A tensor fitted in every voxel around the cord by dipy, without the slices that motion correction flagged."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from neuraxis.numerics.over_time import kept_slices
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

Maps = tuple[Volume, Volume, Volume, Volume, Volume] | tuple[None, None, None, None, None]
"""FA, MD, AD, RD and the main direction; None where the series allows no tensor."""

_LEAST = 6
"""Directions that a tensor needs."""

_CONDITION = 100.0
"""Largest ratio of singular values of the design, with b relative to the largest: 2 to 10 where directions are spread, 100 where
they lie within some 10 degrees of a plane (computed)."""


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

    A slice of which too little is left stays zero, and a warning tells which. None, with a warning, where no volume is weighted or all are.

    Eigenvalues l1 >= l2 >= l3 of the tensor D in S = S0 exp(-b g' D g) (Basser 1994) give AD = l1, RD = (l2 + l3) / 2,
    MD = (l1 + l2 + l3) / 3 and FA = sqrt(3/2 sum (l - MD)^2 / sum l^2); V1 is the eigenvector of l1.
    """
    upright = corrected.oriented("RAS")
    data = np.asarray(upright.data, np.float64)
    mask = np.ones(data.shape[:3], bool) if where is None else np.asarray(where.oriented("RAS").data) > 0
    kept = kept_slices(motion, data.shape)
    weighted, b_vectors = volumes["weighted"] == 1, np.reshape(b_vectors, (3, -1))
    if weighted.all() or not weighted.any():
        warnings.warn(f"no volume is {'at b = 0' if weighted.all() else 'diffusion-weighted'}: a tensor needs both kinds", stacklevel=3)
        return None, None, None, None, None
    lone = weighted & (np.linalg.norm(b_vectors, axis=0) < 0.5)
    if lone.any():
        raise ValueError(f"volume {np.flatnonzero(lone)[0]} is diffusion-weighted and has no direction")
    if reason := _lacking(b_values, b_vectors, weighted):
        raise ValueError(reason)
    made = np.zeros((*data.shape[:3], 7), np.float32)
    left: dict[str, list[int]] = {}
    for pattern in np.unique(kept, axis=0):
        slices = np.flatnonzero((kept == pattern).all(1))
        inside = mask[:, :, slices]
        slices, inside = slices[inside.any((0, 1))], inside[..., inside.any((0, 1))]
        if not len(slices):
            continue
        if reason := _lacking(b_values[pattern], b_vectors[:, pattern], weighted[pattern]):
            left.setdefault(reason, []).extend(slices.tolist())
            continue
        values = data[:, :, slices][inside][:, pattern]
        part = np.zeros((*inside.shape, 7), np.float32)
        part[inside] = _maps(values, b_values[pattern], b_vectors[:, pattern], ~weighted[pattern], method, **more)
        made[:, :, slices] = part
    for reason, numbers in left.items():
        which = ", ".join(map(str, sorted(numbers)))
        warnings.warn(f"no tensor in slice {which} (from 0, the lowest), zero there: without outliers, {reason}", stacklevel=3)
    made = np.nan_to_num(made, posinf=0, neginf=0)
    found = [*(made[..., n] for n in range(4)), made[..., 4:]]
    fa, md, ad, rd, v1 = (Volume(one, upright.grid).onto(corrected.grid) for one in found)
    return fa, md, ad, rd, v1


def _lacking(b_values: Array, b_vectors: Array, weighted: Array) -> str:
    """Why these volumes tell no tensor, or nothing: ln S = ln S0 - b g' D g has seven unknowns."""
    if weighted.sum() < _LEAST:
        return f"a tensor needs {_LEAST} diffusion-weighted volumes, and there are {weighted.sum()}"
    if weighted.all():
        return "a tensor needs a volume at b = 0, and there is none"
    x, y, z = b_vectors
    relative = np.where(weighted, b_values, 0) / np.max(b_values)
    design = np.column_stack([np.ones(len(b_values)), *(-relative * one for one in (x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z))])
    if not np.linalg.cond(design) < _CONDITION:
        return f"the directions of {weighted.sum()} diffusion-weighted volumes are too much alike for a tensor"
    return ""


def _maps(values: Array, b_values: Array, b_vectors: Array, unweighted: Array, method: str, **more: Any) -> Array:
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    threshold = float(b_values[unweighted].max())
    table = gradient_table(b_values, bvecs=b_vectors.T, b0_threshold=threshold)
    fit = TensorModel(table, fit_method=method, **more).fit(values)
    return np.column_stack([fit.fa, fit.md, fit.ad, fit.rd, fit.evecs[..., 0]])
