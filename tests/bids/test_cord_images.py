"""Which images are taken for images of the cord, how they are read, and what is given by hand."""

from __future__ import annotations

import make
import numpy as np
import pytest

from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import cord
from neuraxis.bids.cord import cord_units, extent, load_cord
from neuraxis.bids.derivatives import UnitStore, read_image
from neuraxis.bids.filters import Filters
from neuraxis.errors import DataError, GridMismatch, MissingInput
from neuraxis.volume import Grid

SLAB = ((13, 60, 54), np.diag([4.0, 4.0, 4.0, 1.0]))  # 52 x 240 x 216 mm
STACK = ((45, 45, 10), np.diag([4.0, 4.0, 5.0, 1.0]))  # 180 x 180 x 50 mm
HEAD = ((45, 55, 45), np.diag([4.0, 4.0, 4.0, 1.0]))  # 180 x 220 x 180 mm
HEAD_AND_NECK = ((45, 55, 60), np.diag([4.0, 4.0, 4.0, 1.0]))  # 240 mm tall


def one(root, name, place=SLAB, sidecar=None, data=None):
    shape, affine = place
    sub = name.split("_")[0]
    values = np.random.default_rng(1).random(shape, np.float32) if data is None else data
    return make.image(root / sub / "anat" / f"{name}.nii.gz", values, sidecar, affine)


def found(root, **more):
    units, problems = cord_units(root, "01", **more)
    assert not problems, problems
    return {unit.source: unit.sure for unit in units}


@pytest.mark.parametrize(
    ("place", "expected"),
    [(SLAB, {"sub-01_T2w": True}), (STACK, {"sub-01_T2w": False}), (HEAD, {}), (HEAD_AND_NECK, {"sub-01_T2w": False})],
)
def test_the_field_of_view_tells(tmp_path, place, expected):
    one(tmp_path, "sub-01_T2w", place)
    assert found(tmp_path) == expected


def test_the_field_of_view_is_the_body_s_whatever_the_axes(tmp_path):
    turned = np.zeros((4, 4))
    turned[0, 2], turned[1, 0], turned[2, 1], turned[3, 3] = 4, -4, 4, 1  # P, S, R
    one(tmp_path, "sub-01_T2w", ((60, 54, 13), turned))
    assert found(tmp_path) == {"sub-01_T2w": True}
    assert extent(Grid.of((60, 54, 13), turned)) == pytest.approx((52, 240, 216))


@pytest.mark.parametrize(
    ("part", "expected"), [("SPINE", True), ("C SPINE", True), ("BRAIN", None), ("Head", None), ("KNEE", False)]
)
def test_the_sidecar_goes_before_the_field_of_view(tmp_path, part, expected):
    one(tmp_path, "sub-01_T2w", STACK, {"BodyPart": part})
    assert found(tmp_path).get("sub-01_T2w") is expected


def test_the_bodypart_entity_goes_before_the_sidecar(tmp_path):
    one(tmp_path, "sub-01_bodypart-cspine_T2w", HEAD, {"BodyPart": "BRAIN"})
    assert found(tmp_path) == {"sub-01_bodypart-cspine_T2w": True}


def test_everything_is_cord_when_the_user_says_so(tmp_path):
    one(tmp_path, "sub-01_T2w", HEAD)
    assert found(tmp_path, everything=True) == {"sub-01_T2w": True}


def test_any_number_of_images_of_a_session_each_with_its_name(tmp_path):
    names = [
        "T1w",
        "T2w",
        "acq-ax_T2starw",
        "acq-ax_run-2_T2starw",
        "flip-1_mt-on_MTS",
        "flip-1_mt-off_MTS",
        "UNIT1",
        "echo-1_MEGRE",
        "echo-2_MEGRE",
    ]
    for name in names:
        one(tmp_path, f"sub-01_{name}")
    for other in ("inv-1_MP2RAGE", "echo-1_part-phase_MEGRE"):
        one(tmp_path, f"sub-01_{other}")
    units, problems = cord_units(tmp_path, "01")
    assert not problems
    assert [u.source.removeprefix("sub-01_") for u in units] == [
        "MEGRE", "T1w", "T2w", "UNIT1", "acq-ax_T2starw", "acq-ax_run-2_T2starw", "flip-1_mt-off_MTS", "flip-1_mt-on_MTS",
    ]  # fmt: skip
    assert len({u.name for u in units}) == len(units) and len(units[0].magnitude) == 2
    chosen, _ = cord_units(tmp_path, "01", Filters.of(run=["2"], acquisition=["ax"]))
    assert "sub-01_acq-ax_run-2_T2starw" in {u.source for u in chosen} and "sub-01_acq-ax_T2starw" in {
        u.source for u in chosen
    }


