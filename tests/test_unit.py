"""What is asked of each pipeline, for itself and for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuraxis.options import Options
from neuraxis.pipelines import BRAIN_ANAT, ORIENTATIONS, QSM, SPIN_ECHO
from neuraxis.unit import results, targets


def options(*outputs: str, **methods: str) -> Options:
    return Options(bids_dir=Path("bids"), output_dir=Path("out"), outputs=outputs, methods=methods)


def test_without_a_wish_every_pipeline_makes_its_results():
    for pipeline in (SPIN_ECHO, BRAIN_ANAT, QSM, ORIENTATIONS):
        assert targets(pipeline, options()) == results(pipeline)
    assert not targets(BRAIN_ANAT, options()) and not targets(ORIENTATIONS, options())


def test_a_pipeline_makes_what_another_takes():
    assert {"t1w_brain", "t1w_mask"} <= set(targets(BRAIN_ANAT, options("region_statistics")))
    assert "t1w_regions" in targets(BRAIN_ANAT, options("region_statistics", regions="from_t1w"))
    assert "r2" in targets(SPIN_ECHO, options("r2prime"))
    assert "local_field" in targets(QSM, options("chi_cosmos")) and targets(QSM, options("chi_tensor"))


def test_a_method_that_is_not_chosen_asks_for_nothing():
    assert not targets(BRAIN_ANAT, options("chi")) and not targets(SPIN_ECHO, options("chi"))


@pytest.mark.parametrize("outputs", [(), ("chi",), ("swi", "true_swi")])
def test_the_reference_by_region_takes_the_t1w(outputs):
    wanted = options(*outputs, reference="region")
    assert {"t1w_brain", "t1w_mask"} <= set(targets(BRAIN_ANAT, wanted))
    segmented = options(*outputs, reference="region", regions="from_t1w")
    assert {"t1w_regions", "t1w_region_probability", "t1w_region_trust"} <= set(targets(BRAIN_ANAT, segmented)) - set(targets(BRAIN_ANAT, wanted))
    assert set(targets(QSM, wanted)) == set(outputs or results(QSM))
    assert not targets(BRAIN_ANAT, options(*outputs, reference="mean"))


def test_an_explicit_method_spares_what_the_others_would_take():
    assert targets(SPIN_ECHO, options("chi_para")) and not targets(SPIN_ECHO, options("chi_para", separation="r2star_qsm"))
