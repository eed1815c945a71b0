"""The table of contents of the app: what is done, in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuraxis.brain.labels import from_t1w, from_template, t1w_from_template
from neuraxis.brain.learned import learned, t1w_learned
from neuraxis.brain.nuclei import nuclei_from_t1w, nuclei_from_template, t1w_nuclei
from neuraxis.brain.refinement import from_t1w_on_chi, from_template_on_chi
from neuraxis.brain.region_reference import region
from neuraxis.brain.statistics import region_statistics
from neuraxis.brain.t1w import lesion_from_t1w, t1w_aligned, t1w_brain, t1w_position
from neuraxis.brain.template_registration import gre_to_template, t1w_to_template
from neuraxis.brain.tissues import t1w_tissues, tissues_from_gre, tissues_from_t1w
from neuraxis.cord import centerline, compression, discs, motion, path, points, segmentation, structures, tissues
from neuraxis.cord.aggregate import shape_levels
from neuraxis.cord.bridges import tissue_bridges
from neuraxis.cord.extraction.tract_metrics import tract_metrics
from neuraxis.cord.flattening import flatten_sagittal
from neuraxis.cord.lesion_shares import lesion_levels, lesion_tracts
from neuraxis.cord.lesions import lesions
from neuraxis.cord.level_labels import continuous_levels, level_points, project_on_centerline
from neuraxis.cord.levels import levels
from neuraxis.cord.motion.confounds import confounds
from neuraxis.cord.motion.means import mean_b0, mean_diffusion, mean_series, smooth_volumes
from neuraxis.cord.motion.volumes import around_path, volumes
from neuraxis.cord.new_points import create, from_seg
from neuraxis.cord.normative import normative
from neuraxis.cord.pam50 import shape_pam50
from neuraxis.cord.pmj import pmj
from neuraxis.cord.segmentation import parts
from neuraxis.cord.segmentation.graymatter import graymatter_model, graymatter_small
from neuraxis.cord.shape import shape
from neuraxis.cord.smoothing import smooth_along_cord
from neuraxis.cord.spinal_levels import spinal_levels
from neuraxis.cord.straightening import straighten, straighten_to_template
from neuraxis.cord.template import landmarks, objects
from neuraxis.cord.template.registration import to_pam50
from neuraxis.cord.warps import straightening_warps, to_fsl
from neuraxis.engine import Family, Pipeline, Step
from neuraxis.qmri import relaxometry, spin_echo, tensor
from neuraxis.qmri.cord_relaxometry import relaxation_around
from neuraxis.qmri.magnetisation_transfer.alignment import mt_off_as_it_is, mt_off_by_slice, t1w_as_it_is, t1w_by_slice
from neuraxis.qmri.magnetisation_transfer.ratio import mtr
from neuraxis.qmri.magnetisation_transfer.saturation import b1_on_image, mtsat
from neuraxis.qmri.patch2self import patch2self
from neuraxis.qmri.reversible import r2prime
from neuraxis.qmri.temporal import tsnr
from neuraxis.qsm import (
    b0,
    background,
    homogeneity,
    inversion,
    masking,
    offset,
    reference,
    reliability,
    separation,
    swi,
    unwrapping,
)
from neuraxis.qsm.combination import root_sum_of_squares
from neuraxis.qsm.masking.deepbet import deepbet
from neuraxis.qsm.masking.magnitude_threshold import magnitude_threshold
from neuraxis.qsm.orientations.cosmos import cosmos
from neuraxis.qsm.orientations.rigid_registration import rigid_registration
from neuraxis.qsm.orientations.sti import sti
from neuraxis.qsm.quality import phase_quality
from neuraxis.qsm.support import support
from neuraxis.qsm.swi.chi_weighted import smwi, true_swi
from neuraxis.qsm.swi.projection import minimum_intensity
from neuraxis.qsm.two_pass import two_pass
from neuraxis.signature import Method


def _only(name: str, title: str, function: Callable[..., Any]) -> Family:
    return _one_of(name, title, function)


def _one_of(name: str, title: str, *functions: Callable[..., Any]) -> Family:
    return Family(name, title, tuple(Method.of(function) for function in functions))


QSM = Pipeline(
    "qsm",
    "Quantitative susceptibility mapping and relaxometry of one gradient-echo acquisition",
    inputs=("phase", "magnitude", "echo_times", "echo_spacing", "field_strength", "r2", "t1w_brain", "t1w_mask", "t1w_regions",
            "t1w_region_probability", "t1w_region_trust", "region_names", "atlas_labels", "t1w_gray_probability", "t1w_white_probability",
            "t1w_fluid_probability", "t1w_nucleus_probability", "t1w_lesion"),
    reads=("t1w_lesion",),
    steps=(
        Step(("combined_magnitude",), by=_only("combination", "Combined magnitude", root_sum_of_squares)),
        Step(("phase_quality",), by=_only("quality", "Phase quality", phase_quality)),
        Step(("homogeneous_magnitude",), by=Family.of(homogeneity)),
        Step(("mask",), by=Family.of(masking)),
        Step(("phase_offset",), by=Family.of(offset)),
        Step(("unwrapped",), by=Family.of(unwrapping)),
        Step(("total_field", "field_noise"), by=Family.of(b0)),
        Step(("field_mask",), by=Family.of(reliability)),
        Step(("local_field", "local_mask"), by=Family.of(background)),
        Step(("r2star", "t2star", "s0"), by=Family.of(relaxometry)),
        Step(("chi_unreferenced",), by=Family.of(inversion)),
        Step(("chi_mask",), by=_only("support", "Where the susceptibility is known", support)),
        # where the structures of the brain are
        Step(("t1w_position",), by=_only("t1w_alignment", "Place in the session's T1w", t1w_position)),
        Step(("t1w_aligned",), by=_only("t1w_resampling", "The session's T1w on this image", t1w_aligned)),
        Step(
            ("warp_from_template", "warp_to_template", "template_overlap"),
            by=_only("gre_registration", "Registration of the gradient echo to the template", gre_to_template),
        ),
        Step(
            ("regions", "region_probability", "region_trust"),
            by=_one_of("regions", "Regions of the brain", from_template, from_t1w, from_template_on_chi, from_t1w_on_chi, learned),
            together=True,
            handed=("t1w_regions",),
        ),
        Step(
            ("gray_probability", "white_probability", "fluid_probability"),
            by=_one_of("brain_tissues", "Tissues of the brain", tissues_from_t1w, tissues_from_gre),
        ),
        Step(("brain_lesion",), by=_only("brain_lesion", "Lesions of the brain", lesion_from_t1w)),
        Step(("nucleus_probability",), by=_one_of("nuclei", "Deep nuclei, one by one", nuclei_from_template, nuclei_from_t1w)),
        Step(("chi",), by=Family.of(reference, more=(region,))),
        # what is made when it is asked for
        Step(("chi_two_pass",), by=_only("two_pass", "Two-pass artefact reduction", two_pass)),
        Step(("r2prime",), by=_only("r2prime", "Reversible relaxation", r2prime)),
        Step(("chi_para", "chi_dia"), by=Family.of(separation)),
        Step(("swi",), by=Family.of(swi)),
        Step(("swi_mip",), by=_only("projection", "Minimum intensity projection", minimum_intensity)),
        Step(("true_swi",), by=_only("true_swi", "True susceptibility-weighted image", true_swi)),
        Step(("smwi_para", "smwi_dia"), by=_only("smwi", "Susceptibility-map weighted images", smwi)),
        Step(
            ("region_statistics",),
            by=_only("region_statistics", "Maps in the regions", region_statistics),
            lightly=("r2star", "t2star", "chi_para", "chi_dia"),
        ),
    ),
    memory=(1150, 60, 10),
)

BRAIN_ANAT = Pipeline(
    "brain_anat",
    "Regions of the brain in the T1w of a session with a gradient echo",
    inputs=("magnitude", "atlas_labels", "region_names"),
    steps=(
        Step(("homogeneous_magnitude",), by=Family.of(homogeneity)),
        Step(("t1w_mask",), by=_only("t1w_masking", "Brain in the T1w", deepbet)),
        Step(("t1w_brain",), by=_only("t1w_brain", "T1w of the brain", t1w_brain)),
        Step(
            ("warp_from_template", "warp_to_template", "template_overlap"),
            by=_only("t1w_registration", "Registration of the T1w to the template", t1w_to_template),
        ),
        Step(
            ("t1w_regions", "t1w_region_probability", "t1w_region_trust"),
            by=_one_of("t1w_regions", "Regions of the brain in the T1w", t1w_from_template, t1w_learned),
            together=True,
        ),
        Step(
            ("t1w_gray_probability", "t1w_white_probability", "t1w_fluid_probability"),
            by=_only("t1w_tissues", "Tissues in the T1w", t1w_tissues),
        ),
        Step(("t1w_nucleus_probability",), by=_only("t1w_nuclei", "Deep nuclei in the T1w, one by one", t1w_nuclei)),
    ),
    memory=(1150, 60, 10),
)

ORIENTATIONS = Pipeline(
    "orientations",
    "Susceptibility from the local fields of one head in several orientations, made when it is asked for",
    inputs=("combined_magnitude", "local_field", "local_mask", "field_noise"),
    steps=(
        Step(
            ("oriented_magnitudes", "oriented_fields", "oriented_masks", "oriented_noise", "head_positions"),
            by=_only("registration", "Registration of the orientations", rigid_registration),
        ),
        Step(("chi_cosmos",), by=_only("cosmos", "Susceptibility from all orientations", cosmos)),
        Step(("chi_tensor", "chi_tensor_mean", "chi_anisotropy"), by=_only("sti", "Susceptibility tensor", sti)),
    ),
    memory=(1150, 500, 60),
)

SPIN_ECHO = Pipeline(
    "spin_echo",
    "Relaxometry of one multi-echo spin-echo acquisition",
    inputs=("magnitude", "echo_times", "echo_spacing"),
    steps=(
        Step(("homogeneous_magnitude",), by=Family.of(homogeneity)),
        Step(
            ("spin_echo_mask",), by=_one_of("spin_echo_masking", "Where spin echoes are fitted", magnitude_threshold, deepbet)
        ),
        Step(("r2", "t2"), by=Family.of(spin_echo)),
    ),
    memory=(900, 60, 8),
)

_CORD_SEEN = (
    # where the cord is
    Step(("cord_path",), by=Family.of(path, "cord_path")),
    Step(("tissues",), by=Family.of(tissues)),
    Step(("cord",), by=Family.of(segmentation, "cord_segmentation")),
    Step(("cord_mask",), by=_only("cord_mask", "Mask of the cord", parts.cord_mask)),
    Step(("canal",), by=_only("canal", "Spinal canal", parts.canal)),
    Step(("gray_matter",), by=_one_of("gray_matter", "Grey matter", graymatter_small, parts.gray_matter, graymatter_model)),
    Step(("white_matter",), by=_only("white_matter", "White matter", parts.white_matter)),
    Step(("centerline",), by=Family.of(centerline)),
    # levels
    Step(("pmj",), by=_only("pmj", "Pontomedullary junction", pmj)),
    Step(("discs",), by=Family.of(discs)),
    Step(("levels", "level_table"), by=_only("levels", "Vertebral levels", levels)),
)
"""What every image of the cord goes through, also the mean of a series."""

_CORD_TEMPLATE = (
    Step(("landmarks",), by=Family.of(landmarks)),
    Step(("warp_from_pam50", "warp_to_pam50", "pam50_agreement"), by=_only("pam50_registration", "Registration to PAM50", to_pam50)),
    Step(
        ("template_cord", "template_white", "template_gray", "template_fluid"),
        by=_only("template_tissues", "Tissues of the template", objects.template_shares),
    ),
    Step(("template_levels", "template_spinal_levels"), by=_only("template_levels", "Levels of the template", objects.template_levels)),
    Step(("template_discs", "template_spinal_points"), by=_only("template_points", "Points of the template", objects.template_points)),
    Step(("tract_atlas",), by=_only("tract_atlas", "Tracts of the template", objects.tract_atlas)),
    Step(("image_pam50",), by=_only("image_pam50", "Image in the template", objects.image_pam50)),
)
"""How an image of the cord comes to PAM50, and what lies in PAM50 to the image."""

_PAM50 = tuple(
    dict.fromkeys(
        need.name for step in _CORD_TEMPLATE for one in step.by.methods for need in one.needs if need.name.startswith("pam50_")
    )
)
"""What is read of the template, once it is fetched."""

_CORD_LENT = ("rootlets", "session_discs", "other_discs", "session_warp")
"""What tells where along the cord an image lies, from other hands or from the session's reference image."""


