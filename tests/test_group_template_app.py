"""The template of a cohort by the real command: files, numbers, and that it goes on where it was."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from conftest import neuraxis

pytestmark = [pytest.mark.slow, pytest.mark.slower]

MADE = {
    "desc-mean_magnitude.nii.gz", "desc-median_magnitude.nii.gz", "desc-sd_magnitude.nii.gz", "desc-number_magnitude.nii.gz",
    "desc-mean_Chimap.nii.gz", "desc-median_Chimap.nii.gz", "desc-sd_Chimap.nii.gz", "desc-number_Chimap.nii.gz",
    "desc-mean_R2starmap.nii.gz", "desc-median_R2starmap.nii.gz", "desc-sd_R2starmap.nii.gz", "desc-number_R2starmap.nii.gz",
    "desc-mean_T1w.nii.gz", "desc-median_T1w.nii.gz", "desc-sd_T1w.nii.gz", "desc-number_T1w.nii.gz",
    "desc-brain_mask.nii.gz", "seg-regions_dseg.nii.gz", "seg-regions_dseg.tsv", "seg-regions_probseg.nii.gz",
    "from-MNI152NLin2009cAsym_to-group_mode-image_xfm.nii.gz", "from-group_to-MNI152NLin2009cAsym_mode-image_xfm.nii.gz",
    "desc-rounds_table.tsv", "desc-heads_table.tsv",
}  # fmt: skip
"""Every file of the template but the sidecars and pictures, without tpl-group_."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("template")
    neuraxis("simulate", root / "bids", "--participants", 3, "--shape", 56, 68, 60, "--voxel-size", 3.4, 3.2, 3.2, "--t1w-size", 2.5)
    fast = ("--preset", "fast", "--brain", "--skip-bids-validation", "--outputs", "chi", "r2star", "t1w_aligned")
    neuraxis(root / "bids", root / "out", "participant", "group", *fast, "--group-template")
    return root


