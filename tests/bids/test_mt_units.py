"""Which images are one magnetisation-transfer acquisition: by name and by sidecar, never guessed; each fault is one sentence."""

from __future__ import annotations

import json
import math

import nibabel
import numpy as np
import pytest

from neuraxis.bids.cord import cord_units
from neuraxis.bids.magnetisation_transfer import doubts, load_mt, lone, mt_units, protocol, together
from neuraxis.errors import DataError, GridMismatch, MissingInput

SHAPE, AFFINE = (12, 10, 4), np.diag([-0.9, 0.9, 5.0, 1])
LOW, HIGH = {"FlipAngle": 9, "RepetitionTime": 0.035}, {"FlipAngle": 15, "RepetitionTime": 0.015}


def put(root, name, side=None, *, shape=SHAPE, affine=AFFINE, scale=1.0, folder="anat"):
    path = root / "sub-01" / folder / f"sub-01_{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = scale * np.random.default_rng(len(name)).uniform(0.9, 1.1, shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps({"BodyPart": "CSPINE", **(side or {})}))
    return path


def triple(root, **changes):
    images = {"flip-1_mt-on_MTS": LOW, "flip-1_mt-off_MTS": LOW, "flip-2_mt-off_MTS": HIGH}
    for name, side in images.items():
        put(root, name, changes.get(name, side))


def only(root):
    units, problems = mt_units(root, "01")
    assert not problems and len(units) == 1
    return units[0]


def names(unit):
    return {name: [path.name for path in paths] for name, paths in unit.beside}


def test_a_pair_is_one_unit_without_mt_in_its_name(tmp_path):
    for state in ("on", "off"):
        put(tmp_path, f"acq-x_mt-{state}_run-2_MTR")
    unit = only(tmp_path)
    assert unit.name == "sub-01_acq-x_run-2_MTR_mt" and unit.source == "sub-01_acq-x_mt-on_run-2_MTR"
    assert unit.magnitude[0].name == "sub-01_acq-x_mt-on_run-2_MTR.nii.gz" and len(unit.paths()) == 2
    assert names(unit) == {"mt_off": ["sub-01_acq-x_mt-off_run-2_MTR.nii.gz"]}
    table, why = protocol(unit)
    assert table is None and "no T1w image" in why


def test_the_t1_weighted_image_is_told_by_the_sidecars_and_not_by_its_number(tmp_path):
    triple(tmp_path, **{"flip-1_mt-off_MTS": HIGH, "flip-2_mt-off_MTS": LOW})
    unit = only(tmp_path)
    assert names(unit) == {"mt_off": ["sub-01_flip-2_mt-off_MTS.nii.gz"], "mt_t1w": ["sub-01_flip-1_mt-off_MTS.nii.gz"]}
    table, _ = protocol(unit)
    assert table["image"].tolist() == ["mt_on", "mt_off", "t1w"]
    assert table["flip_angle"] == pytest.approx([math.radians(a) for a in (9, 9, 15)])
    assert table["repetition_time"].tolist() == [0.035, 0.035, 0.015]


def test_the_time_between_excitations_goes_before_that_of_the_volume(tmp_path):
    triple(tmp_path, **{"flip-2_mt-off_MTS": {**HIGH, "RepetitionTime": 3.0, "RepetitionTimeExcitation": 0.015}})
    assert protocol(only(tmp_path))[0]["repetition_time"].tolist() == [0.035, 0.035, 0.015]


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("flip-2_mt-off_MTS", {"FlipAngle": 15}, "flip-2_mt-off_MTS.nii.gz has no RepetitionTime"),
        ("flip-1_mt-off_MTS", {"RepetitionTime": 0.03}, "flip-1_mt-off_MTS.nii.gz has no FlipAngle"),
        ("flip-1_mt-on_MTS", {}, "flip-1_mt-on_MTS.nii.gz has no RepetitionTime"),
    ],
)
def test_without_its_timing_there_is_a_ratio_and_no_saturation(tmp_path, name, side, said):
    triple(tmp_path, **{name: side})
    unit = only(tmp_path)
    table, why = protocol(unit)
    assert table is None and said in why and why.count(".nii.gz") == 1
    assert names(unit)["mt_off"] == ["sub-01_flip-1_mt-off_MTS.nii.gz"]


