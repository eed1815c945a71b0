"""tSNR and denoising: the values of another program, and noise that goes while the signal stays."""

import nibabel
import numpy as np
import pytest
from conftest import SHARED
from contracts.test_tensor import AFFINES, phantom

from neuraxis.cord.motion.volumes import volumes
from neuraxis.qmri.patch2self import patch2self
from neuraxis.qmri.temporal import tsnr
from neuraxis.volume import Volume


@pytest.mark.shared
def test_tsnr_is_that_of_the_spinal_cord_toolbox():
    folder = SHARED / "cord/sct-testing/fmri"
    series, expected = (np.asarray(nibabel.load(folder / f"{name}.nii.gz").dataobj, np.float32) for name in ("fmri", "fmri_tsnr"))
    found = tsnr(series, series)[0]
    known = np.isfinite(expected)
    assert known.mean() > 0.98 and np.abs(found - expected)[known].max() < 1e-4 * expected[known].max()
    assert abs(found.mean(dtype=float) - 5.56936) < 1e-4


def test_tsnr_counts_with_one_degree_of_freedom_less():
    data = np.zeros((2, 1, 1, 4), np.float32)
    data[0, 0, 0] = (1, 3, 1, 3)
    after, before = tsnr(data, 2 * data + 1)
    assert after[0, 0, 0] == pytest.approx(2 / np.sqrt(4 / 3)) and after[1, 0, 0] == 0
    assert before[0, 0, 0] == pytest.approx(5 / np.sqrt(16 / 3))
    with pytest.raises(ValueError, match="one volume"):
        tsnr(data[..., :1], data)


def test_patch2self_takes_noise_away():
    clean, b_values, _ = phantom(np.array([0, 0, 1.0]), AFFINES["LAS"], shape=(14, 14, 6))
    scale = np.random.default_rng(1).uniform(0.5, 1.5, clean.grid.shape)[..., None]
    truth = clean.data * scale
    noisy = Volume((truth + np.random.default_rng(0).normal(0, 40, truth.shape)).clip(0).astype(np.float32), clean.grid)
    made = patch2self(noisy, volumes(b_values))
    weighted = b_values > 0
    left, had = (np.std((one.data - truth)[..., weighted]) for one in (made, noisy))
    assert left < 0.6 * had and made.data.min() >= 0
    assert np.array_equal(made.data[..., ~weighted], noisy.data[..., ~weighted])
    assert np.std((patch2self(noisy, volumes(b_values), radius=1).data - truth)[..., weighted]) < 0.9 * had
    with pytest.raises(ValueError, match="ten|10"):
        patch2self(Volume(noisy.data[..., :8], noisy.grid), volumes(b_values[:8]))
