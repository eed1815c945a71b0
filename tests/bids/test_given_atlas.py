"""An atlas of the user's: what is read, and what is said of one that cannot be used."""

import nibabel
import numpy as np
import pytest

from neuraxis.bids.given_atlas import read_atlas
from neuraxis.errors import DataError, MissingInput

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def write(folder, data, name="mine_dseg", table="index\tname\n7\tleft spot\n8\tright spot\n"):
    path = folder / f"{name}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), path)
    if table:
        (folder / f"{name}.tsv").write_text(table)
    return path


@pytest.fixture
def labels():
    data = np.zeros((6, 7, 8), np.float32)
    data[1:3, 2, 2], data[4, 5, 6] = 7, 8
    return data


def test_labels_and_names_are_read(tmp_path, labels):
    found, names = read_atlas(write(tmp_path, labels))
    assert found.data.dtype == np.int16 and (found.data == labels).all() and (found.grid.matrix == AFFINE).all()
    assert dict(zip(names["index"].tolist(), names["name"].tolist(), strict=True)) == {7: "left spot", 8: "right spot"}
    assert read_atlas(write(tmp_path, labels, "tpl-MNI152NLin2009cAsym_atlas-mine_dseg"))[0].data.max() == 8


def test_what_is_missing_is_named(tmp_path, labels):
    with pytest.raises(MissingInput, match="There is no file .*nowhere"):
        read_atlas(tmp_path / "nowhere.nii.gz")
    (tmp_path / "bare").mkdir()
    with pytest.raises(MissingInput, match="no table of names") as told:
        read_atlas(write(tmp_path / "bare", labels, table=""))
    assert "mine_dseg.tsv" in told.value.hint


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d + 0.5, "no image of labels"),
        (lambda d: -d, "no image of labels"),
        (lambda d: np.where(d > 0, np.nan, 0), "no image of labels"),
        (lambda d: np.stack([d, d], -1), "no image of labels"),
        (lambda d: 0 * d, "largest label is 0"),
        (lambda d: d * 10000, "largest label is 80000"),
    ],
)
def test_what_is_no_atlas_is_refused(tmp_path, labels, change, why):
    with pytest.raises(DataError, match=why):
        read_atlas(write(tmp_path, change(labels).astype(np.float32)))


def test_another_space_and_a_file_that_is_cut_off_are_refused(tmp_path, labels):
    with pytest.raises(DataError, match="lies in MNI152NLin6Asym"):
        read_atlas(write(tmp_path, labels, "atl-x_space-MNI152NLin6Asym_dseg"))
    path = write(tmp_path, np.random.default_rng(0).integers(0, 9, (30, 30, 30)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read"):
        read_atlas(path)