def _tracts(*maps: str) -> Step:
    """Maps in the tracts of the cord; `maps` are those that the pipeline is about, the others are taken where they are there."""
    by = _only("tract_metrics", "Maps in the tracts", tract_metrics)
    own = {"tract_atlas", "levels", "level_table", *maps}
    others = tuple(need.name for need in by.method().needs if need.name not in own)
    return Step(("tract_metrics", "tract_metrics_slices"), by=by, lightly=others)


CORD_ANAT = Pipeline(
    "cord_anat",
    "Segmentation, levels and shape of the spinal cord in one anatomical image",
    inputs=("image", "magnitude", "echo_times", "echo_spacing", "chi", "sex", "age", "lesion", "compression", *_CORD_LENT, *_PAM50),
    given=("cord",),
    reads=("image", "magnitude", "chi"),
    steps=(
        *_CORD_SEEN,
        Step(("level_points",), by=_only("level_points", "Vertebral bodies", level_points)),
        Step(("continuous_levels",), by=_only("continuous_levels", "Continuous levels", continuous_levels)),
        Step(("spinal_levels",), by=_only("spinal_levels", "Spinal levels", spinal_levels)),
        # in the template
        *_CORD_TEMPLATE,
        # shape
        Step(("shape",), by=_only("shape", "Shape, slice by slice", shape)),
        Step(("shape_levels",), by=_only("shape_levels", "Shape, level by level", shape_levels)),
        Step(("shape_pam50",), by=_only("shape_pam50", "Shape in the slices of PAM50", shape_pam50)),
        Step(("normative",), by=_only("normative", "Comparison with healthy adults", normative)),
        Step(("structures",), by=_only("structures", "Areas of grey matter, white matter and canal", structures.structures)),
        Step(("structure_levels",), by=_only("structure_levels", "The same, level by level", structures.structure_levels)),
        # compression and lesions
        Step(("compression_ratios",), by=_only("compression_ratios", "Compression", compression.compression_ratios)),
        Step(("compression_risk",), by=_only("compression_risk", "Risk of compression", compression.compression_risk)),
        Step(("lesion_labels", "lesions"), by=_only("lesions", "Lesions", lesions)),
        Step(("lesion_levels",), by=_only("lesion_levels", "Lesions by level", lesion_levels)),
        Step(("lesion_tracts",), by=_only("lesion_tracts", "Lesions by tract", lesion_tracts)),
        # maps, and maps by tract
        Step(("r2star", "t2star", "s0"), by=_only("cord_relaxometry", "Relaxation in the cord and around it", relaxation_around)),
        _tracts("image"),
        # images along the cord
        Step(("straight_image",), by=_one_of("straightening", "Straightened image", straighten, straighten_to_template)),
        Step(("warp_to_straight", "warp_from_straight"), by=_only("warps", "Straightening as displacements", straightening_warps)),
        Step(("smooth_image",), by=_only("smoothing", "Image smoothed along the cord", smooth_along_cord)),
        Step(("flat_image",), by=_only("flattening", "Flattened image", flatten_sagittal)),
    ),
    memory=(1000, 110, 12),
)