@pytest.mark.parametrize(
    ("side", "kind", "said"),
    [
        ({"FlipAngle": 15, "RepetitionTime": 15000}, DataError, "milliseconds"),
        ({"FlipAngle": 900, "RepetitionTime": 0.015}, DataError, "no angle"),
        ({"FlipAngle": "15", "RepetitionTime": 0.015}, DataError, "not one number"),
        (LOW, DataError, "none is T1-weighted"),
    ],
)
def test_sidecars_that_cannot_be_right_are_one_sentence(tmp_path, side, kind, said):
    triple(tmp_path, **{"flip-2_mt-off_MTS": side})
    units, [(name, error)] = mt_units(tmp_path, "01")
    assert not units and name == "sub-01_MTS_mt" and type(error) is kind and said in str(error)


def test_names_of_the_time_before_bids_had_mt(tmp_path):
    put(tmp_path, "acq-MTon_MTS", LOW)
    put(tmp_path, "acq-MToff_MTS", LOW)
    put(tmp_path, "acq-T1w_MTS", HIGH)
    unit = only(tmp_path)
    assert unit.name == "sub-01_MTS_mt" and unit.source == "sub-01_acq-MTon_MTS"
    assert names(unit) == {"mt_off": ["sub-01_acq-MToff_MTS.nii.gz"], "mt_t1w": ["sub-01_acq-T1w_MTS.nii.gz"]}


def test_name_and_mtstate_must_agree(tmp_path):
    put(tmp_path, "mt-on_MTR", {"MTState": False})
    put(tmp_path, "mt-off_MTR")
    units, [(_, error)] = mt_units(tmp_path, "01")
    assert not units and "MTState false" in str(error) and error.exit_code == 65


def test_other_grids_are_one_sentence(tmp_path):
    put(tmp_path, "mt-on_MTR")
    put(tmp_path, "mt-off_MTR", shape=(12, 10, 5))
    units, [(_, error)] = mt_units(tmp_path, "01")
    assert not units and type(error) is GridMismatch and "12 x 10 x 5" in str(error) and error.exit_code == 65
    put(tmp_path, "mt-off_MTR", affine=np.diag([-0.9, 0.9, 4.0, 1]))
    assert "another place" in str(mt_units(tmp_path, "01")[1][0][1])


def test_too_many_images_of_one_state(tmp_path):
    triple(tmp_path)
    put(tmp_path, "flip-2_mt-on_MTS", HIGH)
    units, [(_, error)] = mt_units(tmp_path, "01")
    assert not units and "2 MT-on images" in str(error)


def test_two_mt_off_images_that_nothing_tells_apart(tmp_path):
    put(tmp_path, "flip-3_mt-on_MTS")
    put(tmp_path, "flip-1_mt-off_MTS")
    put(tmp_path, "flip-2_mt-off_MTS")
    units, [(_, error)] = mt_units(tmp_path, "01")
    assert not units and isinstance(error, MissingInput) and "has no RepetitionTime" in str(error)


def test_a_lone_image_is_one_of_anatomy(tmp_path):
    put(tmp_path, "mt-off_MTR")
    put(tmp_path, "flip-1_mt-on_MTS")
    assert mt_units(tmp_path, "01") == ([], [])
    assert {unit.source for unit in cord_units(tmp_path, "01")[0]} == {"sub-01_mt-off_MTR", "sub-01_flip-1_mt-on_MTS"}
    [(name, error)] = lone(tmp_path, "01")
    assert name == "sub-01_MTS_mt" and "flip-1_mt-on_MTS.nii.gz" in str(error) and "no MT-off image" in str(error) and error.exit_code == 66


def test_images_of_an_acquisition_are_not_taken_twice(tmp_path):
    triple(tmp_path)
    put(tmp_path, "T2w")
    put(tmp_path, "run-2_mt-on_MTR")
    put(tmp_path, "run-2_mt-off_MTR", shape=(9, 9, 9))  # cannot be used, and is no image of anatomy for that
    taken = together(tmp_path, "01")
    assert len(taken) == 5
    assert [unit.source for unit in cord_units(tmp_path, "01", taken=taken)[0]] == ["sub-01_T2w"]


def test_a_brain_is_left_alone(tmp_path):
    for state in ("on", "off"):
        put(tmp_path, f"mt-{state}_MTR", {"BodyPart": "BRAIN"})
    assert mt_units(tmp_path, "01") == ([], [])


