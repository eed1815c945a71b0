"""Real images: two in-vivo 7 T crops with phase of an odd range, one with NaN, and a scanner's own field map."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from conftest import SHARED, neuraxis

pytestmark = pytest.mark.shared


def describe(root: Path) -> None:
    root.mkdir(parents=True)
    content = {"Name": "Real images", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(content))
    (root / "README").write_text("Real images for tests, made into BIDS." * 5)


def add_echoes(root: Path, label: str, part: str, source: Path) -> None:
    image = nibabel.load(source)
    folder = root / f"sub-{label}/anat"
    folder.mkdir(parents=True, exist_ok=True)
    for echo in range(image.shape[3]):
        one = nibabel.Nifti1Image(np.asarray(image.dataobj[..., echo], np.float32), image.affine)
        one.set_sform(image.affine, code=1)
        stem = folder / f"sub-{label}_echo-{echo + 1}_part-{part}_MEGRE"
        nibabel.save(one, f"{stem}.nii.gz")
        said = {"EchoTime": 0.004 * (echo + 1), "MagneticFieldStrength": 7.0}
        Path(f"{stem}.json").write_text(json.dumps(said | ({"Units": "arbitrary"} if part == "phase" else {})))


@pytest.mark.slow
def test_in_vivo_crops(tmp_path):
    root, source = tmp_path / "bids", SHARED / "brain/gre-7T-crop"
    describe(root)
    for label, prefix in (("01", ""), ("02", "clearswi_")):
        add_echoes(root, label, "mag", source / f"{prefix}Mag.nii")
        add_echoes(root, label, "phase", source / f"{prefix}Phase.nii")
    add_echoes(root, "03", "phase", source / "phase_with_nan.nii")
    out = tmp_path / "out"
    done = neuraxis(root, out, "participant", "group", "--masking", "phase_quality_threshold", check=65)
    assert "sub-03" in done.stderr and "not finite" in done.stderr and "Traceback" not in done.stderr
    for label in ("01", "02"):
        chi = np.asarray(nibabel.load(out / f"sub-{label}/anat/sub-{label}_Chimap.nii.gz").dataobj)
        assert np.isfinite(chi).all() and (chi != 0).mean() > 0.8 and chi.std() < 0.2
        notes = json.loads((out / f"logs/sub-{label}_MEGRE.json").read_text())["notes"]
        assert any("taken as -pi..pi" in note for note in notes)


@pytest.mark.slow
def test_a_part_of_a_head_is_no_head(tmp_path):
    root = tmp_path / "bids"
    describe(root)
    for part, name in (("mag", "Mag.nii"), ("phase", "Phase.nii")):
        add_echoes(root, "01", part, SHARED / "brain/gre-7T-crop" / name)
    done = neuraxis(root, tmp_path / "out", "participant", check=1)
    assert "phase_quality_threshold" in done.stderr and done.stderr.count("failed") == 1


@pytest.mark.slow
def test_a_siemens_field_map_from_dicom(tmp_path):
    """Phase difference of two echoes, in Siemens integers: one echo at the difference of the echo times."""
    converter = Path(sys.executable).with_name("dcm2niix")
    converted = tmp_path / "converted"
    converted.mkdir()
    for series in ("2_gre_field_magph", "3_gre_field_magph"):
        folder = SHARED / "dicom/gre-fieldmap-siemens/Siemens" / series
        subprocess.run([converter, "-z", "y", "-f", "%s_%e", "-o", converted, folder], check=True, capture_output=True)
    root = tmp_path / "bids"
    describe(root)
    (root / "sub-01/anat").mkdir(parents=True)
    said = json.loads((converted / "3_2_ph.json").read_text())
    for part, name in (("phase", "3_2_ph"), ("mag", "2_1")):
        stem = root / f"sub-01/anat/sub-01_part-{part}_T2starw"
        (converted / f"{name}.nii.gz").rename(f"{stem}.nii.gz")
        sidecar = {
            "EchoTime": said["EchoTime2"] - said["EchoTime1"],
            "MagneticFieldStrength": said["MagneticFieldStrength"],
        }
        Path(f"{stem}.json").write_text(json.dumps(sidecar | ({"Units": "arbitrary"} if part == "phase" else {})))
    out = tmp_path / "out"
    neuraxis(root, out, "participant", "--masking", "magnitude_threshold")
    record = json.loads((out / "logs/sub-01_T2starw.json").read_text())
    assert any("Siemens" in note for note in record["notes"])
    field = np.asarray(nibabel.load(out / "sub-01/fmap/sub-01_desc-total_fieldmap.nii.gz").dataobj)
    assert 1 < field[field != 0].std() < 200  # Hz
