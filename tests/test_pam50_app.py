"""The real command with the template at hand: every file by name, the phantom's truth, the session's other image, and what is said."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from conftest import neuraxis

pytestmark = pytest.mark.slow

PICTURES = ("templatecord", "tractatlas")


def golden() -> set[str]:
    """What comes in addition to the results without the template."""
    files: set[str] = set()
    for contrast in ("T2w", "T2starw"):
        stem = f"sub-01/anat/sub-01_space-{contrast}_"
        for label in ("SC", "GM", "WM", "CSF"):
            files |= {f"{stem}label-{label}_desc-PAM50_probseg{end}" for end in (".nii.gz", ".json")}
        for name in ("seg-vertebrae_desc-PAM50", "seg-spinal_desc-PAM50", "desc-PAM50discs", "desc-PAM50spinal"):
            files |= {f"{stem}{name}_dseg{end}" for end in (".nii.gz", ".json", ".tsv")}
        for way in (f"from-PAM50_to-{contrast}", f"from-{contrast}_to-PAM50"):
            files |= {f"sub-01/anat/sub-01_{way}_mode-image_xfm{end}" for end in (".nii.gz", ".json")}
        for table in ("landmarks", "agreement"):
            files |= {f"sub-01/anat/sub-01_from-{contrast}_to-PAM50_mode-image_desc-{table}_xfm{end}" for end in (".tsv", ".json")}
        files |= {f"{stem}label-tracts_probseg{end}" for end in (".nii.gz", ".json")}
        files |= {f"{stem}label-SC_desc-tractmetrics_morph{end}" for end in (".tsv", ".json")}
        files |= {f"sub-01/figures/sub-01_{contrast}_cord_{one}{end}.png" for one in PICTURES for end in ("", "_over")}
        files.add(f"sub-01/figures/sub-01_{contrast}_cord_tractmetrics.png")
    return files


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {".made"}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_output_has_its_name_and_no_other_file_is_there(neck_out, neck_pam50_out):
    assert names(neck_pam50_out) - names(neck_out) == golden()


def test_the_results_are_valid_bids(neck_pam50_out, tmp_path):
    copy = tmp_path / "neuraxis"
    shutil.copytree(neck_pam50_out, copy, ignore=shutil.ignore_patterns(".made"))
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", copy], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    assert done.returncode == 0 and not issues, issues[:5]


@pytest.mark.parametrize("contrast", ["T2w", "T2starw"])
def test_the_cord_lies_on_the_template_s(neck_pam50_out, contrast):
    [table] = rows(neck_pam50_out / f"sub-01/anat/sub-01_from-{contrast}_to-PAM50_mode-image_desc-agreement_xfm.tsv")
    assert table["trusted"] == "1" and float(table["dice_image"]) > 0.9 and float(table["dice_template"]) > 0.9
    assert float(table["inverse_mean"]) < 0.1


@pytest.mark.parametrize("contrast", ["T2w", "T2starw"])
def test_levels_are_the_phantom_s(neck_bids, neck_pam50_out, contrast):
    """The T2*w shows no discs: its slices take their height from the T2w."""
    stem = f"sub-01/anat/sub-01_space-{contrast}_"
    found = nibabel.load(neck_pam50_out / f"{stem}seg-vertebrae_desc-PAM50_dseg.nii.gz")
    data, axis = np.asarray(found.dataobj), 2 if contrast == "T2starw" else 1
    told = rows(neck_bids / "derivatives/truth" / f"{stem}desc-shape_morph.tsv")
    truth = {int(row["slice"]): float(row["level"]) for row in told if row["level"] != "n/a"}
    labels = np.moveaxis(data, axis, 0)
    if nibabel.aff2axcodes(found.affine)[axis] == "I":
        labels = labels[::-1]
    pairs = [(np.median(one[one > 0]), truth[z]) for z, one in enumerate(labels) if z in truth and (one > 0).any()]
    assert len(pairs) > 5 and np.mean([abs(a - b) <= 1 for a, b in pairs]) == 1 and np.mean([a == b for a, b in pairs]) > 0.75


def test_the_page_shows_and_says_it(neck_pam50_out):
    page = (neck_pam50_out / "sub-01.html").read_text()
    assert "Registration to PAM50" in page and "Overlap of the cord" in page
    assert "landmarks_at_hand" in page  # of the T2*w
    assert "10.1016/j.neuroimage.2017.10.041" in (neck_pam50_out / "references.txt").read_text()


def test_tracts_and_the_image_in_the_template_when_asked_for(neck_bids, neck_pam50_out, pam50_resources, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(neck_pam50_out, out, ignore=shutil.ignore_patterns(".made"))
    environment = os.environ | {"NEURAXIS_RESOURCES": str(pam50_resources)}
    done = neuraxis(
        neck_bids, out, "participant", "--participant-label", "01", "--outputs", "tract_atlas", "image_pam50", env=environment
    )
    assert "Registration to PAM50" not in done.stderr  # it is there already
    for contrast in ("T2w", "T2starw"):
        atlas = nibabel.load(out / f"sub-01/anat/sub-01_space-{contrast}_label-tracts_probseg.nii.gz")
        cord = nibabel.load(out / f"sub-01/anat/sub-01_space-{contrast}_label-SC_desc-PAM50_probseg.nii.gz")
        assert atlas.shape[3] == 37 and np.prod(atlas.shape[:3]) < np.prod(cord.shape)
        inside = np.asarray(atlas.dataobj)[..., :36].sum()
        assert abs(inside / np.asarray(cord.dataobj).sum() - 1) < 0.1
        in_template = nibabel.load(out / f"sub-01/anat/sub-01_space-PAM50_{contrast}.nii.gz")
        assert np.allclose(in_template.header.get_zooms(), 0.5) and np.asarray(in_template.dataobj).any()


def test_a_template_that_was_changed_is_refused(neck_bids, pam50_resources, tmp_path):
    resources = tmp_path / "resources"
    shutil.copytree(pam50_resources, resources)
    path = next(resources.rglob("PAM50_cord.nii.gz"))
    path.write_bytes(path.read_bytes()[:-20])
    environment = os.environ | {"NEURAXIS_RESOURCES": str(resources)}
    words = (neck_bids, tmp_path / "out", "participant", "--participant-label", "01", "--outputs", "warp_to_pam50")
    done = neuraxis(*words, check=None, env=environment)
    assert done.returncode != 0 and "neuraxis fetch pam50" in done.stderr and "Traceback" not in done.stderr


def test_an_image_without_landmarks_is_no_failure_unless_its_warp_was_asked_for(neck_bids, pam50_resources, tmp_path):
    """An axial T2*w alone: no disc in view, no other image of the session."""
    bids = tmp_path / "bids"
    (bids / "sub-01" / "anat").mkdir(parents=True)
    shutil.copy(neck_bids / "dataset_description.json", bids)
    for path in (neck_bids / "sub-01" / "anat").glob("*T2starw*"):
        shutil.copy(path, bids / "sub-01" / "anat")
    environment = os.environ | {"NEURAXIS_RESOURCES": str(pam50_resources)}
    words = (bids, tmp_path / "out", "participant", "--cord", "--outputs")
    done = neuraxis(*words, "centerline", "pam50_agreement", check=None, env=environment)
    assert done.returncode == 66 and "pam50_agreement was asked for and cannot be made" in done.stderr and "Traceback" not in done.stderr
    assert list((tmp_path / "out").rglob("*centerline.tsv"))
    done = neuraxis(*words, "centerline", env=environment)
    assert "no disc" not in done.stderr
