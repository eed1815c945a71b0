"""What flows in the measurement of the spinal cord. Slices are those of the upright frame: 0 is the lowest."""

from __future__ import annotations

from neuraxis.artifacts.row import Artifact, Column, File, View, row

_SLICE = {
    "slice": Column("", "axial slice, 0 is the lowest, along the axis of the image that is nearest to the body's", whole=True)
}
_LEVEL = {"level": Column("", "vertebral level: C1..C7 are 1..7, T1..T12 8..19, L1..L5 20..24")}
_NAME = {"name": Column("", "name of the level", text=True)}

_METRICS = {
    "area": Column("mm2", "area of the cord across its axis; partial volumes count in part"),
    "diameter_AP": Column("mm", "diameter from front to back through the middle of the cord"),
    "diameter_RL": Column("mm", "diameter from right to left: axis of the ellipse with the same second moments"),
    "diameter_AP_ellipse": Column("mm", "diameter from front to back of the ellipse with the same second moments"),
    "eccentricity": Column("1", "eccentricity of that ellipse: 0 is a circle"),
    "solidity": Column("1", "area over the area of the convex hull"),
    "orientation": Column("deg", "angle between the right-left axis of the image and that of the cord"),
    "angle_AP": Column("deg", "tilt of the cord in the sagittal plane"),
    "angle_RL": Column("deg", "tilt of the cord in the coronal plane"),
    "length": Column("mm", "length of the cord's axis in the slice"),
    "length_anterior": Column("mm", "the part of diameter_AP in front of the centroid"),
    "length_posterior": Column("mm", "the part of diameter_AP behind the centroid"),
    "area_anterior_left": Column("mm2", "area of the left anterior quadrant"),
    "area_anterior_right": Column("mm2", "area of the right anterior quadrant"),
    "area_posterior_left": Column("mm2", "area of the left posterior quadrant"),
    "area_posterior_right": Column("mm2", "area of the right posterior quadrant"),
    "symmetry_RL": Column("1", "Dice overlap of the cord with its mirror image, right for left"),
    "symmetry_AP": Column("1", "Dice overlap of the cord with its mirror image, front for back"),
    "asymmetry_LR": Column("1", "(left - right) / (left + right) of the half areas"),
}
_TRUST = {
    "trusted": Column("", "1: nothing speaks against the figures of this row; 0: see why", whole=True),
    "why": Column("", "what speaks against them", text=True),
}
_STATISTICS = {
    f"{name}_{short}": Column(column.unit, f"{word} over the slices: {column.meaning}")
    for name, column in _METRICS.items()
    if name != "length"
    for short, word in (("mean", "mean"), ("sd", "standard deviation"))
}


def _morphometry(what: str) -> File:
    return File("morph", entities=(("label", "SC"), ("desc", what)))


