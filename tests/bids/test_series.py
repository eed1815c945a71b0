"""Series in a BIDS data set: which are found, with which tables, and what is wrong in one sentence."""

import json

import nibabel
import numpy as np
import pytest

from neuraxis.bids.cord import cord_units
from neuraxis.bids.dataset import gre_units
from neuraxis.bids.gradients import gradients, in_world
from neuraxis.bids.images import grid_of_file, shape_of
from neuraxis.bids.series import load_series, series_units
from neuraxis.errors import LeftOut, NeuraxisError
from neuraxis.volume import Grid


def put(root, name, shape=(20, 20, 6, 4), size=(0.9, 0.9, 5.0)):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).uniform(1, 100, shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([*size, 1.0])), path)
    return path


@pytest.fixture
def root(tmp_path):
    put(tmp_path, "sub-01/dwi/sub-01_dir-AP_dwi.nii.gz")
    put(tmp_path, "sub-01/func/sub-01_task-rest_bold.nii.gz")
    put(tmp_path, "sub-01/func/sub-01_task-rest_sbref.nii.gz", (20, 20, 6))
    (tmp_path / "dwi.bval").write_text("0 800 800 800\n")
    (tmp_path / "sub-01/dwi/sub-01_dwi.bvec").write_text("0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return tmp_path


def only(root, suffix, **more):
    (unit,), problems = series_units(root, "01", suffix, everything=True, **more)
    assert not problems
    return unit


def test_series_are_found_with_tables_by_inheritance(root):
    unit = only(root, "dwi")
    assert unit.name == "sub-01_dir-AP_dwi_cord" and [p.name for p in unit.tables] == ["dwi.bval", "sub-01_dwi.bvec"]
    assert shape_of(unit) == (20, 20, 6, 4) and load_series(unit)[0].data.shape == (20, 20, 6, 4)
    assert set(unit.tables) < set(unit.paths())
    bold = only(root, "bold")
    assert bold.name == "sub-01_task-rest_bold_cord" and not bold.tables


def test_a_head_is_not_taken_for_a_cord_and_a_slab_is_doubtful(root):
    put(root, "sub-01/dwi/sub-01_dir-AP_dwi.nii.gz", (60, 60, 40, 4), (4.0, 4.0, 4.0))
    assert series_units(root, "01", "dwi") == ([], [])
    slab = put(root, "sub-01/func/sub-01_task-rest_bold.nii.gz", (64, 64, 30, 4), (3.0, 3.0, 3.0))
    units, ((name, left),) = series_units(root, "01", "bold")
    assert not units and name == "sub-01_task-rest_bold_cord" and isinstance(left, LeftOut)
    assert "1.6 mm" in str(left) and "--cord" in left.hint and "BodyPart" in left.hint
    slab.with_name("sub-01_task-rest_bold.json").write_text(json.dumps({"BodyPart": "CSPINE"}))
    assert series_units(root, "01", "bold")[0][0].sure
    put(root, "sub-01/dwi/sub-01_dir-AP_dwi.nii.gz")
    assert not series_units(root, "01", "dwi")[0][0].sure
    (root / "sub-01/dwi/sub-01_dir-AP_dwi.json").write_text(json.dumps({"BodyPart": "SPINE"}))
    assert series_units(root, "01", "dwi")[0][0].sure


def test_gradients_point_where_they_do_in_the_world(root):
    unit = only(root, "dwi")
    b_values, vectors = gradients(unit, grid_of_file(unit.magnitude[0], series=True), 4)
    assert b_values.tolist() == [0, 800, 800, 800]
    assert np.array_equal(vectors[:, 1:], np.diag([-1, 1, 1]))  # the first axis is turned round: the determinant is positive
    left = Grid.of((2, 2, 2), np.diag([-1.0, 1, 1, 1]))
    assert np.array_equal(in_world(np.eye(3), left), np.diag([-1, 1, 1]))
    (root / "sub-01/dwi/sub-01_dwi.bvec").write_text("0 0 0\n.98 0 0\n0 1.02 0\n0 0 1\n")  # a row per volume, length 1 nearly
    assert np.array_equal(gradients(unit, grid_of_file(unit.magnitude[0], series=True), 4)[1], vectors)


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("sub-01/dwi/sub-01_dwi.bvec", "0.5 0.7 0 0\n0 0 1 0\n0 0 0 0.6\n", r"volume 1 \(b = 800 s/mm2\) has the length 0.7, not 1, .* 1 more"),
        ("dwi.bval", "0 800 800\n", "4 volumes, dwi.bval 3 b-values"),
        ("sub-01/dwi/sub-01_dwi.bvec", "0 1 0 0\n0 0 1 0\n", "2 rows"),
        ("dwi.bval", "0 800 x 800\n", "no table of numbers"),
        ("dwi.bval", "0 800 nan 800\n", "finite"),
        ("dwi.bval", "0 -800 800 800\n", "b-values from -800"),
    ],
)
def test_tables_that_do_not_fit_are_one_sentence(root, file, text, what):
    (root / file).write_text(text)
    unit = only(root, "dwi")
    with pytest.raises(NeuraxisError, match=what):
        gradients(unit, grid_of_file(unit.magnitude[0], series=True), 4)