CORD_MT = Pipeline(
    "cord_mt",
    "Magnetisation transfer of the spinal cord in one acquisition with and without saturation",
    inputs=("image", "mt_off", "mt_t1w", "b1_map", "mt_protocol", "spinal_levels", *_CORD_LENT, *_PAM50),
    given=("cord",),
    reads=("spinal_levels",),
    steps=(
        *_CORD_SEEN,
        *_CORD_TEMPLATE,
        Step(
            ("mt_off_aligned", "mt_off_shifts"),
            by=_one_of("mt_alignment", "MT-off image laid on the MT-on image", mt_off_by_slice, mt_off_as_it_is),
        ),
        Step(("t1w_on_mt", "t1w_shifts"), by=_one_of("t1w_on_mt", "T1w image laid on the MT-on image", t1w_by_slice, t1w_as_it_is)),
        Step(("b1",), by=_only("b1", "Transmitted field on this image", b1_on_image)),
        Step(("mtr",), by=_only("mtr", "Magnetisation transfer ratio", mtr)),
        Step(("mtsat", "mt_t1"), by=_only("mtsat", "Magnetisation transfer saturation and T1", mtsat)),
        _tracts("mtr", "mtsat", "mt_t1"),
    ),
    memory=(1000, 110, 0),
)

_STILL = (
    Step(("motion_weights",), by=_only("motion_weights", "Where motion is looked for", around_path)),
    Step(("corrected", "motion", "motion_quality"), by=Family.of(motion), lightly=("denoised",)),
)
"""How a series is brought to rest."""

