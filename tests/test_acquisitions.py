"""Acquisitions that are not the usual four echoes give maps as right as those."""

import nibabel
import numpy as np
import pytest
from conftest import neuraxis

ACQUISITIONS = {
    "two echoes": (0.008, 0.018),
    "uneven": (0.004, 0.007, 0.015, 0.024),
    "64 echoes": tuple(0.002 + 0.0006 * echo for echo in range(64)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ACQUISITIONS)
def test_unusual_echoes_give_the_right_maps(name, tmp_path):
    bids, out = tmp_path / "bids", tmp_path / "out"
    size = ("--shape", 44, 52, 48, "--voxel-size", 4, 4, 4, "--fine", 4, "--t1w-size", 0)
    neuraxis("simulate", bids, *size, "--echo-times", *ACQUISITIONS[name])
    neuraxis(bids, out, "participant", "--skip-bids-validation", "--masking", "phase_quality_threshold")

    def image(root, what):
        return np.asarray(nibabel.load(root / f"sub-01/anat/sub-01_{what}.nii.gz").dataobj)

    truth = bids / "derivatives/truth"
    chi = image(out, "Chimap")
    known = (chi != 0) & (image(truth, "desc-brain_mask") > 0)
    assert np.corrcoef(chi[known], image(truth, "Chimap")[known])[0, 1] > 0.75
    decay, true_decay = image(out, "R2starmap")[known], image(truth, "R2starmap")[known]
    assert np.median(np.abs(decay - true_decay) / true_decay) < 0.2
