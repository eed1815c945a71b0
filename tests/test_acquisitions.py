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


@pytest.mark.slow
def test_an_oblique_head_can_be_resampled(tmp_path):
    from scipy.ndimage import affine_transform

    bids, out = tmp_path / "bids", tmp_path / "out"
    size = ("--shape", 54, 60, 54, "--voxel-size", 3.2, 3.2, 3.2, "--fine", 3.2, "--t1w-size", 0)
    neuraxis("simulate", bids, *size, "--obliquity", 20)
    done = neuraxis(bids, out, "participant", "--skip-bids-validation", "--masking", "magnitude_threshold", "--oblique", "resample")
    assert "tilted by 20.0 degrees" in done.stderr and 'oblique = "resample"' in (out / "run.toml").read_text()
    found = nibabel.load(out / "sub-01/anat/sub-01_Chimap.nii.gz")
    turn = found.affine[:3, :3]
    assert np.allclose(turn, np.diag(np.diag(turn))) and found.header.get_zooms() == pytest.approx((3.2, 3.2, 3.2))
    true = nibabel.load(bids / "derivatives/truth/sub-01/anat/sub-01_Chimap.nii.gz")
    step = np.linalg.inv(true.affine) @ found.affine
    truth = affine_transform(true.get_fdata(), step[:3, :3], step[:3, 3], found.shape, order=1)
    chi = found.get_fdata()
    known = chi != 0
    assert np.corrcoef(chi[known], truth[known])[0, 1] > 0.7
