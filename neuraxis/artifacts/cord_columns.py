"""The columns of the tables of the spinal cord: what each means, and its unit."""

from __future__ import annotations

from neuraxis.artifacts.row import Column

Columns = dict[str, Column]

_SLICE = {
    "slice": Column(
        "", "axial slice, 0 is the lowest, along the axis of the image that is nearest to the body's", whole=True
    )
}
_LEVEL = {"level": Column("", "vertebral level: C1..C7 are 1..7, T1..T12 8..19, L1..L5 20..24")}
_NAME = {"name": Column("", "name of the level, or of what else the row is about", text=True)}

_METRICS = {
    "area": Column("mm2", "area of the cord across its axis; partial volumes count in part"),
    "area_uncertainty": Column("mm2", "standard error of the area, from its soft outline"),
    "diameter_AP": Column("mm", "diameter from front to back through the middle of the cord"),
    "diameter_RL": Column("mm", "diameter from right to left: axis of the ellipse with the same second moments"),
    "diameter_AP_ellipse": Column("mm", "diameter from front to back of the ellipse with the same second moments"),
    "eccentricity": Column("1", "eccentricity of that ellipse: 0 is a circle"),
    "solidity": Column("1", "area over the area of the convex hull"),
    "orientation": Column("deg", "angle between the right-left axis of the image and that of the cord"),
    "angle_AP": Column("deg", "tilt of the cord in the coronal plane, about the front-back axis"),
    "angle_RL": Column("deg", "tilt of the cord in the sagittal plane, about the right-left axis"),
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
_REGION = {
    "region": Column("", "region of the atlas, counted from 0; from 50 on several together", whole=True),
    "region_name": Column("", "its name", text=True),
}
_TRACT_FIGURES = {
    "size": Column("voxel", "sum of the region's shares in voxels where the metric is known"),
    "volume": Column("mm3", "the same in mm3"),
    "fraction": Column("1", "share that the region has of its voxels, on average over its volume; 1 is no partial volume"),
    "wa": Column("", "mean weighted with these shares, in the metric's unit like all that follows"),
    "bin": Column("", "mean over voxels of which the region has at least half; n/a without one"),
    "median": Column("", "weighted median"),
    "max": Column("", "largest value in any voxel of the region"),
    "ml": Column("", "value of the region alone, its neighbours in shared voxels taken out: least squares"),
    "map": Column("", "the same, drawn towards what white matter, grey matter or fluid has as a whole"),
    "sd": Column("", "weighted standard deviation over the voxels"),
    "ml_error": Column("", "standard error of ml, by the residuals"),
    "map_error": Column("", "standard error of map, by the residuals and the spread that regions may have"),
    "left_out": Column("", "voxels of the region where the metric is not known: not a number, or zero in a computed map", whole=True),
}

CORD_PATH: Columns = {
    **_SLICE,
    "x": Column("voxel", "to the left"),
    "y": Column("voxel", "to the front"),
    "score": Column("1", "0 to 1"),
}

CENTERLINE: Columns = {
    **_SLICE,
    "x": Column("voxel", "to the left"),
    "y": Column("voxel", "to the front"),
    "dx": Column("voxel", "change of x per slice"),
    "dy": Column("voxel", "change of y per slice"),
    "x_mm": Column("mm", "right to left, RAS+"),
    "y_mm": Column("mm", "back to front, RAS+"),
    "z_mm": Column("mm", "foot to head, RAS+"),
    "arc_mm": Column("mm", "length of the axis from the lowest slice"),
    "angle_AP": _METRICS["angle_AP"],
    "angle_RL": _METRICS["angle_RL"],
}

LEVEL_TABLE: Columns = {
    **_LEVEL,
    **_NAME,
    "slice_low": Column("", "lowest slice", whole=True),
    "slice_high": Column("", "highest slice", whole=True),
    "body_slice": Column("", "slice of the middle of the vertebral body", whole=True),
    "disc_above": Column("", "slice of the disc above, a fraction; n/a without a label"),
    "disc_below": Column("", "slice of the disc below, a fraction; n/a without a label"),
    **_TRUST,
}

SHAPE: Columns = {
    **_SLICE,
    **_LEVEL,
    "distance_pmj": Column("mm", "along the cord from the pontomedullary junction"),
    **_METRICS,
    "components": Column("", "number of separate parts of the mask in the slice", whole=True),
    **_TRUST,
}

SHAPE_LEVELS: Columns = {
    "group": Column("", "cord, level, range or pmj", text=True),
    "level": Column("", "vertebral level, first:last of a range, or distance from the PMJ in mm", text=True),
    **_NAME,
    "slices": Column("", "first:last slice, or single ones with ;", text=True),
    "n_slices": Column("", "number of slices", whole=True),
    "n_trusted": Column("", "number of slices that are trusted", whole=True),
    "distance_pmj": Column("mm", "of the row's middle, along the cord from the pontomedullary junction"),
    **_STATISTICS,
    "length_sum": Column("mm", "length of the cord's axis"),
    "area_mean_trusted": Column("mm2", "mean area over the trusted slices"),
    "area_uncertainty": Column(
        "mm2", "standard error of the mean area, from the soft boundary and the scatter of neighbours"
    ),
    **_TRUST,
}

SHAPE_PAM50: Columns = {
    "slice": Column("", "slice of PAM50", whole=True),
    **_LEVEL,
    "slice_image": Column("", "place in the image that it was taken from"),
    **_METRICS,
    "trusted": Column("", "1 where the slices of the image on both sides and their level are trusted", whole=True),
}

NORMATIVE: Columns = {
    **_LEVEL,
    **_NAME,
    "metric": Column("", "name of the metric", text=True),
    "value": Column("", "of the participant, in the metric's unit"),
    "healthy_mean": Column("", "mean of healthy adults"),
    "healthy_sd": Column("", "their standard deviation"),
    "n": Column("", "their number", whole=True),
    "z": Column("1", "(value - healthy_mean) / healthy_sd"),
    "stratum": Column("", "who they are: sex and age", text=True),
    "slices": Column("", "number of PAM50 slices that were compared", whole=True),
}

STRUCTURES: Columns = {
    "structure": Column("", "name of the structure", text=True),
    **_SLICE,
    **_LEVEL,
    "area": Column("mm2", "across the cord's axis"),
    "ascor": Column("1", "area of the cord over that of the canal"),
    **_TRUST,
}

STRUCTURE_LEVELS: Columns = {
    "structure": Column("", "name of the structure", text=True),
    **_LEVEL,
    **_NAME,
    "area": Column("mm2", "mean over the slices"),
    "area_sd": Column("mm2", "standard deviation over the slices"),
    "slices": Column("", "number of slices", whole=True),
    "ascor": Column("1", "area of the cord over that of the canal, over all slices of the level"),
    **_TRUST,
}

COMPRESSION_RATIOS: Columns = {
    **_SLICE,
    **_LEVEL,
    **_NAME,
    "metric": Column("", "name of the metric", text=True),
    "value": Column("", "at the compression, in the metric's unit"),
    "reference_above": Column("", "mean of the metric above the highest compression"),
    "reference_below": Column("", "mean of the metric below the lowest compression"),
    "ratio": Column("percent", "100 (1 - value / mean of both references); positive where the value is smaller"),
    "ratio_pam50": Column("percent", "the same in the slices of PAM50"),
    "ratio_pam50_normalised": Column("percent", "the same after division by the mean of healthy adults"),
    "stratum": Column("", "sex and age of these", text=True),
    "why": Column("", "what is missing or short", text=True),
}

COMPRESSION_RISK: Columns = {
    "disc": Column("", "label of the disc; 4 is C3/C4", whole=True),
    "name": Column("", "name of the disc", text=True),
    **_SLICE,
    "compression_ratio": Column("percent", "100 diameter_AP / diameter_RL"),
    "area": _METRICS["area"],
    "solidity": Column("percent", "100 solidity"),
    "torsion": Column("deg", "mean change of orientation between neighbouring slices"),
    "probability": Column("1", "of a compression, by a logistic model; 0 to 1"),
    "category": Column("", "yes, possible or no", text=True),
    "why": Column("", "what is missing", text=True),
}

LESIONS: Columns = {
    "lesion": Column("", "number of the lesion; 0 is all together", whole=True),
    "count": Column("", "number of lesions", whole=True),
    "volume": Column("mm3", "volume"),
    "length": Column("mm", "along the cord"),
    "width": Column("mm", "largest extent from front to back"),
    "max_equivalent_diameter": Column("mm", "of the circle with the largest area across the cord"),
    "max_axial_damage_ratio": Column("1", "largest share of the cord's area in a slice"),
    "mean": Column("", "mean of the image in it, in the image's unit"),
    "std": Column("", "standard deviation of the image in it"),
    "slice_low": Column("", "lowest slice"),
    "slice_high": Column("", "highest slice"),
    "level_top": Column("", "highest vertebral level"),
    "level_bottom": Column("", "lowest vertebral level"),
    "levels": Column("", "names of these", text=True),
    "midsagittal_slice": Column(
        "", "place of the midsagittal plane, to the left; between two slices their values are mixed"
    ),
    "length_midsagittal": Column("mm", "along the cord in that plane"),
    "width_midsagittal": Column("mm", "from front to back in that plane"),
    "dorsal_bridge": Column("mm", "least spared tissue behind the lesion in that plane"),
    "ventral_bridge": Column("mm", "least spared tissue before it"),
    "total_bridge": Column("mm", "sum of both"),
    "dorsal_bridge_ratio": Column("percent", "share of the dorsal bridge in the sum"),
    "ventral_bridge_ratio": Column("percent", "share of the ventral bridge in the sum"),
    "bridge_from": Column(
        "", "lesion; or cord, where the plane meets no lesion and half the diameter goes to each side", text=True
    ),
}

LESION_LEVELS: Columns = {
    "lesion": Column("", "number of the lesion; 0 is all together", whole=True),
    **_LEVEL,
    **_NAME,
    "volume": Column("mm3", "of the lesion in the level"),
    "share": Column("percent", "of the lesion that lies in the level"),
    "occupied": Column("percent", "of the level's cord that is lesion"),
}

LESION_TRACTS: Columns = {
    "lesion": Column("", "number of the lesion; 0 is all together", whole=True),
    "level": Column("", "vertebral level; 0 is all levels", whole=True),
    **_REGION,
    "volume": Column("mm3", "of the lesion in the region"),
    "share": Column("percent", "of the lesion that lies in the region"),
    "occupied": Column("percent", "of the region, in that level, that is lesion"),
}

_METRIC = {"metric": Column("", "name of the map", text=True)}

TRACT_METRICS: Columns = {
    **_METRIC,
    **_REGION,
    "group": Column("", "cord, level or range", text=True),
    "level": Column("", "vertebral level, or first:last of a range", text=True),
    **_NAME,
    "slices": Column("", "first:last slice, or single ones with ;", text=True),
    **_TRACT_FIGURES,
    **_TRUST,
}

TRACT_METRICS_SLICES: Columns = {
    **_METRIC,
    **_REGION,
    **_SLICE,
    **_LEVEL,
    **_TRACT_FIGURES,
    **_TRUST,
}

POINTS: Columns = {
    "value": Column("", "label", whole=True),
    "x": Column("mm", "to the right"),
    "y": Column("mm", "to the front"),
    "z": Column("mm", "upwards"),
    **{f"upright_{axis}": Column("voxel", f"{axis} in the upright frame", whole=True) for axis in "xyz"},
}
