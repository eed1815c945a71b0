"""Trained models as a user has them: fetched from a file, then run by the real command."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from conftest import neuraxis
from cord.phantom_spine import spine
from scipy import ndimage
from toy_nets import toy_net

NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"
PATCH = (32, 32, 32)


def _zip(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    return archive


@pytest.mark.slow
def test_models_are_fetched_from_a_file_and_run(tmp_path):
    one = spine("T2w", noise=0.003)
    data = 1000 * one.image.data
    parts, number = ndimage.label((data > 660) & (data < 750))  # discs, and the partial volume around the CSF
    sizes = np.bincount(parts.ravel())
    discs = [part for part in range(1, number + 1) if sizes[part] > 200]
    assert len(discs) == len(one.tips)
    data[np.isin(parts, discs)] = 1300
    data[parts == max(discs, key=lambda part: ndimage.center_of_mass(parts == part)[2])] = 1600  # C2/C3
    anat = tmp_path / "bids/sub-01/anat"
    anat.mkdir(parents=True)
    volume = nibabel.Nifti1Image(data.astype(np.float32), one.image.grid.matrix)
    nibabel.save(volume.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "S", "R"))), anat / "sub-01_T2w.nii.gz")
    (anat / "sub-01_T2w.json").write_text(json.dumps({"MagneticFieldStrength": 3}))
    (tmp_path / "bids/dataset_description.json").write_text(json.dumps({"Name": "toy", "BIDSVersion": "1.10.0"}))
    cord = {"background": 0, "sc": 1, "rest": 2}
    column = {"background": 0, "canal": 1, "disc": 2, "disc_C2_C3": 3}
    toy_net(tmp_path / "one/Dataset1" / NAME, thresholds=(470, 625), labels=cord, folds={"0": 0, "1": 10}, steepness=0.2,
            mirror=(0, 1, 2), patch=PATCH)  # fmt: skip
    toy_net(tmp_path / "two/Dataset2" / NAME, thresholds=(780, 1150, 1450), labels=column, steepness=0.2, patch=PATCH)
    there = {"env": os.environ | {"NEURAXIS_RESOURCES": str(tmp_path / "resources")}}
    neuraxis("fetch", "spinalcord", "--from", _zip(tmp_path / "one", tmp_path / "one.zip"), **there)
    neuraxis("fetch", "spine", "--from", _zip(tmp_path / "two", tmp_path / "two.zip"), **there)
    neuraxis(tmp_path / "bids", tmp_path / "out", "participant", "--skip-bids-validation", "--cord",
             "--cord-segmentation", "contrast_agnostic", "--discs", "spine", "--outputs", "cord_mask", "discs",
             "--set", "cord_segmentation.contrast_agnostic.mirroring=true",
             "--set", "cord_segmentation.contrast_agnostic.tiles=0.7", **there)  # fmt: skip

    def made(name: str) -> nibabel.Nifti1Image:
        path = tmp_path / f"out/sub-01/anat/sub-01_space-T2w_{name}.nii.gz"
        return nibabel.as_closest_canonical(nibabel.load(path))

    mask = np.asarray(made("label-SC_mask").dataobj) > 0
    truth = nibabel.as_closest_canonical(nibabel.Nifti1Image(one.cord.data, one.image.grid.matrix)).get_fdata() > 0.5
    assert 2 * (mask & truth).sum() > 0.9 * (mask.sum() + truth.sum())
    labels = made("desc-discs_dseg")
    data = np.asarray(labels.dataobj)
    assert set(data[data > 0]) == set(one.tips) and (data > 0).sum() == len(one.tips)
    for disc, tip in one.tips.items():
        assert np.linalg.norm(nibabel.affines.apply_affine(labels.affine, np.argwhere(data == disc)[0]) - tip) < 3
    record = json.loads((tmp_path / "out/logs/sub-01_T2w_cord.json").read_text())
    used = {step["family"]: step["method"] for step in record["steps"] if step["status"] == "computed"}
    assert used["cord_segmentation"].endswith("contrast_agnostic") and used["discs"].endswith("spine")