def _image(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_files_and_numbers(cohort):
    out = cohort / "out"
    folder = out / "tpl-group"
    names = {path.name.removeprefix("tpl-group_") for path in folder.iterdir() if path.suffix in (".gz", ".tsv")}
    assert names == MADE
    maps = [_image(out / f"sub-0{n}/anat/sub-0{n}_space-group_Chimap.nii.gz") for n in (1, 2, 3)]
    mean, number = (_image(folder / f"tpl-group_desc-{kind}_Chimap.nii.gz") for kind in ("mean", "number"))
    assert np.mean(number == sum((one != 0).astype(int) for one in maps)) > 0.999
    brain = _image(folder / "tpl-group_desc-number_R2starmap.nii.gz")
    assert (number == 3).sum() < 0.95 * (brain == 3).sum(), "the rim that the inversion gave up does not count as zero"
    everybody = number == 3
    assert everybody.sum() > 20000
    assert mean[everybody] == pytest.approx(np.mean(maps, axis=0)[everybody], abs=1e-6)
    assert np.abs(np.median(maps, axis=0)[everybody] - _image(folder / "tpl-group_desc-median_Chimap.nii.gz")[everybody]).max() < 1e-6
    pairs = [np.corrcoef(maps[a][everybody], maps[b][everybody])[0, 1] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(pairs) > 0.6, pairs
    regions, chi = _image(folder / "tpl-group_seg-regions_dseg.nii.gz"), mean
    assert chi[np.isin(regions, (201, 202, 203, 204))].mean() > chi[np.isin(regions, (2, 41))].mean() + 0.03, "pallidum over white matter"
    with open(folder / "tpl-group_desc-heads_table.tsv", newline="") as file:
        heads = list(csv.DictReader(file, delimiter="\t"))
    assert [row["image"] for row in heads] == [f"sub-0{n}_MEGRE" for n in (1, 2, 3)] and min(float(row["overlap"]) for row in heads) > 0.9
    assert json.loads((folder / "tpl-group_desc-mean_Chimap.json").read_text())["Units"] == "ppm"
    page = (out / "group.html").read_text()
    assert "Template of the group" in page and page.count("data:image/png;base64") >= 5
    assert not (out / "work").exists()
    assert "10.1016/j.neuroimage.2009.09.062" in (out / "references.txt").read_text()


def test_the_warps_are_itk_fields_that_undo_each_other(cohort):
    import SimpleITK as sitk

    out = cohort / "out"
    anat = out / "sub-02/anat"
    field = sitk.ReadImage(str(anat / "sub-02_from-MEGRE_to-group_mode-image_xfm.nii.gz"), sitk.sitkVectorFloat64)
    there = sitk.DisplacementFieldTransform(field)
    template = sitk.ReadImage(str(out / "tpl-group/tpl-group_desc-mean_Chimap.nii.gz"))
    moved = sitk.Resample(sitk.ReadImage(str(anat / "sub-02_Chimap.nii.gz")), template, there, sitk.sitkBSpline, 0.0)
    mine = _image(anat / "sub-02_space-group_Chimap.nii.gz").transpose(2, 1, 0)
    inside = _image(out / "tpl-group/tpl-group_desc-number_Chimap.nii.gz").transpose(2, 1, 0) == 3
    assert np.corrcoef(sitk.GetArrayFromImage(moved)[inside], mine[inside])[0, 1] > 0.97
    field = sitk.ReadImage(str(anat / "sub-02_from-group_to-MEGRE_mode-image_xfm.nii.gz"), sitk.sitkVectorFloat64)
    back = sitk.DisplacementFieldTransform(field)
    voxels = np.argwhere(inside)[::500]
    points = [template.TransformIndexToPhysicalPoint([int(v) for v in voxel[::-1]]) for voxel in voxels]
    off = [np.linalg.norm(np.subtract(back.TransformPoint(there.TransformPoint(point)), point)) for point in points]
    assert np.percentile(off, 95) < 0.5


def test_it_is_made_again_for_other_participants_only_and_goes_on_after_a_kill(cohort):
    out = cohort / "again"
    shutil.copytree(cohort / "out", out)
    words = [sys.executable, "-m", "neuraxis", str(cohort / "bids"), str(out), "group", "--group-template"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert "the template is there already" in done.stderr
    (out / "logs/sub-02_MEGRE.json").unlink()
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        for line in run.stderr:
            if "round 1:" in line:
                break
        os.killpg(run.pid, signal.SIGKILL)
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert "2 participants" in done.stderr and "round 2:" in done.stderr
    assert "round 1:" not in done.stderr
    assert not (out / "sub-02/anat/sub-02_space-group_Chimap.nii.gz").exists() and not (out / "work").exists()
    assert (out / "sub-03/anat/sub-03_space-group_Chimap.nii.gz").exists()


def test_who_is_missing_is_said(cohort):
    out = cohort / "failed"
    shutil.copytree(cohort / "out", out)
    record = json.loads((out / "logs/sub-02_MEGRE.json").read_text())
    (out / "logs/sub-02_MEGRE.json").write_text(json.dumps(record | {"status": "failed", "files": {}, "given": {}}))
    words = [sys.executable, "-m", "neuraxis", str(cohort / "bids"), str(out), "group", "--group-template"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert "made without sub-02_MEGRE" in done.stderr and "2 participants" in done.stderr
    assert "Made without <strong>sub-02_MEGRE</strong>" in (out / "group.html").read_text()
    assert (out / "sub-03/anat/sub-03_space-group_Chimap.nii.gz").exists()


def test_one_participant_is_no_cohort(cohort):
    out = cohort / "one"
    shutil.copytree(cohort / "out", out)
    for n in (2, 3):
        (out / f"logs/sub-0{n}_MEGRE.json").unlink()
    words = [sys.executable, "-m", "neuraxis", str(cohort / "bids"), str(out), "group", "--group-template"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode and "a template needs two" in done.stderr and "Traceback" not in done.stderr
