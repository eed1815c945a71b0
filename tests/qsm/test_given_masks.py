"""Masks of other hands in the derivatives: their names, the order of their axes, the wrong grid and the empty one."""

import json
import os
import shutil

import nibabel
import numpy as np
import pytest
from conftest import neuraxis

WORDS = ("participant", "--participant-label", "01", "--skip-bids-validation", "--inversion", "tkd", "--background", "vsharp")


@pytest.fixture
def bids(small_bids, tmp_path):
    copy = tmp_path / "bids"
    copy.mkdir()
    for one in small_bids.iterdir():
        if one.name != "derivatives":
            os.symlink(one, copy / one.name)
    return copy


def draw(bids, folder, name, image):
    path = bids / folder / "sub-01/anat" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def block(bids):
    source = nibabel.load(bids / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    mask = np.zeros(source.shape, np.uint8)
    mask[12:30, 12:34, 14:34] = 1
    return nibabel.Nifti1Image(mask, source.affine)


def used(out):
    return next(s for s in json.loads((out / "logs/sub-01_MEGRE.json").read_text())["steps"] if s["family"] == "masking")


@pytest.mark.slow
def test_a_mask_of_qsmxt_with_other_axes_is_taken(bids, tmp_path):
    mask = block(bids)
    turned = mask.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "S", "R")))
    tool = tmp_path / "qsmxt"
    draw(tool, ".", "sub-01_mask.nii", turned)
    out = tmp_path / "out"
    neuraxis(bids, out, *WORDS, "--derivatives", f"qsmxt={tool}")
    chi = np.asarray(nibabel.load(out / "sub-01/anat/sub-01_Chimap.nii.gz").dataobj)
    inside = np.asarray(mask.dataobj) > 0
    assert chi[inside].any() and not chi[~inside].any() and used(out)["status"] == "given"


@pytest.mark.parametrize("name", ["sub-01_desc-brain_mask", "sub-01_MEGRE_mask", "sub-01_label-brain_mask", "sub-01_MEGRE_desc-brain_mask"])
def test_names_that_are_found(bids, tmp_path, name):
    draw(bids, "derivatives/labels", f"{name}.nii.gz", block(bids))
    done = neuraxis(bids, tmp_path / "out", *WORDS, "--dry-run")
    assert "given: mask found" in done.stdout


def test_a_susceptibility_map_of_other_hands_is_used_without_reconstruction(bids, tmp_path):
    chi = nibabel.Nifti1Image(np.asarray(block(bids).dataobj, np.float32) / 10, block(bids).affine)
    draw(bids, "derivatives/labels", "sub-01_MEGRE_Chimap.nii.gz", chi)
    asked = ("--outputs", "chi", "region_statistics", "gray_probability", "--set", "regions.from_template_on_chi.reach=1")
    done = neuraxis(bids, tmp_path / "out", *WORDS, *asked, "--regions", "from_template_on_chi", "--dry-run")
    plan = {words[0]: " ".join(words[2:]) for line in done.stdout.splitlines() if len(words := line.split()) > 2}
    assert plan["regions"] == plan["gre_registration"] == plan["brain_tissues"] == "will run"
    assert plan["inversion"].startswith("given: chi_unreferenced found") and plan["reference"].startswith("given: chi found")
    for step in ("offset", "unwrapping", "b0", "background"):
        assert plan[step].startswith("not wanted"), (step, plan[step])


@pytest.mark.slow
def test_a_mask_that_lies_elsewhere_or_marks_nothing_is_one_sentence(bids, tmp_path):
    path = draw(bids, "derivatives/labels", "sub-01_desc-brain_mask.nii.gz", nibabel.Nifti1Image(np.ones((20, 20, 5), np.uint8), np.eye(4)))
    done = neuraxis(bids, tmp_path / "a", *WORDS, check=65)
    assert path.name in done.stderr and "20 x 20 x 5" in done.stderr and "Traceback" not in done.stderr
    grid = block(bids)
    draw(bids, "derivatives/labels", path.name, nibabel.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine))
    done = neuraxis(bids, tmp_path / "b", *WORDS, check=65)
    assert "marks no brain" in done.stderr and "Traceback" not in done.stderr
    shutil.rmtree(bids / "derivatives")


def test_a_recipe_with_a_wrong_word_is_one_sentence(bids, tmp_path):
    words = ("--masking", "combined", "--set", "masking.combined.recipe=magnitude,threshold:otsu,melt:1")
    done = neuraxis(bids, tmp_path / "out", *WORDS, *words, check=1)
    assert "melt:1" in done.stderr and "Traceback" not in done.stderr
