"""The files of the template as volumes: cut to the cord, each of its kind; what is missing is named."""

from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest
import toy_pam50

from neuraxis.bids import pam50
from neuraxis.errors import DataError, MissingInput
from neuraxis.pipelines import CORD_ANAT


@pytest.fixture(scope="module")
def folder(pam50_resources):
    return pam50_resources / "pam50"


@pytest.fixture
def small(tmp_path):
    """An atlas of few voxels."""
    rng = np.random.default_rng(0)
    (tmp_path / "small" / "atlas").mkdir(parents=True)
    for region in range(37):
        share = rng.random((9, 8, 12)) * (rng.random((9, 8, 12)) > 0.8)
        image = nibabel.Nifti1Image(share.astype(np.float32), np.diag([-0.5, 0.5, 0.5, 1]))
        nibabel.save(image, tmp_path / f"small/atlas/PAM50_atlas_{region:02d}.nii.gz")
    return tmp_path / "small"


@pytest.mark.parametrize("name", pam50.NAMES)
def test_every_input_of_the_pipeline_is_read(folder, name):
    assert name in CORD_ANAT.inputs
    found = pam50.read(folder, name)
    true = toy_pam50.tracts() if name == "pam50_tracts" else toy_pam50.volumes()[name]
    if name == "pam50_tracts":  # as far as any lies
        assert found.data.shape[3] == 37 and found.data.astype(float).sum() == pytest.approx(true.data.astype(float).sum())
        true = true.cut(found.grid)
    assert np.allclose(found.grid.matrix, true.grid.matrix) and found.grid.shape == true.grid.shape
    assert np.allclose(found.data.astype(np.float32), true.data.astype(np.float32), atol=1e-3)
    kind = {"pam50_tracts": np.float16}.get(name, np.float32 if name[6:] in ("cord", "white", "gray", "fluid") else np.int16)
    assert found.data.dtype == kind


def test_a_missing_file_is_named_with_the_command_that_brings_it(folder, tmp_path):
    copy = tmp_path / "pam50"
    shutil.copytree(folder, copy)
    next(copy.rglob("PAM50_gm.nii.gz")).unlink()
    with pytest.raises(MissingInput, match=r"PAM50_gm") as caught:
        pam50.read(copy, "pam50_gray")
    assert "neuraxis fetch pam50" in str(caught.value.hint)


def test_a_region_of_another_grid_is_told(small):
    path = next(small.rglob("PAM50_atlas_07.nii.gz"))
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), np.diag([1.0, 1, 1, 1])), path)
    with pytest.raises(DataError, match="atlas_07"):
        pam50.read(small, "pam50_tracts")


def test_tracts_are_kept_in_a_cache_that_may_break(small, tmp_path):
    cache = tmp_path / "work" / "pam50.npz"
    first = pam50.read(small, "pam50_tracts", cache)
    assert [path.name for path in cache.parent.iterdir()] == ["pam50.npz"]
    for _ in range(2):
        pam50.read.cache_clear()
        again = pam50.read(small, "pam50_tracts", cache)
        assert np.array_equal(first.data, again.data) and first.grid == again.grid
        cache.write_bytes(cache.read_bytes()[:1000])
    for content in (b"", b"nothing of the kind"):
        cache.write_bytes(content)
        pam50.read.cache_clear()
        assert np.array_equal(first.data, pam50.read(small, "pam50_tracts", cache).data)


def test_a_cache_that_cannot_be_written_is_done_without(small, tmp_path):
    (tmp_path / "file").write_text("")
    pam50.read.cache_clear()
    assert pam50.read(small, "pam50_tracts", tmp_path / "file" / "pam50.npz").data.any()
