"""What flows in the measurement of diffusion and function in the spinal cord. Directions in space are RAS+."""

from __future__ import annotations

from neuraxis.artifacts.row import Artifact, Column, File, View, row

_VOLUME = {"volume": Column("", "volume of the series, from 0", whole=True)}

_VOLUMES = {
    **_VOLUME,
    "b_value": Column("s/mm2", "b-value"),
    "weighted": Column("", "1: diffusion-weighted; 0: counts as b = 0", whole=True),
}
_MOTION = {
    **_VOLUME,
    "slice": Column("", "axial slice, 0 is the lowest", whole=True),
    "x": Column("mm", "how far the slice had moved to the right, against the mean; taken back"),
    "y": Column("mm", "how far the slice had moved to the front, against the mean; taken back"),
    "outlier": Column("", "1: too dim, too bright or unlike the mean; its shift comes from its neighbours", whole=True),
}
_QUALITY = {
    "kind": Column("", "the volumes that look alike: diffusion, b0 or all", text=True),
    "volumes": Column("", "how many of them", whole=True),
    "outliers": Column("", "slices that are too dim, too bright or unlike the mean", whole=True),
    "lost": Column("", "volumes of which more than half of the slices are outliers", whole=True),
    "shift_before": Column("mm", "mean length of the shifts of slices before, less their mean over time; without outliers"),
    "shift_after": Column("mm", "mean length of the shifts that are found again in the corrected series"),
    "sd_before": Column("1", "standard deviation over time around the cord, over the mean signal, before"),
    "sd_after": Column("1", "the same, after"),
    "tsnr_before": Column("1", "median temporal signal-to-noise ratio around the cord, before"),
    "tsnr_after": Column("1", "the same, after"),
}
_CONFOUNDS = {
    "trans_x": Column("mm", "mean shift of the slices to the right; n/a where more than half of them are outliers"),
    "trans_x_derivative1": Column("mm", "its difference to the volume before"),
    "trans_y": Column("mm", "mean shift of the slices to the front; n/a where more than half of them are outliers"),
    "trans_y_derivative1": Column("mm", "its difference to the volume before"),
    "framewise_displacement": Column("mm", "sum of the absolute values of both differences"),
    "csf": Column("arbitrary", "mean signal of the canal without the cord"),
    "cord": Column("arbitrary", "mean signal of the cord"),
    "outside_cord": Column("arbitrary", "mean signal around the cord, outside the canal"),
    "outlier_slices": Column("", "slices that are too dim, too bright or unlike the mean", whole=True),
}


def _tensor(parameter: str) -> File:
    unit = {"fa": "1", "v1": "1"}.get(parameter, "mm2/s")
    entities = (("model", "tensor"), ("param", parameter))
    return File("dwimap", "dwi", entities, metadata=(("SkullStripped", False), ("Units", unit)), derived=True)


def _whole(what: str) -> File:
    return File("", entities=(("desc", what),), metadata=(("SkullStripped", False),), derived=True, beside=True)


ROWS: tuple[Artifact, ...] = (
    row("series", "Series", "arbitrary", "(X, Y, Z, T)", "volumes over time, as they were measured"),
    row("b_values", "b-values", "s/mm2", "(T,)", "of every volume", kind="numbers"),
    row("b_vectors", "Directions of the gradients", "1", "(3, T)", "unit vectors in the world, RAS+; zero without weighting", kind="numbers"),
    row("volumes", "Kinds of volumes", "", "(T,)", "which volumes are diffusion-weighted", kind="table", columns=_VOLUMES),
    row(
        "denoised", "Denoised series", "arbitrary", "(X, Y, Z, T)", "what its volumes tell of each other; it takes the place of the series",
        keep="asked", file=_whole("denoised"),
    ),
    row(
        "motion_weights", "Where motion is looked for", "1", "(X, Y, Z)", "soft weights around the rough path of the cord; 0 to 1",
        keep="made", within=(0, 1), file=File("probseg", entities=(("label", "moco"),), given=("_mask-moco", "_label-moco_mask")),
    ),
    row(
        "corrected", "Series without motion", "arbitrary", "(X, Y, Z, T)",
        "every slice of every volume moved in its plane; no rotation, so that directions of gradients stay",
        keep="always", file=_whole("preproc"), view=View("before"),
    ),
    row(
        "motion", "Motion of every slice", "", "(N,)", "one row per volume and slice", kind="table", keep="always", over_time=True,
        file=File("timeseries", entities=(("desc", "motion"),)), columns=_MOTION, view=View("motion"),
    ),
    row(
        "motion_quality", "Motion before and after", "", "(N,)", "one row per kind of volume", kind="table", keep="always", pooled=True,
        file=File("stats", entities=(("desc", "motion"),)), columns=_QUALITY,
    ),
    row(
        "b0_mean", "Mean at b = 0", "arbitrary", "(X, Y, Z)", "after motion correction, without outlying slices", keep="always",
        file=File("+ref", entities=(("desc", "meanb0"),), metadata=(("SkullStripped", False),), derived=True),
    ),
    row("tsnr", "Temporal signal-to-noise ratio", "1", "(X, Y, Z)", "mean over standard deviation over time, after motion correction",
        keep="always", statistics=True, view=View("ratio"),
        file=File("boldmap", "func", (("stat", "tsnr"),), metadata=(("SkullStripped", False), ("Units", "1")), derived=True)),
    row("tsnr_before", "Temporal signal-to-noise ratio before motion correction", "1", "(X, Y, Z)", "mean over standard deviation over time"),
    row("fa", "Fractional anisotropy", "1", "(X, Y, Z)", "0 where diffusion is the same in all directions, to 1", keep="always", file=_tensor("fa"),
        view=View("within", 0, 1)),
    row("md", "Mean diffusivity", "mm2/s", "(X, Y, Z)", "mean of the eigenvalues", keep="always", file=_tensor("md"), view=View("within", 0, 2.5e-3)),
    row("ad", "Axial diffusivity", "mm2/s", "(X, Y, Z)", "largest eigenvalue: along the fibres", keep="always", file=_tensor("ad")),
    row("rd", "Radial diffusivity", "mm2/s", "(X, Y, Z)", "mean of the other two eigenvalues: across the fibres", keep="always", file=_tensor("rd")),
    row("v1", "Main direction of diffusion", "1", "(X, Y, Z, 3)", "unit vector in the world, RAS+, with either sign", keep="asked",
        file=_tensor("v1")),
    row(
        "confounds", "Nuisance regressors", "", "(T,)", "one row per volume", kind="table", keep="always", over_time=True,
        file=File("timeseries", entities=(("desc", "confounds"),)), columns=_CONFOUNDS,
    ),
    row(
        "smooth_volumes", "Series smoothed along the cord", "arbitrary", "(X, Y, Z, T)", "outside the reach of the cord as it was",
        keep="asked", file=_whole("smooth"),
    ),
)  # fmt: skip