def test_a_single_volume_and_missing_tables_are_one_sentence(root):
    (root / "dwi.bval").unlink()
    put(root, "sub-01/func/sub-01_task-rest_bold.nii.gz", (20, 20, 6, 1))
    for suffix, what in (("dwi", "has no .bval"), ("bold", "holds one volume")):
        units, ((_, error),) = series_units(root, "01", suffix, everything=True)
        assert not units and what in str(error)


@pytest.mark.parametrize("shape", [(20, 20, 6), (20, 20, 6, 1), (20, 20, 6, 3)], ids=["3-D", "one volume", "no table"])
def test_a_blip_reversed_run_is_left_out_beside_a_series(root, shape):
    (root / "dwi.bval").rename(root / "sub-01/dwi/sub-01_dir-AP_dwi.bval")
    other = put(root, "sub-01/dwi/sub-01_dir-PA_dwi.nii.gz", shape)
    units, ((name, error),) = series_units(root, "01", "dwi", everything=True)
    assert [one.name for one in units] == ["sub-01_dir-AP_dwi_cord"] and name == "sub-01_dir-PA_dwi_cord" and isinstance(error, LeftOut)
    (root / "sub-01/dwi/sub-01_dir-AP_dwi.nii.gz").unlink()
    ((_, error),) = series_units(root, "01", "dwi", everything=True)[1]  # there is nothing else: that is a failure
    assert not isinstance(error, LeftOut)
    put(root, "sub-01/dwi/sub-01_acq-x_dwi.nii.gz").with_name("sub-01_acq-x_dwi.bval").write_text("0 800 800 800")
    other.rename(other.with_name("sub-01_acq-y_dwi.nii.gz"))
    assert not isinstance(series_units(root, "01", "dwi", everything=True)[1][0][1], LeftOut)  # nothing says that it is reversed
    for name, way in (("x", "j"), ("y", "j-")):
        (root / f"sub-01/dwi/sub-01_acq-{name}_dwi.json").write_text(json.dumps({"PhaseEncodingDirection": way}))
    assert isinstance(series_units(root, "01", "dwi", everything=True)[1][0][1], LeftOut)


@pytest.mark.parametrize(
    ("size", "axis", "sidecar", "good"),
    [
        ((1.2, 1.2, 1.0), 0, {}, False),
        ((1.2, 1.2, 1.0), None, {"SliceTiming": [0, 1]}, True),
        ((1.2, 1.2, 1.0), None, {"SliceTiming": [0, 1], "SliceEncodingDirection": "i-"}, False),
        ((1.0, 1.0, 1.0), 0, {}, True),
        ((0.9, 0.9, 5.0), 0, {}, True),
        ((0.9, 0.9, 5.0), 2, {}, True),
    ],
)
def test_slices_that_the_header_calls_sagittal_are_said(root, size, axis, sidecar, good):
    path = put(root, "sub-01/func/sub-01_task-rest_bold.nii.gz", size=size)
    image = nibabel.load(path)
    image.header.set_dim_info(slice=axis)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    path.with_name("sub-01_task-rest_bold.json").write_text(json.dumps(sidecar))
    units, problems = series_units(root, "01", "bold", everything=True)
    assert bool(units) == good and (good or "not axial" in str(problems[0][1]))


def test_single_volumes_of_a_brain_are_no_problem(root):
    put(root, "sub-01/dwi/sub-01_dir-PA_dwi.nii.gz", (60, 60, 40), (4.0, 4.0, 4.0))
    assert series_units(root, "01", "dwi")[1] == []


def test_the_levels_come_from_the_thin_image_of_the_session(root):
    put(root, "sub-01/anat/sub-01_T2w.nii.gz", (40, 60, 60), (1.0, 1.0, 1.0))
    put(root, "sub-01/anat/sub-01_T2starw.nii.gz", (40, 40, 6), (0.5, 0.5, 5.0))
    anatomical, problems = cord_units(root, "01", everything=True)
    assert not problems and len(anatomical) == 2
    assert only(root, "dwi", references=anatomical).reference.name == "sub-01_T2w_cord"
    thick = [one for one in anatomical if one.suffix == "T2starw"]
    assert only(root, "bold", references=thick).before[0].name == "sub-01_T2w_cord"  # to which that one refers
    assert not only(root, "bold").before


def test_series_are_no_gradient_echoes(root):
    for part in ("mag", "phase"):
        put(root, f"sub-01/func/sub-01_task-rest_part-{part}_bold.nii.gz")
    assert gre_units(root, "01") == ([], [])
    assert "two files of one series" in str(series_units(root, "01", "bold", everything=True)[1][0][1])
    (root / "sub-01/func/sub-01_task-rest_bold.nii.gz").unlink()
    assert [unit.name for unit in series_units(root, "01", "bold", everything=True)[0]].count("sub-01_task-rest_bold_cord") == 1