def test_several_echoes_are_combined_and_one_is_read_as_it_is(tmp_path):
    shape = SLAB[0]
    for echo, value in ((1, 3.0), (2, 4.0)):
        data = np.full(shape, value, np.float32)
        data[0] = 0
        one(tmp_path, f"sub-01_echo-{echo}_MEGRE", data=data)
    (unit,), _ = cord_units(tmp_path, "01")
    image, notes = load_cord(unit)
    assert image.data.max() == pytest.approx(5) and image.data.min() == 0 and "2 echoes" in notes[0]
    negative = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    one(tmp_path, "sub-01_UNIT1", data=negative)
    _, unit = cord_units(tmp_path, "01")[0]
    assert np.array_equal(load_cord(unit)[0].data, negative)


def test_bad_images_are_named_in_one_sentence(tmp_path):
    data = np.ones(SLAB[0], np.float32)
    one(tmp_path, "sub-01_T1w", data=data)
    data = np.random.default_rng(0).random(SLAB[0], np.float32)
    data[3, 3, 3] = np.nan
    one(tmp_path, "sub-01_T2w", data=data)
    (flat, nan), _ = cord_units(tmp_path, "01")
    with pytest.raises(DataError, match="one value only"):
        load_cord(flat)
    with pytest.raises(DataError, match="1 value that is not finite"):
        load_cord(nan)
    (tmp_path / "sub-01/anat/sub-01_PDw.nii.gz").symlink_to("gone")
    units, problems = cord_units(tmp_path, "01")
    assert len(units) == 2 and [name for name, _ in problems] == ["sub-01_PDw_cord"]
    assert isinstance(problems[0][1], MissingInput)


def test_the_header_of_an_image_is_read_once(tmp_path, monkeypatch):
    one(tmp_path, "sub-01_T1w")
    one(tmp_path, "sub-01_T2w", STACK)
    read = []
    monkeypatch.setattr(cord, "grid_of_file", lambda path, of=cord.grid_of_file: read.append(path.name) or of(path))
    assert len(found(tmp_path)) == 2
    assert sorted(read) == ["sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz"]


def test_echoes_of_other_grids_do_not_mix(tmp_path):
    one(tmp_path, "sub-01_echo-1_MEGRE")
    one(tmp_path, "sub-01_echo-2_MEGRE", ((13, 60, 53), SLAB[1]))
    (unit,), _ = cord_units(tmp_path, "01")
    with pytest.raises(GridMismatch, match="echo-2"):
        load_cord(unit)


def _store(out):
    entities = {"sub": "01", "acq": "ax", "space": "T2w"}
    return UnitStore(out, out / "work", entities, "", None, (), (), "T2w", "sub-01_acq-ax_T2w", ())


@pytest.mark.parametrize(
    ("artifact", "name"),
    [
        ("cord", "sub-01_acq-ax_T2w_seg-manual"),
        ("cord", "sub-01_acq-ax_T2w_label-SC_seg"),
        ("cord", "sub-01_acq-ax_space-T2w_label-SC_mask"),
        ("cord", "sub-01_acq-ax_space-T2w_label-SC_probseg"),
        ("gray_matter", "sub-01_acq-ax_T2w_gmseg-manual"),
        ("discs", "sub-01_acq-ax_T2w_labels-disc-manual"),
        ("discs", "sub-01_acq-ax_space-T2w_desc-discs_dseg"),
        ("lesion", "sub-01_acq-ax_T2w_label-lesion_seg"),
        ("pmj", "sub-01_acq-ax_T2w_label-pmj"),
    ],
)
def test_hand_drawn_files_are_found_under_both_kinds_of_names(tmp_path, artifact, name):
    path = make.image(tmp_path / "sub-01/anat" / f"{name}.nii.gz", np.ones(SLAB[0], np.uint8))
    names = ("cord", "cord_mask", "gray_matter", "discs", "lesion", "pmj", "levels")
    assert _store(tmp_path).find_given([tmp_path], names) == {artifact: path}


def test_a_mask_beyond_0_and_1_and_broken_labels_are_refused(tmp_path):
    path = make.image(tmp_path / "a.nii.gz", np.full(SLAB[0], 255, np.uint8))
    with pytest.raises(DataError, match="255"):
        read_image(path, ARTIFACTS["cord"])
    path = make.image(tmp_path / "b.nii.gz", np.full(SLAB[0], 2.5, np.float32))
    with pytest.raises(DataError, match="whole"):
        read_image(path, ARTIFACTS["discs"])
