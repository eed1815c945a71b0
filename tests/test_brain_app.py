"""The real command on a head with a T1w beside its gradient echo: regions, their figures, and labels of other hands."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from conftest import neuraxis

from neuraxis.brain import atlas

ASKED = ("--brain", "--skip-bids-validation", "--outputs", "chi", "region_statistics")
MAPS = ("gray_probability", "white_probability", "fluid_probability", "nucleus_probability")
MADE = {
    "space-T1w_desc-brain_mask.nii.gz", "space-T1w_desc-brain_T1w.nii.gz", "from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.nii.gz",
    "from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.nii.gz", "from-T1w_to-MNI152NLin2009cAsym_mode-image_desc-overlap_xfm.tsv",
    "space-T1w_seg-regions_dseg.nii.gz", "space-T1w_seg-regions_dseg.tsv", "space-T1w_seg-regions_probseg.nii.gz",
    "space-T1w_seg-regions_trust.tsv", "from-MEGRE_to-T1w_mode-points_xfm.tsv", "seg-regions_dseg.nii.gz", "seg-regions_dseg.tsv",
    "seg-regions_probseg.nii.gz", "seg-regions_trust.tsv", "seg-regions_stats.tsv",
    "from-MNI152NLin2009cAsym_to-MEGRE_mode-image_xfm.nii.gz", "from-MEGRE_to-MNI152NLin2009cAsym_mode-image_xfm.nii.gz",
    "from-MEGRE_to-MNI152NLin2009cAsym_mode-image_desc-overlap_xfm.tsv",
}  # fmt: skip
"""What is asked for and all that it is made of; the maps themselves are in the golden list."""
TISSUES = {f"{space}{what}_probseg.nii.gz" for space in ("", "space-T1w_") for what in ("label-GM", "label-WM", "label-CSF", "seg-nuclei")}


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Path:
    bids = tmp_path_factory.mktemp("head") / "bids"
    neuraxis("simulate", bids, "--shape", 58, 68, 64, "--voxel-size", 3, 3, 3, "--fine", 3, "--t1w-size", 2.5)
    return bids


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _labels(path: Path) -> np.ndarray:
    return np.rint(np.asarray(nibabel.load(path).dataobj)).astype(int)


def _tissues_are_right(anat: Path, truth: np.ndarray, told: dict[int, str]) -> None:
    tissues = {one: np.asarray(nibabel.load(anat / f"sub-01_label-{one}_probseg.nii.gz").dataobj) for one in ("GM", "WM", "CSF")}
    inside = sum(tissues.values()) > 0.5
    assert sum(tissues.values())[inside].mean() == pytest.approx(1, abs=0.03)
    for name, one in (("white matter", "WM"), ("grey matter", "GM"), ("CSF", "CSF")):
        real = np.isin(truth, [number for number, text in told.items() if text == name])
        assert tissues[one][real & inside].mean() > 0.7, name


def test_a_t1w_alone_is_worked_on_where_it_is_asked_for(tmp_path):
    anat = tmp_path / "bids/sub-01/anat"
    anat.mkdir(parents=True)
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "T1w alone", "BIDSVersion": "1.10.0"}')
    for run in (1, 2):
        nibabel.save(nibabel.Nifti1Image(np.ones((56, 68, 60), np.int16), np.diag([3.0, 3, 3, 1])), anat / f"sub-01_run-{run}_T1w.nii.gz")
    words = (tmp_path / "bids", tmp_path / "out", "participant", "--brain", "--skip-bids-validation", "--dry-run")
    plan = neuraxis(*words, "--outputs", "t1w_regions").stdout
    assert all(f"sub-01_run-{run}_space-T1w_seg-regions_dseg.nii.gz" in plan for run in (1, 2))
    for asked in ((), ("--outputs", "chi", "region_statistics")):  # without a gradient echo there is nothing to do for it
        assert "Nothing of sub-01 is selected" in neuraxis(*words, *asked, check=None).stderr


@pytest.mark.slow
def test_regions_with_a_t1w(head):
    out = head.parent / "out"
    neuraxis(head, out, "participant", "group", *ASKED, *MAPS, "t1w_regions", "t1w_nucleus_probability")
    anat = out / "sub-01/anat"
    names = {path.name.removeprefix("sub-01_") for path in anat.iterdir() if path.suffix != ".json"}
    assert {name for name in names if "seg-" in name or "xfm" in name or "T1w" in name or "label-" in name} == MADE | TISSUES
    found, truth = _labels(anat / "sub-01_seg-regions_dseg.nii.gz"), _labels(head / "derivatives/truth/sub-01/anat/sub-01_dseg.nii.gz")
    told = {int(row["index"]): row["name"] for row in _rows(head / "derivatives/truth/dseg.tsv")}
    for name, mine in (("caudate", (11, 50)), ("putamen", (12, 51)), ("thalamus", (10, 49))):
        real = np.isin(truth, [number for number, text in told.items() if name in text.lower()])
        assert real.any() and 2 * (np.isin(found, mine) & real).sum() > 0.6 * (np.isin(found, mine).sum() + real.sum()), name
    _tissues_are_right(anat, truth, told)
    nuclei = nibabel.load(anat / "sub-01_seg-nuclei_probseg.nii.gz")
    order = json.loads((anat / "sub-01_seg-nuclei_probseg.json").read_text())["LabelMap"]
    assert nuclei.shape[3] == len(order) == 20 and order[:2] == ["left caudate", "right caudate"]
    assert np.asarray(nuclei.dataobj)[..., order.index("left putamen")][found == 12].mean() > 0.5
    rows = {(row["region"], row["hemisphere"], row["map"]): row for row in _rows(anat / "sub-01_seg-regions_stats.tsv")}
    chi = np.asarray(nibabel.load(anat / "sub-01_Chimap.nii.gz").dataobj)
    here = (found == 12) & (_labels(anat / "sub-01_desc-local_mask.nii.gz") > 0)
    assert float(rows["putamen", "L", "chi"]["mean"]) == pytest.approx(chi[here].mean(), abs=1e-4)
    assert float(rows["putamen", "LR", "chi"]["mean"]) > float(rows["cerebral white matter", "LR", "chi"]["mean"])
    assert _rows(out / "group_regionstatistics.tsv") == _rows(anat / "sub-01_seg-regions_stats.tsv")
    page = (out / "sub-01.html").read_text()
    assert "Maps in the regions" in page and (out / "sub-01/figures/sub-01_MEGRE_regions.png").stat().st_size > 10_000
    done = subprocess.run([Path(sys.executable).with_name("bids-validator-deno"), "--format", "json", out], capture_output=True, text=True)
    assert not [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    again = neuraxis(head, out, "participant", *ASKED)
    assert again.stderr.count("nothing is computed") == 2
    drawn = nibabel.load(anat / "sub-01_space-T1w_seg-regions_dseg.nii.gz")
    lesion = head.parent / "lesions/sub-01/anat/sub-01_T1w_label-lesion_mask.nii.gz"
    lesion.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image((np.asarray(drawn.dataobj) == 11).astype(np.uint8), drawn.affine), lesion)
    neuraxis(head, out, "participant", *ASKED, "--derivatives", lesion.parents[2])
    ill = nibabel.load(anat / "sub-01_label-lesion_mask.nii.gz")
    assert ill.shape == found.shape and np.mean(np.asarray(ill.dataobj)[found == 11] > 0) > 0.7
    whys = {(row["region"], row["hemisphere"]): row["why"] for row in _rows(anat / "sub-01_seg-regions_stats.tsv") if row["map"] == "chi"}
    assert "in a lesion" in whys["caudate", "L"] and "in a lesion" not in whys["caudate", "R"] + whys["thalamus", "L"]


@pytest.mark.slow
def test_labels_of_other_hands_take_the_place_of_the_atlas(head, tmp_path):
    bids = tmp_path / "bids"
    shutil.copytree(head, bids)
    truth = bids / "derivatives/truth/sub-01/anat"
    given = bids / "derivatives/labels/sub-01/anat"
    given.mkdir(parents=True)
    shutil.copy(truth / "sub-01_dseg.nii.gz", given / "sub-01_MEGRE_dseg.nii.gz")
    shutil.copy(bids / "derivatives/truth/dseg.tsv", bids / "derivatives/labels/dseg.tsv")  # inherited
    neuraxis(bids, tmp_path / "out", "participant", *ASKED, "--reference", "region", "--set", "reference.region.name=white matter")
    record = json.loads((tmp_path / "out/logs/sub-01_MEGRE.json").read_text())
    fate = {step["family"]: step["status"] for step in record["steps"]}
    assert fate["regions"] == "given" and fate["gre_registration"] == fate["t1w_alignment"] == "skipped"
    assert not (tmp_path / "out/logs/sub-01_T1w.json").exists()  # 70 s for nothing
    told = {row["name"] for row in _rows(bids / "derivatives/labels/dseg.tsv")}
    rows = _rows(tmp_path / "out/sub-01/anat/sub-01_seg-regions_stats.tsv")
    assert {row["region"] for row in rows} <= told and len(rows) > 5


@pytest.mark.slow
def test_labels_of_the_t1w_by_other_hands_go_before_a_registration(head, tmp_path):
    image = nibabel.load(head / "sub-01/anat/sub-01_T1w.nii.gz")
    given = tmp_path / "labels/sub-01/anat/sub-01_T1w_dseg.nii.gz"
    given.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 11, np.uint8), image.affine), given)
    for more, method in (((), "from_template"), (("--derivatives", tmp_path / "labels"), "from_t1w")):
        done = neuraxis(head, tmp_path / "out", "participant", *ASKED, "--dry-run", *more)
        (line,) = [one.split() for one in done.stdout.splitlines() if one.strip().startswith("regions ")]
        assert line[1] == method and line[2:] == ["will", "run"]


@pytest.mark.slow
def test_without_a_t1w_the_gradient_echo_is_registered_itself(head, tmp_path):
    bids = tmp_path / "bids"
    shutil.copytree(head, bids)
    for path in (bids / "sub-01/anat").glob("*_T1w.*"):
        path.unlink()
    neuraxis(bids, tmp_path / "out", "participant", *ASKED, *MAPS)
    anat = tmp_path / "out/sub-01/anat"
    found, truth = _labels(anat / "sub-01_seg-regions_dseg.nii.gz"), _labels(head / "derivatives/truth/sub-01/anat/sub-01_dseg.nii.gz")
    told = {int(row["index"]): row["name"] for row in _rows(head / "derivatives/truth/dseg.tsv")}
    for name, mine in (("putamen", (12, 51)), ("thalamus", (10, 49))):
        real = np.isin(truth, [number for number, text in told.items() if name in text.lower()])
        assert 2 * (np.isin(found, mine) & real).sum() > 0.6 * (np.isin(found, mine).sum() + real.sum()), name
    _tissues_are_right(anat, truth, told)
    assert (anat / "sub-01_from-MEGRE_to-MNI152NLin2009cAsym_mode-image_xfm.nii.gz").exists()
    # labels of the user's own in the template: the registration is not made anew
    share, spots = atlas.probability(10), {4001: "left Spot", 4002: "right Spot"}
    data = np.where(share.data > 0.5, 4001, 0).astype(np.int16)
    path = tmp_path / "mine_space-MNI152NLin2009cAsym_dseg.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, share.grid.matrix), path)
    path.with_name("mine_space-MNI152NLin2009cAsym_dseg.tsv").write_text("index\tname\n" + "".join(f"{n}\t{t}\n" for n, t in spots.items()))
    done = neuraxis(bids, tmp_path / "out", "participant", *ASKED, "--atlas", path)
    assert "Regions of the brain" in done.stderr and "gradient echo to the template" not in done.stderr
    mine = _labels(anat / "sub-01_seg-regions_dseg.nii.gz")
    assert set(np.unique(mine)) == {0, 4001} and _rows(anat / "sub-01_seg-regions_dseg.tsv") == [{"index": "4001", "name": "left Spot"}]
    a, b = mine == 4001, found == 10
    assert 2 * (a & b).sum() > 0.8 * (a.sum() + b.sum())
    assert {(row["region"], row["hemisphere"]) for row in _rows(anat / "sub-01_seg-regions_stats.tsv")} >= {("Spot", "L")}
    assert f'atlas = "{path}"' in (tmp_path / "out/run.toml").read_text()
    path.with_name("mine_space-MNI152NLin2009cAsym_dseg.tsv").unlink()
    done = neuraxis(bids, tmp_path / "out", "participant", *ASKED, "--atlas", path, check=None)
    assert done.returncode == 66 and "no table of names" in done.stderr and "Traceback" not in done.stderr
