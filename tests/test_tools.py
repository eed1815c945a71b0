"""Methods as commands on files: images, tables and numbers in and out."""

from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
from conftest import neuraxis


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_shape_of_a_mask_in_three_commands(neck_bids, tmp_path):
    truth = neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_"
    line, slices, levels = (tmp_path / f"{name}.tsv" for name in ("line", "slices", "levels"))
    mask = f"{truth}label-SC_probseg.nii.gz"
    neuraxis("tool", "cord.centerline.bspline", "--cord", mask, "-o", line)
    words = ("--cord", mask, "--centerline", line, "--levels", f"{truth}desc-levels_dseg.nii.gz")
    neuraxis("tool", "cord.shape", *words, "-o", slices)
    neuraxis("tool", "cord.aggregate.shape_levels", "--shape", slices, "-o", levels)
    true = {row["slice"]: float(row["area"]) for row in rows(f"{truth}desc-shape_morph.tsv")}
    made = [(float(row["area"]), true[row["slice"]]) for row in rows(slices) if row["trusted"] == "1"]
    assert len(made) > 5 and all(abs(a / b - 1) < 0.02 for a, b in made)
    assert {row["name"] for row in rows(levels)} >= {"C4", "C5"}
    assert json.loads(slices.with_suffix(".json").read_text())["area"]["Units"] == "mm2"


def test_labels_are_made_kept_and_compared(neck_bids, tmp_path):
    image = neck_bids / "sub-01/anat/sub-01_T2starw.nii.gz"
    two, one, distance = tmp_path / "two.nii.gz", tmp_path / "one.nii.gz", tmp_path / "distance.json"
    neuraxis("tool", "cord.new_points.create", "--image", image, "--labels", "30,40,5,3:30,42,2,4", "-o", two)
    neuraxis("tool", "cord.points.keep", "--points", two, "--values", "4", "-o", one)
    assert np.unique(np.asarray(nibabel.load(one).dataobj)).tolist() == [0, 4]
    neuraxis("tool", "cord.points.mean_distance", "--points", one, "--reference", two, "-o", distance)
    assert json.loads(distance.read_text())["Value"] == 0
    done = neuraxis("tool", "cord.points.keep", "--points", two, "-o", one, check=64)
    assert "--values" in done.stderr


def test_itk_straightens_with_our_displacements(neck_bids, tmp_path):
    """SimpleITK applies the field and gives our own straight image; and the field back gives the image around the cord."""
    import SimpleITK as sitk

    truth = neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2w_"
    raw = neck_bids / "sub-01/anat/sub-01_T2w.nii.gz"
    line, straight, there, back = (
        tmp_path / "line.tsv",
        tmp_path / "straight.nii.gz",
        tmp_path / "to.nii.gz",
        tmp_path / "from.nii.gz",
    )
    neuraxis("tool", "cord.centerline.bspline", "--cord", f"{truth}label-SC_probseg.nii.gz", "-o", line)
    words = ("--image", raw, "--centerline", line)
    neuraxis("tool", "cord.straightening.straighten", *words, "--interpolation", "linear", "-o", straight)
    neuraxis("tool", "cord.warps.straightening_warps", *words, "-o", there, back)
    image = sitk.Cast(sitk.ReadImage(str(raw)), sitk.sitkFloat32)

    def applied(moving, file):
        field = sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkVectorFloat64)
        grid = sitk.VectorIndexSelectionCast(field, 0)  # resampling empties the field: its grid is kept apart
        return sitk.Resample(moving, grid, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, 0.0)

    made = applied(image, there)
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(straight)))
    theirs = sitk.GetArrayFromImage(made)
    middle = tuple(slice(n // 4, 3 * n // 4) for n in ours.shape)
    assert np.abs(ours[middle] - theirs[middle]).max() < 0.02 * ours.max()
    returned = sitk.GetArrayFromImage(applied(made, back))
    cord = sitk.GetArrayFromImage(sitk.ReadImage(f"{truth}label-SC_mask.nii.gz")) > 0
    inside = cord & (returned > 0)
    assert inside.sum() > 0.9 * cord.sum()
    assert np.corrcoef(returned[inside], sitk.GetArrayFromImage(image)[inside])[0, 1] > 0.6
