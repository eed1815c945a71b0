"""Signals over time that are not of neurons: motion, fluid, and what lies outside the cord."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.motion.outliers import lost
from neuraxis.table import Table
from neuraxis.volume import Array

_INSIDE = 0.9
"""Share of a voxel that must be fluid (canal without cord), or cord, to count for its signal."""


def confounds(corrected: Array, motion: Table, motion_weights: Array, cord: Array, canal: Array | None = None) -> Table:
    """Nuisance regressors of a functional series, under the names of fMRIPrep.

    trans_x and trans_y are the mean shifts over the slices of a volume that are no outliers; their derivatives are the
    differences to the volume before (n/a in the first), and the framewise displacement is the sum of their absolute values
    (Power 2012; a slice-wise translation has no other parameters). They are n/a where more than half of the slices of the volume, or of
    the one before, are outliers: what stands in for such shifts is no measurement. csf, cord and outside_cord are mean signals: of the canal
    without the cord, of the cord, and of what is around it outside the canal.

    Parameters
    ----------
    corrected
        Functional series without motion; any unit, (X, Y, Z, T).
    motion
        Motion of every slice; columns volume, slice, x, y (mm), outlier.
    motion_weights
        Where motion was looked for; (X, Y, Z). What is outside the cord is taken from where they exceed one half.
    cord
        Share of the voxel that is cord; (X, Y, Z), 0 to 1.
    canal
        Share of the voxel inside the canal, the cord with its fluid; (X, Y, Z), 0 to 1. Without it there is no csf.

    Returns
    -------
    One row per volume. A signal is n/a throughout where no voxel is wholly of its kind.

    References
    ----------
    Power 2012, doi:10.1016/j.neuroimage.2011.10.018
    Kong 2012, doi:10.1016/j.neuroimage.2011.11.077
    """
    number = corrected.shape[3]
    bad = motion["outlier"].reshape(number, -1) == 1
    unknown = bad | lost(bad.T)[:, None]
    seen = np.where(unknown.all(1), np.nan, (~unknown).sum(1))  # of a lost volume no motion is known
    columns: dict[str, Array] = {}
    for axis in ("x", "y"):
        columns[f"trans_{axis}"] = np.where(unknown, 0, motion[axis].reshape(number, -1)).sum(1) / seen
        columns[f"trans_{axis}_derivative1"] = np.diff(columns[f"trans_{axis}"], prepend=np.nan)
    steps = np.abs(columns["trans_x_derivative1"]) + np.abs(columns["trans_y_derivative1"])
    regions = {"csf": None if canal is None else canal - cord > _INSIDE, "cord": cord > _INSIDE}
    rest = (motion_weights > 0.5) & ((cord if canal is None else np.maximum(canal, cord)) == 0)
    columns |= {"framewise_displacement": steps}
    for name, where in (regions | {"outside_cord": rest}).items():
        known = where is not None and where.any()
        columns[name] = corrected[where].mean(0, dtype=np.float64) if known else np.full(number, np.nan)
    return Table.of(columns | {"outlier_slices": bad.sum(1)})
