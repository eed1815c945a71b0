"""Maps of several cords in the template: each on its part of it, their mean and spread, who is left out, and what the page says."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from neuraxis import cohort_pam50
from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import tables
from neuraxis.bids.nifti import image_bytes, warp_bytes
from neuraxis.cord.warps import NOWHERE_MM
from neuraxis.report.group import group_page
from neuraxis.report.group_template import pam50_section
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

ORIGIN = np.array([17.5, -46.0, -561.84])


def part(first, slices):
    matrix = np.diag([-0.5, 0.5, 0.5, 1.0])
    matrix[:3, 3] = ORIGIN + [0, 0, 0.5 * first]
    return Grid.of((71, 71, slices), matrix)


def unit(out, participant, value, first, slices, *, trusted=1, acq=""):
    """An image of one value on 1 mm voxels, 10 mm to the right of the template, and its record."""
    name = f"sub-{participant}{acq}"
    folder = out / f"sub-{participant}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    grid = part(first, slices)
    warp = np.zeros((*grid.shape, 3), np.float32)
    warp[..., 0] = 10.0
    warp[:3] = NOWHERE_MM
    matrix = np.diag([1.0, 1, 1, 1])
    matrix[:3, 3] = grid.matrix[:3, 3] + [10 - 36, 0, 0]
    own = Grid.of((37, 36, slices // 2 + 1), matrix)
    data = np.full(own.shape, value, np.float32)
    data[:, :, 0] = 0  # not known
    cord = np.zeros(own.shape, np.float32)
    cord[12:24, 12:24] = 1
    files = {}
    for kind, ending, content in (
        ("mtr", "space-MTR_MTRmap.nii.gz", image_bytes(Volume(data, own))),
        ("cord", "space-MTR_label-SC_probseg.nii.gz", image_bytes(Volume(cord, own))),
        ("warp_to_pam50", "from-MTR_to-PAM50_mode-image_xfm.nii.gz", warp_bytes(Volume(warp, grid))),
    ):
        (folder / f"{name}_{ending}").write_bytes(content)
        files[kind] = [f"sub-{participant}/anat/{name}_{ending}"]
    columns = {"dice_image": 0.95, "dice_template": 0.95, "inverse_mean": 0.01, "inverse_most": 0.1, "landmarks": 3}
    table = Table.of({k: np.array([v]) for k, v in columns.items()} | {
        "sections": np.array(["slices"]), "trusted": np.array([trusted]), "why": np.array(["" if trusted else "it lies elsewhere"])})  # fmt: skip
    path = folder / f"{name}_from-MTR_to-PAM50_mode-image_desc-agreement_xfm.tsv"
    path.write_text(tables.plain_text(table))
    files["pam50_agreement"] = [str(path.relative_to(out))]
    return {"unit": f"{name}_MTR_mt", "participant": participant, "files": files, "pipeline": "cord_mt", "status": "ok"}


def read(out, kind):
    return nibabel.load(out / f"tpl-PAM50/tpl-PAM50_desc-{kind}_MTRmap.nii.gz")


def test_mean_spread_and_number_over_participants(tmp_path):
    records = [
        unit(tmp_path, "01", 30.0, 700, 40),
        unit(tmp_path, "02", 40.0, 720, 40),
        unit(tmp_path, "02", 44.0, 720, 40, acq="_acq-x"),  # the same participant again: counts once
        unit(tmp_path, "03", 90.0, 700, 40, trusted=0),
    ]
    found = cohort_pam50.make(tmp_path, records)
    assert found.left_out == (("sub-03_MTR_mt", "it lies elsewhere"),)
    assert found.rows[0]["participants"] == 2 and found.rows[0]["slices"] == 60
    mean, sd, number = (read(tmp_path, kind) for kind in ("mean", "sd", "number"))
    assert np.allclose(mean.affine[:3, 3], ORIGIN + [0, 0, 350.0], atol=1e-4) and mean.shape == (71, 71, 60)
    middle = np.s_[20:50, 20:50]
    values, spread, people = (np.asarray(one.dataobj)[middle] for one in (mean, sd, number))
    assert np.allclose(values[..., 5:18], 30) and np.allclose(people[..., 5:18], 1) and np.all(spread[..., 5:18] == 0)
    assert np.allclose(values[..., 25:38], 36, atol=1e-4) and np.allclose(people[..., 25:38], 2)
    assert np.allclose(spread[..., 25:38], np.std([30, 42], ddof=1), atol=1e-4)
    assert np.allclose(values[..., 45:58], 42, atol=1e-4) and np.allclose(people[..., 45:58], 1)
    assert not np.asarray(number.dataobj)[:3].any()  # where the warps lead nowhere
    assert not people[..., 0].any()  # a zero of a map is no value
    text = json.loads((tmp_path / "tpl-PAM50/tpl-PAM50_desc-mean_MTRmap.json").read_text())
    assert text["Units"] == ARTIFACTS["mtr"].unit and "2 participants" in text["Description"]
    mine = nibabel.load(tmp_path / "sub-01/anat/sub-01_space-PAM50_desc-MTR_MTRmap.nii.gz")
    assert mine.shape == (71, 71, 40)
    page = group_page(records, pam50=pam50_section(found.pictures, found.rows, found.left_out, "tpl-PAM50", tmp_path))
    assert "Cords in PAM50" in page and "it lies elsewhere" in page and page.count("data:image/png") == 1


@pytest.mark.parametrize(
    ("ending", "content"),
    [("from-MTR_to-PAM50_mode-image_xfm.nii.gz", None), ("label-SC_probseg.nii.gz", b"no image"), ("desc-agreement_xfm.tsv", b"trusted\n")],
)
def test_a_broken_file_leaves_one_out_and_the_others_go_on(tmp_path, ending, content):
    records = [unit(tmp_path, "01", 30.0, 700, 40), unit(tmp_path, "02", 40.0, 700, 40)]
    cohort_pam50.make(tmp_path, records)
    path = next((tmp_path / "sub-02").rglob(f"*{ending}"))
    path.unlink() if content is None else path.write_bytes(content)
    found = cohort_pam50.make(tmp_path, records)
    assert found.rows[0]["participants"] == 1 and [one for one, _ in found.left_out] == ["sub-02_MTR_mt"]
    assert not list((tmp_path / "sub-02").rglob("*space-PAM50*"))  # what the former run brought there
    assert list((tmp_path / "sub-01").rglob("*space-PAM50*"))


def test_two_acquisitions_of_a_session_keep_their_own_maps(tmp_path):
    records = [unit(tmp_path, "01", 30.0, 700, 40)]
    other = unit(tmp_path, "01", 50.0, 700, 40)
    for name in ("mtr", "cord"):
        path = tmp_path / other["files"][name][0]
        new = path.with_name(path.name.replace("space-MTR", "space-MTS"))
        path.rename(new)
        other["files"][name] = [str(new.relative_to(tmp_path))]
    records = [unit(tmp_path, "01", 30.0, 700, 40), other | {"unit": "sub-01_MTS_mt"}]
    cohort_pam50.make(tmp_path, records)
    files = {name: tmp_path / f"sub-01/anat/sub-01_space-PAM50_desc-{name}_MTRmap.nii.gz" for name in ("MTR", "MTS")}
    values = {name: np.asarray(nibabel.load(path).dataobj).max() for name, path in files.items()}
    assert values == {"MTR": pytest.approx(30), "MTS": pytest.approx(50)}


def test_order_does_not_matter(tmp_path):
    made = []
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        out = tmp_path / name
        records = [unit(out, "01", 30.0, 720, 40), unit(out, "02", 50.0, 690, 40)]
        cohort_pam50.make(out, [records[n] for n in order])
        made.append(read(out, "mean"))
    assert np.allclose(made[0].dataobj, made[1].dataobj) and np.allclose(made[0].affine, made[1].affine)


@pytest.mark.parametrize("records", [[], [{"unit": "sub-01_T2w_cord", "participant": "01", "files": {}}]])
def test_without_maps_there_is_no_section(tmp_path, records):
    assert cohort_pam50.make(tmp_path, records) is None
    assert not (tmp_path / "tpl-PAM50").exists()


def test_with_untrusted_ones_alone_the_page_says_so(tmp_path):
    found = cohort_pam50.make(tmp_path, [unit(tmp_path, "01", 30.0, 700, 40, trusted=0)])
    assert not found.rows and found.left_out[0][1] == "it lies elsewhere"