CORD_DWI = Pipeline(
    "cord_dwi",
    "Motion correction and diffusion tensor of the spinal cord",
    inputs=("series", "b_values", "b_vectors", "spinal_levels", *_CORD_LENT, *_PAM50),
    given=("cord",),
    reads=("spinal_levels",),
    steps=(
        Step(("volumes",), by=_only("volumes", "Kinds of volumes", volumes)),
        Step(("denoised",), by=_only("series_denoising", "Denoising of the series", patch2self)),
        *_STILL,
        Step(("image",), by=_only("mean_diffusion", "Mean image", mean_diffusion)),
        Step(("b0_mean",), by=_only("mean_b0", "Mean image at b = 0", mean_b0)),
        *_CORD_SEEN,
        *_CORD_TEMPLATE,
        Step(("fa", "md", "ad", "rd", "v1"), by=Family.of(tensor)),
        _tracts("fa", "md", "ad", "rd"),
        Step(("smooth_volumes",), by=_only("series_smoothing", "Series smoothed along the cord", smooth_volumes)),
    ),
    memory=(1000, 110, 24),
)

CORD_BOLD = Pipeline(
    "cord_bold",
    "Motion correction and temporal signal-to-noise ratio of a functional series of the spinal cord",
    inputs=("series", "volumes", "denoised", "spinal_levels", *_CORD_LENT, *_PAM50),
    given=("cord",),
    reads=("volumes", "denoised", "spinal_levels"),
    steps=(
        *_STILL,
        Step(("image",), by=_only("mean_series", "Mean image", mean_series)),
        Step(("tsnr", "tsnr_before"), by=_only("tsnr", "Temporal signal-to-noise ratio", tsnr)),
        *_CORD_SEEN,
        *_CORD_TEMPLATE,
        _tracts("tsnr"),
        Step(("confounds",), by=_only("confounds", "Nuisance regressors", confounds)),
        Step(("smooth_volumes",), by=_only("series_smoothing", "Series smoothed along the cord", smooth_volumes)),
    ),
    memory=(1000, 110, 24),
)

PIPELINES = (SPIN_ECHO, BRAIN_ANAT, QSM, ORIENTATIONS, CORD_ANAT, CORD_MT, CORD_DWI, CORD_BOLD)

TOOLS = (
    Step(
        ("points",),
        by=_one_of(
            "points", "Labels of one voxel", create, from_seg, points.cubic_to_point, points.add, points.increment, points.keep,
            points.remove, points.remove_absent, points.dilate, project_on_centerline,
        ),
    ),
    Step(("points", "reference"), by=_only("points_in_common", "Labels that both have", points.remove_symmetric)),
    Step(("point_table",), by=_only("point_table", "Table of labels", points.points_of)),
    Step(("distance",), by=_only("distance", "Distance of labels", points.mean_distance)),
    Step(("fsl_warp",), by=_only("to_fsl", "A warp as FSL reads it", to_fsl)),
    Step(("bridges",), by=_only("bridges", "Tissue bridges", tissue_bridges)),
)  # fmt: skip
"""What is done with files only, by `neuraxis tool`."""
