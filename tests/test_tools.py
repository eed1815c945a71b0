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
