"""One head in several orientations, from files to files."""

import json

import nibabel
import numpy as np
import pytest
from conftest import neuraxis


@pytest.mark.slow
def test_three_head_orientations_give_one_map(tmp_path):
    bids, out = tmp_path / "bids", tmp_path / "out"
    neuraxis("simulate", bids, "--shape", 58, 68, 64, "--voxel-size", 3, 3, 3, "--fine", 3, "--t1w-size", 0, "--orientations", 3)
    plain = ("--skip-bids-validation", "--masking", "phase_quality_threshold", "--background", "pdf")
    neuraxis(bids, out, "participant", *plain, "--outputs", "chi_cosmos")
    made = out / "sub-01/anat/sub-01_desc-cosmos_Chimap.nii.gz"
    chi = np.asarray(nibabel.load(made).dataobj)
    truth = nibabel.load(bids / "derivatives/truth/sub-01/anat/sub-01_acq-orientation1_Chimap.nii.gz")
    assert chi.shape == truth.shape and json.loads(made.with_suffix("").with_suffix(".json").read_text())["Units"] == "ppm"
    assert np.corrcoef(chi[chi != 0], np.asarray(truth.dataobj)[chi != 0])[0, 1] > 0.7
    record = json.loads((out / "logs/sub-01_MEGRE_orientations.json").read_text())
    assert any("grid of the first" in note for note in record["notes"])
    # six are needed for a tensor: one sentence, and the exit code of a wish that cannot be fulfilled
    done = neuraxis(bids, out, "participant", *plain, "--outputs", "chi_tensor", check=None)
    assert done.returncode and "6" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_without_several_orientations_that_is_said(small_bids, tmp_path):
    done = neuraxis(small_bids, tmp_path / "out", "participant", "--participant-label", "01", "--outputs", "chi_cosmos",
                    "--skip-bids-validation", check=None)  # fmt: skip
    assert done.returncode and "no two gradient-echo acquisitions" in done.stderr and "Traceback" not in done.stderr