ROWS: tuple[Artifact, ...] = (
    # what is given
    row("image", "Cord image", "arbitrary", "(X, Y, Z)", "any contrast", view=View()),
    row("sex", "Sex", "", "()", "of the participant: F or M", kind="text"),
    row("age", "Age", "years", "()", "of the participant", kind="number"),
    row("lesion", "Lesions", "1", "(X, Y, Z)", "drawn by hand, or by another program: 0 or 1", kind="mask",
        file=File("mask", entities=(("label", "lesion"),),
                  given=("_lesion-manual", "_lesion_seg", "_label-lesion_seg", "_label-lesion_mask", "_lesionseg", "_lesion"))),
    row("compression", "Compressed slices", "1", "(X, Y, Z)", "any voxel marks its slice", kind="labels",
        file=File("dseg", entities=(("desc", "compression"),),
                  given=("_label-compression-manual", "_label-compression_dlabel", "_label-compression", "_compression"))),
    row("rootlets", "Nerve rootlets", "1", "(X, Y, Z)", "2..8 are C2..C8, 9 is T1", kind="labels",
        file=File("dseg", entities=(("desc", "rootlets"),), given=("_label-rootlets_dseg", "_rootlets-manual", "_rootlets"))),
    # where the cord is
    row("cord_path", "Path of the cord", "voxel", "(N,)", "a rough centre in every slice that holds the cord", kind="table",
        columns={**_SLICE, "x": Column("voxel", "to the left"), "y": Column("voxel", "to the front"), "score": Column("1", "0 to 1")}),
    row("tissues", "Tissue probabilities", "1", "(X, Y, Z, C)", "cord, canal with the cord, grey matter; 0 to 1"),
    row("cord", "Spinal cord", "1", "(X, Y, Z)", "share of the voxel that is cord; 0 to 1", keep="always", within=(0, 1),
        file=File("probseg", entities=(("label", "SC"),),
                  given=("_seg-manual", "_label-SC_seg-manual", "_label-SC_seg", "_label-SC_mask", "_label-SC_softseg", "_softseg", "_seg"),
                  also=("cord_mask",)),
        view=View("mosaic")),
    row("cord_mask", "Mask of the cord", "1", "(X, Y, Z)", "more than half of the voxel is cord: 0 or 1", kind="mask", keep="always",
        file=File("mask", entities=(("label", "SC"),), metadata=(("Type", "ROI"),), derived=True)),
    row("canal", "Spinal canal", "1", "(X, Y, Z)", "share of the voxel inside the canal, the cord with its fluid; 0 to 1", keep="always",
        within=(0, 1), file=File("probseg", entities=(("label", "canal"),), given=("_label-canal_seg", "_canal_seg", "_canal")),
        view=View("mosaic")),
    row("gray_matter", "Grey matter of the cord", "1", "(X, Y, Z)", "share of the voxel that is grey matter; 0 to 1", keep="always",
        within=(0, 1), file=File("probseg", entities=(("label", "GM"),),
                                 given=("_gmseg-manual", "_label-GM_seg-manual", "_label-GM_seg", "_label-GM_mask", "_gmseg")),
        view=View("mosaic")),
    row("white_matter", "White matter of the cord", "1", "(X, Y, Z)", "cord without grey matter; 0 to 1", keep="always",
        within=(0, 1), file=File("probseg", entities=(("label", "WM"),), given=("_wmseg-manual", "_label-WM_seg", "_wmseg"))),
    row("centerline", "Centerline of the cord", "mm", "(N,)", "one row per slice, from the lowest to the highest", kind="table",
        keep="always", file=File("centerline", entities=(("label", "SC"),)),
        columns={**_SLICE, "x": Column("voxel", "to the left"), "y": Column("voxel", "to the front"),
                 "dx": Column("voxel", "change of x per slice"), "dy": Column("voxel", "change of y per slice"),
                 "x_mm": Column("mm", "right to left, RAS+"), "y_mm": Column("mm", "back to front, RAS+"),
                 "z_mm": Column("mm", "foot to head, RAS+"), "arc_mm": Column("mm", "length of the axis from the lowest slice"),
                 "angle_AP": _METRICS["angle_AP"], "angle_RL": _METRICS["angle_RL"]}),
    # levels
    row("pmj", "Pontomedullary junction", "1", "(X, Y, Z)", "one voxel of value 50; none when it is not in view", kind="labels",
        keep="always", names="discs", file=File("dseg", entities=(("desc", "pmj"),), given=("_pmj-manual", "_label-PMJ_dlabel", "_label-pmj", "_pmj"))),
    row("discs", "Intervertebral discs", "1", "(X, Y, Z)", "one voxel at the posterior tip of each disc; 3 is C2/C3; none when not trusted",
        kind="labels", keep="always", names="discs",
        file=File("dseg", entities=(("desc", "discs"),),
                  given=("_labels-disc-manual", "_label-discs_dlabel", "_label-disc_dlabel", "_labels-disc", "_label-discs_dseg"))),
    row("levels", "Vertebral levels", "1", "(X, Y, Z)", "the cord's slices by vertebra: C1..C7 are 1..7, T1.. 8..; none when not trusted",
        kind="labels", keep="always", names="vertebrae", file=File("dseg", entities=(("seg", "vertebrae"),), derived=True),
        view=View("sagittal")),
    row("level_table", "Table of the levels", "", "(N,)", "one row per vertebral level", kind="table", keep="always",
        file=_morphometry("levels"),
        columns={**_LEVEL, **_NAME, "slice_low": Column("", "lowest slice", whole=True), "slice_high": Column("", "highest slice", whole=True),
                 "body_slice": Column("", "slice of the middle of the vertebral body", whole=True), **_TRUST}),
    row("level_points", "Vertebral bodies", "1", "(X, Y, Z)", "one voxel per level at the cord's centre, at the middle of the body",
        kind="labels", keep="asked", names="vertebrae", file=File("dseg", entities=(("desc", "bodies"),))),
    row("continuous_levels", "Continuous levels", "1", "(X, Y, Z)", "vertebral level and the share of it passed, from above",
        keep="asked", file=File("probseg", entities=(("desc", "levels"),))),
    row("spinal_levels", "Spinal levels", "1", "(X, Y, Z)", "an estimate, with an uncertainty of about one level: C1..C8 are 1..8, T1.. 9..",
        kind="labels", keep="always", names="spinal_levels", file=File("dseg", entities=(("seg", "spinal"),))),
    # shape
    row("shape", "Shape of the cord, slice by slice", "", "(N,)", "one row per slice", kind="table", keep="always",
        file=_morphometry("slices"), view=View("curves"),
        columns={**_SLICE, **_LEVEL, "distance_pmj": Column("mm", "along the cord from the pontomedullary junction"), **_METRICS,
                 "components": Column("", "number of separate parts of the mask in the slice", whole=True), **_TRUST}),
    row("shape_levels", "Shape of the cord, level by level", "", "(N,)", "one row for the whole cord, each level, range and distance",
        kind="table", keep="always", file=_morphometry("shape"),
        columns={"group": Column("", "cord, level, range or pmj", text=True),
                 "level": Column("", "vertebral level, first:last of a range, or distance from the PMJ in mm", text=True), **_NAME,
                 "slices": Column("", "first:last slice, or single ones with ;", text=True), "n_slices": Column("", "number of slices", whole=True),
                 "n_trusted": Column("", "number of slices that are trusted", whole=True), **_STATISTICS,
                 "length_sum": Column("mm", "length of the cord's axis"),
                 "area_mean_trusted": Column("mm2", "mean area over the trusted slices"),
                 "area_uncertainty": Column("mm2", "standard error of the mean area, from the soft boundary and the scatter of neighbours")}),
    row("shape_pam50", "Shape of the cord in the slices of PAM50", "", "(N,)", "one row per slice of the template, 0.5 mm", kind="table",
        keep="always", file=_morphometry("pam50"), columns={"slice": Column("", "slice of PAM50", whole=True), **_LEVEL, **_METRICS}),
    row("normative", "Comparison with healthy adults", "", "(N,)", "one row per level and metric", kind="table", keep="always",
        file=_morphometry("normative"), view=View("normative"),
        columns={**_LEVEL, **_NAME, "metric": Column("", "name of the metric", text=True), "value": Column("", "of the participant, in the metric's unit"),
                 "healthy_mean": Column("", "mean of healthy adults"), "healthy_sd": Column("", "their standard deviation"),
                 "n": Column("", "their number", whole=True), "z": Column("1", "(value - healthy_mean) / healthy_sd"),
                 "stratum": Column("", "who they are: sex and age", text=True)}),
    row("structures", "Grey matter, white matter and canal, slice by slice", "", "(N,)", "one row per structure and slice", kind="table",
        keep="always", file=_morphometry("structures"),
        columns={"structure": Column("", "name of the structure", text=True), **_SLICE, **_LEVEL, "area": Column("mm2", "across the cord's axis"),
                 "ascor": Column("1", "area of the cord over that of the canal")}),
    row("structure_levels", "Grey matter, white matter and canal, level by level", "", "(N,)", "one row per structure and level",
        kind="table", keep="always", file=_morphometry("structurelevels"), columns={}),
    # compression and lesions
    row("compression_ratios", "Compression", "", "(N,)", "one row per compressed slice and metric", kind="table", keep="always",
        file=_morphometry("compression"), columns={}),
    row("compression_risk", "Risk of compression", "", "(N,)", "one row per disc from C3/C4 to C6/C7", kind="table", keep="always",
        file=_morphometry("compressionrisk"), columns={}),
    row("lesion_labels", "Lesions, numbered", "1", "(X, Y, Z)", "1, 2, ... from the lowest", kind="labels", keep="always", names="lesions",
        file=File("dseg", entities=(("label", "lesion"),)), view=View("lesions")),
    row("lesions", "Lesion measures", "", "(N,)", "one row per lesion, and one for all", kind="table", keep="always",
        file=_morphometry("lesions"), columns={}),
    row("lesion_levels", "Lesions by level", "", "(N,)", "one row per lesion and level", kind="table", keep="always",
        file=_morphometry("lesionlevels"), columns={}),
    # straightened
    row("straight_image", "Straightened image", "arbitrary", "(X, Y, Z)", "on a grid of its own, the cord along its last axis", keep="asked",
        file=File("", entities=(("desc", "straight"),))),
    row("smooth_image", "Image smoothed along the cord", "arbitrary", "(X, Y, Z)", "outside the reach of the cord as it was", keep="asked",
        file=File("", entities=(("desc", "smooth"),))),
    row("flat_image", "Flattened image", "arbitrary", "(X, Y, Z)", "each slice moved so that the cord lies in the middle sagittal plane",
        keep="asked", file=File("", entities=(("desc", "flat"),))),
)  # fmt: skip
