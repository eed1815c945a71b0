"""tSNR and denoising: the values of another program, and noise that goes while the signal stays."""

import nibabel
import numpy as np
import pytest
from conftest import SHARED
from contracts.test_tensor import AFFINES, phantom

from neuraxis.cord.motion.volumes import volumes
from neuraxis.qmri.patch2self import patch2self
from neuraxis.qmri.temporal import tsnr
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume


@pytest.mark.shared
def test_tsnr_is_that_of_the_spinal_cord_toolbox():
    folder = SHARED / "cord/sct-testing/fmri"
    series, expected = (np.asarray(nibabel.load(folder / f"{name}.nii.gz").dataobj, np.float32) for name in ("fmri", "fmri_tsnr"))
    series = Volume(series, Grid.of(series.shape, np.eye(4)))
    found = tsnr(series, series)[0].data
    known = np.isfinite(expected)
    assert known.mean() > 0.98 and np.abs(found - expected)[known].max() < 1e-4 * expected[known].max()
    assert abs(found.mean(dtype=float) - 5.56936) < 1e-4


def test_tsnr_counts_with_one_degree_of_freedom_less():
    data = np.zeros((2, 1, 1, 4), np.float32)
    data[0, 0, 0] = (1, 3, 1, 3)
    grid = Grid.of((2, 1, 1), np.eye(4))
    after, before = tsnr(Volume(data, grid), Volume(2 * data + 1, grid))
    assert after.data[0, 0, 0] == pytest.approx(2 / np.sqrt(4 / 3)) and after.data[1, 0, 0] == 0
    assert before.data[0, 0, 0] == pytest.approx(5 / np.sqrt(16 / 3))
    with pytest.raises(ValueError, match="one volume"):
        tsnr(Volume(data[..., :1], grid), before)


@pytest.mark.parametrize("axes", ["RAS", "LIP"])
def test_tsnr_leaves_flagged_slices_out(axes):
    data = np.random.default_rng(0).normal(20, 1, (3, 3, 4, 12))
    clean = data.copy()
    data[:, :, 2, 5] *= 4
    series = Volume(data, Grid.of((3, 3, 4), np.diag([1.0, 1.0, 5.0, 1.0]))).oriented(axes)
    flagged = [(5, 2), *((t, 0) for t in range(11))]
    motion = Table.of({"volume": [t for t, _ in flagged], "slice": [z for _, z in flagged], "outlier": [1] * len(flagged)})
    found = tsnr(series, series, motion)[0].oriented("RAS").data
    kept = np.delete(clean[:, :, 2], 5, -1)
    assert np.allclose(found[:, :, 2], kept.mean(-1) / kept.std(-1, ddof=1)) and not found[:, :, 0].any()
    assert np.allclose(found[:, :, 1], clean[:, :, 1].mean(-1) / clean[:, :, 1].std(-1, ddof=1))


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
