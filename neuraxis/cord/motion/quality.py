"""How much a series moved before motion correction and after it."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.motion.outliers import lost
from neuraxis.numerics.over_time import over_time
from neuraxis.numerics.slice_shifts import slice_shifts
from neuraxis.table import Table
from neuraxis.volume import Array

WINDOW = 15.0
"""Window in which volumes of one kind are functions of their mean; mm. In a smaller one, noise that is stronger in some tissues
draws every volume the same way: 0.1 mm in each round in a real diffusion series (b = 800 s/mm2), 0.01 mm with this."""


def quality(
    data: Array,
    corrected: Array,
    weights: Array,
    size: tuple[float, float, float],
    kinds: dict[str, Array],
    targets: dict[str, Array],
    shifts: Array,
    outlier: Array,
) -> Table:
    """Motion and noise of each kind of volume, before and after: one row per kind.

    The shift before is the mean length of the shifts that were applied, less the mean over time of each slice; the shift after is
    that of the shifts that are found when the corrected series is laid on its mean once more, as if nothing were known. Both
    without outliers, and without the volumes that are lost. The temporal signal-to-noise ratio is the median of mean / standard
    deviation (ddof 1) over time, without outliers, where the weight exceeds one half.
    """
    rows = []
    where = weights > 0.5
    gone = lost(outlier)
    known = ~(outlier | gone).T
    for kind, chosen in kinds.items():
        several = len(chosen) > 1
        again = np.stack([slice_shifts(corrected[..., t], targets[kind], weights, size, window=WINDOW, alike=True) for t in chosen])
        before, after = (_length(one, known[chosen]) if several else np.nan for one in (shifts[chosen], again))
        noise = [_noise(one[..., chosen], where, ~outlier[:, chosen]) for one in (data, corrected)]
        rows.append({
            "kind": kind, "volumes": len(chosen), "outliers": int(outlier[:, chosen].sum()), "lost": int(gone[chosen].sum()),
            "shift_before": before, "shift_after": after,
            "sd_before": noise[0][0], "sd_after": noise[1][0], "tsnr_before": noise[0][1], "tsnr_after": noise[1][1],
        })  # fmt: skip
    return Table.of_rows(rows)


def _length(shifts: Array, known: Array) -> float:
    """Mean length of shifts (T, Z, 2) where they are known (T, Z), less the mean over time of each slice: what stands still is no motion."""
    mean = (shifts * known[..., None]).sum(0) / np.maximum(known.sum(0), 1)[:, None]
    return float(np.linalg.norm(shifts - mean, axis=-1)[known].mean()) if known.any() else np.nan


def _noise(data: Array, where: Array, kept: Array) -> tuple[float, float]:
    """Mean over voxels of the standard deviation over time relative to the mean signal, and the median ratio of mean to it.

    Without outliers, and without slices of which fewer than two volumes are left.
    """
    where = where & (kept.sum(1) > 1)
    if not where.any():
        return np.nan, np.nan
    mean, spread = (one[where] for one in over_time(data, kept))
    return float(spread.mean() / max(mean.mean(), 1e-9)), float(np.median(mean / np.maximum(spread, 1e-9)))
