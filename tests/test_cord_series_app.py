"""The real command on series of the cord: every file by name, the truth of shifts and tensors, and what is bad in one sentence."""

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

DATASET = ".bidsignore README.md dataset_description.json methods.md references.bib references.txt run.toml logs/status.tsv sub-01.html".split()
BOTH = """label-SC_probseg label-SC_mask label-canal_probseg label-GM_probseg label-WM_probseg label-moco_probseg
desc-preproc_{suffix} desc-mean_{suffix}ref""".split()
OWN = {"dwi": ["desc-meanb0_dwiref"] + [f"model-tensor_param-{name}_dwimap" for name in ("fa", "md", "ad", "rd")], "bold": ["stat-tsnr_boldmap"]}
LABELS = "desc-discs_dseg desc-pmj_dseg seg-vertebrae_dseg".split()
TABLES = "label-SC_centerline label-SC_desc-levels_morph desc-motion_timeseries desc-motion_stats".split()
STEMS = {"dwi": ("dwi", "sub-01"), "bold": ("func", "sub-01_task-rest")}


def golden() -> set[str]:
    files = set(DATASET)
    for suffix, (folder, stem) in STEMS.items():
        made = f"sub-01/{folder}/{stem}_"
        files.add(f"logs/{stem}_{suffix}_cord.json")
        files |= {f"{made}{name.format(suffix=suffix)}{end}" for name in (*BOTH, *OWN[suffix]) for end in (".nii.gz", ".json")}
        files |= {f"{made}{name}{end}" for name in LABELS for end in (".nii.gz", ".json", ".tsv")}
        files |= {f"{made}{name}{end}" for name in (*TABLES, *["desc-confounds_timeseries"] * (suffix == "bold")) for end in (".tsv", ".json")}
        picture = f"sub-01/figures/{stem}_{suffix}_cord_"
        files |= {f"{picture}{name}{end}" for name in ("cord", "canal", "graymatter", "levels") for end in (".png", "_over.png")}
        shown = ("corrected", "motion", "image", *(("fa", "md") if suffix == "dwi" else ("tsnr",)))
        files |= {f"{picture}{name}.png" for name in shown}
    return files | {f"sub-01/dwi/sub-01_desc-preproc_dwi.{end}" for end in ("bval", "bvec")}


def shifts(path: Path) -> np.ndarray:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    number = 1 + max(int(row["volume"]) for row in rows)
    return np.array([(float(row["x"]), float(row["y"])) for row in rows]).reshape(number, -1, 2)


