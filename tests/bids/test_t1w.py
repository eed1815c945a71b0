"""Which T1w goes with which gradient echo, and the names of labels of other hands."""

import json

import nibabel
import numpy as np

from neuraxis.bids.brain import referred, t1w_units
from neuraxis.bids.dataset import gre_units
from neuraxis.bids.tables import names_for


def _put(root, name, shape=(24, 24, 24), edge=8.0, **said):
    folder = root / "sub-01" / (name.split("_")[1] if "_ses-" in name else "") / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.ones(shape, np.float32), np.diag([edge, edge, edge, 1]))
    nibabel.save(image, folder / f"{name}.nii.gz")
    (folder / f"{name}.json").write_text(json.dumps({"EchoTime": 0.01, "MagneticFieldStrength": 3} | said))


def _gre(root, stem):
    for part in ("mag", "phase"):
        _put(root, f"{stem}_part-{part}_T2starw", Units="rad")


def _names(root):
    units = referred(gre_units(root, "01")[0], t1w_units(root, "01")[0])
    return {unit.name: unit.t1w.name if unit.t1w else None for unit in units}


def test_the_t1w_of_the_own_session_comes_first(tmp_path):
    for session in ("1", "2"):
        _gre(tmp_path, f"sub-01_ses-{session}")
    _put(tmp_path, "sub-01_ses-2_run-2_T1w")
    assert _names(tmp_path) == {f"sub-01_ses-{n}_T2starw": "sub-01_ses-2_run-2_T1w_brain" for n in "12"}
    _put(tmp_path, "sub-01_ses-1_T1w")
    _put(tmp_path, "sub-01_ses-2_run-1_T1w")
    assert _names(tmp_path) == {
        "sub-01_ses-1_T2starw": "sub-01_ses-1_T1w_brain", "sub-01_ses-2_T2starw": "sub-01_ses-2_run-1_T1w_brain",
    }  # fmt: skip


def test_a_neck_is_no_head_and_without_a_t1w_there_is_none(tmp_path):
    _gre(tmp_path, "sub-01")
    assert _names(tmp_path) == {"sub-01_T2starw": None}
    _put(tmp_path, "sub-01_acq-neck_T1w", BodyPart="CSPINE")
    assert _names(tmp_path) == {"sub-01_T2starw": None}
    _put(tmp_path, "sub-01_acq-head_T1w")
    assert _names(tmp_path) == {"sub-01_T2starw": "sub-01_acq-head_T1w_brain"}


def test_names_of_labels_are_inherited_from_the_nearest_table_that_fits(tmp_path):
    anat = tmp_path / "sub-01/ses-1/anat"
    anat.mkdir(parents=True)
    image = anat / "sub-01_ses-1_desc-aseg_dseg.nii.gz"
    assert names_for(image) is None
    (tmp_path / "desc-other_dseg.tsv").write_text("index\tname\n1\tno\n")
    assert names_for(image) is None
    (tmp_path / "dseg.tsv").write_text("index\tname\n1\tplain\n")
    assert names_for(image)["name"].tolist() == ["plain"]
    (tmp_path / "desc-aseg_dseg.tsv").write_text("index\tname\n10\tLeft-Thalamus\n49\tRight-Thalamus\n")
    assert names_for(image)["index"].tolist() == [10, 49]
    (anat / "sub-01_ses-1_desc-aseg_dseg.tsv").write_text("index\twrong\n1\tx\n")  # no table of names: the next one
    assert names_for(image)["index"].tolist() == [10, 49]
