"""The table of contents of the app: what is done, in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuraxis.engine import Family, Pipeline, Step
from neuraxis.qmri import relaxometry
from neuraxis.qsm import b0, background, inversion, masking, offset, reference, reliability, unwrapping
from neuraxis.qsm.combination import root_sum_of_squares
from neuraxis.qsm.quality import phase_quality
from neuraxis.signature import Method


def _only(name: str, title: str, function: Callable[..., Any]) -> Family:
    return Family(name, title, (Method.of(function),))


QSM = Pipeline(
    "qsm",
    "Quantitative susceptibility mapping and relaxometry of one gradient-echo acquisition",
    inputs=("phase", "magnitude", "echo_times", "echo_spacing", "field_strength"),
    steps=(
        Step(("combined_magnitude",), by=_only("combination", "Combined magnitude", root_sum_of_squares)),
        Step(("phase_quality",), by=_only("quality", "Phase quality", phase_quality)),
        Step(("mask",), by=Family.of(masking)),
        Step(("phase_offset",), by=Family.of(offset)),
        Step(("unwrapped",), by=Family.of(unwrapping)),
        Step(("total_field", "field_noise"), by=Family.of(b0)),
        Step(("field_mask",), by=Family.of(reliability)),
        Step(("local_field", "local_mask"), by=Family.of(background)),
        Step(("chi_unreferenced",), by=Family.of(inversion)),
        Step(("chi",), by=Family.of(reference)),
        Step(("r2star", "t2star", "s0"), by=Family.of(relaxometry)),
    ),
    memory=(1150, 60, 10),
)

CORD_ANAT = Pipeline(
    "cord_anat",
    "Segmentation, levels and shape of the spinal cord in one anatomical image",
    inputs=("image", "sex", "age", "lesion", "compression", "rootlets"),
    steps=(),
)

PIPELINES = (QSM, CORD_ANAT)