def image(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_output_has_its_name_and_no_other_file_is_there(series_out):
    found = {str(path.relative_to(series_out)) for path in series_out.rglob("*") if path.is_file()} - {".made"}
    assert found == golden()


def test_the_results_are_valid_bids(series_out, tmp_path):
    copy = tmp_path / "neuraxis"
    shutil.copytree(series_out, copy, ignore=shutil.ignore_patterns(".made"))
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", copy], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    assert done.returncode == 0 and not issues, issues[:5]


@pytest.mark.parametrize("suffix", ["dwi", "bold"])
def test_every_slice_is_where_the_phantom_says(series_bids, series_out, suffix):
    folder, stem = STEMS[suffix]
    name = f"sub-01/{folder}/{stem}_desc-motion_timeseries.tsv"
    found, true = shifts(series_out / name), shifts(series_bids / "derivatives/truth" / name)
    still = slice(3, None) if suffix == "dwi" else slice(None)  # the volumes whose mean is the frame
    apart = (found - found[still].mean(0)) - (true - true[still].mean(0))
    assert np.sqrt((apart[still] ** 2).mean()) < (0.1 if suffix == "dwi" else 0.05)
    assert np.sqrt((apart**2).mean()) < 0.15
    quality = table(series_out / f"sub-01/{folder}/{stem}_desc-motion_stats.tsv")
    for row in quality:
        assert float(row["shift_after"]) < 0.1 * float(row["shift_before"])
        assert float(row["tsnr_after"]) > 1.3 * float(row["tsnr_before"])


@pytest.mark.parametrize(("suffix", "dice"), [("dwi", 0.85), ("bold", 0.95)])
def test_the_cord_is_the_phantom_s(series_bids, series_out, suffix, dice):
    folder, stem = STEMS[suffix]
    name = f"sub-01/{folder}/{stem}_label-SC_mask.nii.gz"
    made, true = (image(base / name) > 0 for base in (series_out, series_bids / "derivatives/truth"))
    both = made.any((0, 1)) & true.any((0, 1))
    assert 2 * (made & true)[..., both].sum() / (made[..., both].sum() + true[..., both].sum()) > dice and both.mean() > 0.8


def test_tensors_are_the_phantom_s(series_bids, series_out):
    truth = series_bids / "derivatives/truth/sub-01/dwi"
    inside = image(truth / "sub-01_label-SC_probseg.nii.gz") > 0.99
    for name, close in (("fa", 0.03), ("md", 0.05)):
        made, true = (image(base / f"sub-01_model-tensor_param-{name}_dwimap.nii.gz")[inside].mean() for base in (series_out / "sub-01/dwi", truth))
        assert made == pytest.approx(true, rel=close), name


def test_confounds_follow_fmriprep(series_out):
    path = series_out / "sub-01/func/sub-01_task-rest_desc-confounds_timeseries.tsv"
    rows = table(path)
    assert list(rows[0])[:5] == ["trans_x", "trans_x_derivative1", "trans_y", "trans_y_derivative1", "framewise_displacement"]
    assert rows[0]["framewise_displacement"] == "n/a" and len(rows) == 20
    for row in rows[1:]:
        steps = abs(float(row["trans_x_derivative1"])) + abs(float(row["trans_y_derivative1"]))
        assert float(row["framewise_displacement"]) == pytest.approx(steps, rel=1e-4)
    assert float(rows[5]["csf"]) > float(rows[5]["cord"]) > 0
    assert all(one["Description"] for name, one in json.loads(path.with_suffix(".json").read_text()).items() if name in rows[0])


def test_the_corrected_series_keeps_its_gradients(series_bids, series_out):
    for end in ("bval", "bvec"):
        made = np.loadtxt(series_out / f"sub-01/dwi/sub-01_desc-preproc_dwi.{end}")
        assert np.allclose(made, np.loadtxt(series_bids / f"sub-01/dwi/sub-01_dwi.{end}"))


def test_nothing_is_computed_twice_and_what_is_asked_for_is_made(series_bids, series_out, tmp_path):
    shutil.copytree(series_out, tmp_path / "out")  # others look at the files of series_out meanwhile
    done = neuraxis(series_bids, tmp_path / "out", "participant", "--skip-bids-validation")
    assert done.stderr.count("nothing is computed") == 2
    neuraxis(series_bids, tmp_path / "out", "participant", "--skip-bids-validation", "--outputs", "v1", "smooth_volumes")
    v1 = image(tmp_path / "out/sub-01/dwi/sub-01_model-tensor_param-v1_dwimap.nii.gz")
    inside = image(series_bids / "derivatives/truth/sub-01/dwi/sub-01_label-SC_probseg.nii.gz") > 0.99
    axis = nibabel.load(series_bids / "sub-01/dwi/sub-01_dwi.nii.gz").affine[:3, 2]
    assert np.median(np.abs(v1[inside] @ (axis / np.linalg.norm(axis)))) > 0.98  # along the slices' axis, in the world
    for name in ("dwi/sub-01_desc-smooth_dwi", "func/sub-01_task-rest_desc-smooth_bold"):
        assert image(tmp_path / f"out/sub-01/{name}.nii.gz").ndim == 4


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda folder: (folder / "sub-01_dwi.bval").write_text("0 0 0 800\n"), "4 b-values"),
        (lambda folder: (folder / "sub-01_dwi.bvec").unlink(), "no .bvec"),
        (lambda folder: cut(folder / "sub-01_dwi.nii.gz", np.s_[..., :1]), "holds one volume"),
        (lambda folder: turned(folder / "sub-01_dwi.nii.gz"), "slices are not axial"),
    ],
    ids=["mismatch", "no table", "one volume", "sagittal"],
)
def test_what_is_bad_is_one_sentence(series_bids, tmp_path, spoil, what):
    shutil.copytree(series_bids / "sub-01/dwi", tmp_path / "bids/sub-01/dwi")
    shutil.copy(series_bids / "dataset_description.json", tmp_path / "bids")
    spoil(tmp_path / "bids/sub-01/dwi")
    done = neuraxis(tmp_path / "bids", tmp_path / "out", "participant", "--skip-bids-validation", "--cord", check=None)
    assert done.returncode and what in done.stderr and "Traceback" not in done.stderr


def test_a_series_at_b_0_alone_is_brought_to_rest_and_one_volume_beside_it_is_left_out(series_bids, tmp_path):
    folder = tmp_path / "bids/sub-01/dwi"
    folder.mkdir(parents=True)
    shutil.copy(series_bids / "dataset_description.json", tmp_path / "bids")
    whole = nibabel.load(series_bids / "sub-01/dwi/sub-01_dwi.nii.gz")
    data = np.asarray(whole.dataobj)
    nibabel.save(nibabel.Nifti1Image(data[..., 2::-1], whole.affine), folder / "sub-01_dir-AP_dwi.nii.gz")
    nibabel.save(nibabel.Nifti1Image(data[..., 0], whole.affine), folder / "sub-01_dir-PA_dwi.nii.gz")
    (folder / "sub-01_dir-AP_dwi.bval").write_text("0 5 0\n")
    (folder / "sub-01_dir-AP_dwi.bvec").write_text("0 0 0\n" * 3)
    words = ("participant", "--skip-bids-validation", "--cord", "--outputs", "corrected", "image", "fa")
    done = neuraxis(tmp_path / "bids", tmp_path / "out", *words, check=66)  # it was asked for by name
    assert "fa was asked for and cannot be made: no volume is diffusion-weighted" in done.stderr
    assert "sub-01_dir-PA_dwi_cord left out: single volumes" in done.stderr
    record = json.loads((tmp_path / "out/logs/sub-01_dir-AP_dwi_cord.json").read_text())
    assert any("no volume is diffusion-weighted" in json.dumps(step) for step in record["steps"])
    assert (tmp_path / "out/sub-01/dwi/sub-01_dir-AP_desc-preproc_dwi.nii.gz").exists()
    assert not list((tmp_path / "out").rglob("*param-fa*"))


def cut(path: Path, where: tuple) -> None:
    whole = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(whole.dataobj)[where], whole.affine), path)


def turned(path: Path) -> None:
    """The same numbers as if the slices had been sagittal."""
    whole = nibabel.load(path)
    affine = np.array([[0, 0, 5.0, 0], [-0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.asarray(whole.dataobj), affine), path)