@pytest.mark.parametrize(("side", "scale"), [({}, 1.0), ({"Units": "percent"}, 100.0), ({"Units": "arbitrary"}, 1.0)])
def test_the_transmitted_field_by_its_units(tmp_path, side, scale):
    triple(tmp_path)
    put(tmp_path, "TB1map", side, scale=scale, shape=(6, 6, 3), affine=np.diag([4, 4, 4, 1.0]), folder="fmap")
    unit = only(tmp_path)
    assert names(unit)["b1_map"] == ["sub-01_TB1map.nii.gz"] and len(unit.paths()) == 4
    images, notes = load_mt(unit)
    assert set(images) == {"image", "mt_off", "mt_t1w", "b1_map"}
    assert 0.9 <= images["b1_map"].data.min() and images["b1_map"].data.max() <= 1.1
    assert any("sub-01_TB1map" in note for note in notes)


B1 = {"shape": (6, 6, 3), "affine": np.diag([4, 4, 4, 1.0]), "folder": "fmap"}


@pytest.mark.parametrize(
    ("side", "scale", "said"),
    [({}, 80.0, "median of"), ({"Units": "degree"}, 1.0, "Units 'degree'"), ({}, np.nan, "not finite")],
)
def test_a_field_in_other_units_is_not_guessed_and_stops_nothing(tmp_path, side, scale, said):
    triple(tmp_path)
    put(tmp_path, "TB1map", side, scale=scale, **B1)
    unit = only(tmp_path)
    assert set(load_mt(unit)[0]) == {"image", "mt_off", "mt_t1w"}
    why = dict(unit.lacking)["b1_map"]
    assert why.startswith("the B1 map is left out") and said in why and "sub-01_TB1map" in why
    assert doubts(unit) == [f"MTsat and T1 are not corrected for B1: {why}"]


@pytest.mark.parametrize("broken", [".json", ".nii.gz"])
def test_a_field_that_cannot_be_read_stops_nothing(tmp_path, broken):
    triple(tmp_path)
    path = put(tmp_path, "TB1map", **B1)
    path.with_name(f"sub-01_TB1map{broken}").write_bytes(b"{")
    unit = only(tmp_path)
    assert "b1_map" not in names(unit) and f"sub-01_TB1map{broken}" in dict(unit.lacking)["b1_map"]


ON = "anat/sub-01_flip-1_mt-on_MTS.nii.gz"


@pytest.mark.parametrize("said", [ON, [ON], f"bids::sub-01/{ON}", ["anat/sub-01_T1w.nii.gz", "bids::sub-01/anat/sub-01_flip-2_mt-off_MTS.nii.gz"]])
def test_the_field_is_the_one_that_is_intended_for_the_images(tmp_path, said):
    triple(tmp_path)
    put(tmp_path, "TB1map", **B1)  # would be the first by name, and by what the names say
    put(tmp_path, "acq-a_TB1map", {"IntendedFor": "bids::sub-01/anat/sub-01_T1w.nii.gz"}, **B1)
    put(tmp_path, "acq-b_TB1map", {"IntendedFor": said}, **B1)
    unit = only(tmp_path)
    assert names(unit)["b1_map"] == ["sub-01_acq-b_TB1map.nii.gz"] and not unit.lacking and not doubts(unit)


def test_a_field_for_other_images_is_not_taken(tmp_path):
    triple(tmp_path)
    put(tmp_path, "TB1map", {"IntendedFor": ["anat/sub-01_T1w.nii.gz", f"bids:raw:sub-01/{ON}"]}, **B1)
    assert "for other images" in dict(only(tmp_path).lacking)["b1_map"]


@pytest.mark.parametrize(
    ("maps", "taken"),
    [
        (["acq-tfl"], "acq-tfl"),
        (["acq-neck_run-1", "acq-neck_run-2"], "acq-neck_run-2"),
        (["acq-neck_run-02", "acq-brain_run-2", "run-2"], "acq-neck_run-02"),
        (["run-1", "run-2"], "run-2"),
        (["acq-brain", "acq-neck"], "acq-neck"),
        (["acq-brain", "acq-other"], None),
        (["acq-neck", "run-2"], None),
        (["dir-a_acq-neck_run-2", "dir-b_acq-neck_run-2"], None),
    ],
)
def test_of_several_fields_the_names_tell_or_none_is_taken(tmp_path, maps, taken):
    for name, side in {"flip-1_mt-on": LOW, "flip-1_mt-off": LOW, "flip-2_mt-off": HIGH}.items():
        put(tmp_path, f"acq-neck_run-2_{name}_MTS", side)
    for name in maps:
        put(tmp_path, f"{name}_TB1map", **B1)
    unit = only(tmp_path)
    if taken:
        assert names(unit)["b1_map"] == [f"sub-01_{taken}_TB1map.nii.gz"]
    else:
        why = dict(unit.lacking)["b1_map"]
        assert "b1_map" not in names(unit) and "tell which of" in why and all(name in why for name in maps) and why in doubts(unit)[0]


def test_without_a_field_or_a_use_for_it_there_is_no_doubt(tmp_path):
    triple(tmp_path)
    assert dict(only(tmp_path).lacking) == {"b1_map": "there is no B1 map (fmap/*_TB1map)"} and not doubts(only(tmp_path))
    (tmp_path / "sub-01/anat/sub-01_flip-2_mt-off_MTS.nii.gz").unlink()
    put(tmp_path, "TB1map", {"Units": "degree"}, **B1)
    assert not doubts(only(tmp_path)) and "no T1w image" in dict(only(tmp_path).lacking)["b1_map"]


def test_echoes_are_combined_and_must_be_as_many(tmp_path):
    for state in ("on", "off"):
        for echo in (1, 2):
            put(tmp_path, f"echo-{echo}_mt-{state}_MTR")
    unit = only(tmp_path)
    images, notes = load_mt(unit)
    assert len(unit.magnitude) == 2 and images["image"].data.min() > 1.2 and "2 echoes" in " ".join(notes)
    (tmp_path / "sub-01/anat/sub-01_echo-2_mt-off_MTR.nii.gz").unlink()
    assert "has 1 echoes" in str(mt_units(tmp_path, "01")[1][0][1])


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (LOW, ""),
        ({}, ""),
        (HIGH, "differ in RepetitionTime and FlipAngle"),
        ({"FlipAngle": 15}, "differ in FlipAngle,"),
        ({**LOW, "RepetitionTime": 0.05}, "differ in RepetitionTime,"),
    ],
)
def test_a_ratio_over_more_than_saturation_is_doubtful(tmp_path, side, said):
    put(tmp_path, "mt-on_MTR", LOW)
    put(tmp_path, "mt-off_MTR", side)
    told = doubts(only(tmp_path))
    assert len(told) == bool(said) and said in "".join(told)


@pytest.mark.parametrize("side", [{}, HIGH])
@pytest.mark.parametrize(
    ("on", "off", "why"),
    [("flip-1_mt-on_MTS", "flip-2_mt-off_MTS", "another flip-"), ("acq-MTon_MTS", "acq-T1w_MTS", "T1w by its name")],
)
def test_a_t1_weighted_image_is_not_taken_for_the_mt_off_image(tmp_path, on, off, why, side):
    put(tmp_path, on)
    put(tmp_path, off, side)
    units, [(name, error)] = mt_units(tmp_path, "01")
    assert not units and name == "sub-01_MTS_mt" and type(error) is MissingInput and error.exit_code == 66
    assert "MT-off image is missing" in str(error) and why in str(error) and f"{off}.nii.gz" in str(error)


@pytest.mark.parametrize("side", [{}, {"FlipAngle": 9}])
def test_old_names_say_which_image_is_which_without_sidecars(tmp_path, side):
    for name in ("MTon", "MToff", "T1w"):
        put(tmp_path, f"acq-{name}_MTS", side)
    unit = only(tmp_path)
    assert names(unit) == {"mt_off": ["sub-01_acq-MToff_MTS.nii.gz"], "mt_t1w": ["sub-01_acq-T1w_MTS.nii.gz"]}
    table, why = protocol(unit)
    assert table is None and "has no RepetitionTime" in why


def test_old_names_and_sidecars_must_agree(tmp_path):
    put(tmp_path, "acq-MTon_MTS", LOW)
    put(tmp_path, "acq-MToff_MTS", HIGH)
    put(tmp_path, "acq-T1w_MTS", LOW)
    units, [(_, error)] = mt_units(tmp_path, "01")
    assert not units and type(error) is DataError and "less by its name" in str(error)
