"""The real command on a simulated neck with magnetisation transfer: every file by name, the truth, and what is bad."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from conftest import _once, neuraxis

pytestmark = pytest.mark.slow

IMAGES = "label-SC_probseg label-SC_mask label-canal_probseg label-GM_probseg label-WM_probseg MTRmap".split()
LABELS = "desc-discs_dseg desc-pmj_dseg seg-vertebrae_dseg".split()
TABLES = "label-SC_centerline label-SC_desc-levels_morph label-SC_desc-mtoffshifts_morph".split()
OVER = "cord canal graymatter levels mtoffaligned mtoffaligned_before mtr".split()


@pytest.fixture(scope="module")
def bids(common) -> Path:
    """One neck: sagittal T2w, the three images of MTsat with a coarse B1 map, and a pair for MTR alone."""

    def make(folder: Path) -> None:
        words = ("--participants", 1, "--small", "--contrasts", "T2w", "MTS", "MTR", "--motion", 1)
        neuraxis("simulate", folder, "--cord", *words)
        seen = nibabel.load(folder / "sub-01/anat/sub-01_mt-on_MTR.nii.gz")
        corners = nibabel.affines.apply_affine(seen.affine, np.array([(x, y, z) for x in (0, 75) for y in (0, 75) for z in (0, 11)]))
        affine = np.diag([8.0, 8.0, 8.0, 1.0])
        affine[:3, 3] = corners.min(0) - 10
        shape = np.ceil((np.ptp(corners, axis=0) + 20) / 8).astype(int) + 1
        (folder / "sub-01/fmap").mkdir()
        field = (90 + 0.01 * np.indices(shape)[0]).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(field, affine), folder / "sub-01/fmap/sub-01_TB1map.nii.gz")
        (folder / "sub-01/fmap/sub-01_TB1map.json").write_text(json.dumps({"Units": "percent"}))

    return _once(common / "mt" / "bids", make)


@pytest.fixture(scope="module")
def out(common, bids) -> Path:
    return _once(common / "mt" / "out", lambda folder: neuraxis(bids, folder, "participant", "--set", "mtsat.mtsat.b1_dependence=0"))


def image(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_output_has_its_name_and_no_other_file_is_there(out):
    expected = set()
    for suffix in ("MTS", "MTR"):
        triple = suffix == "MTS"
        stem, picture = f"sub-01/anat/sub-01_space-{suffix}_", f"sub-01/figures/sub-01_{suffix}_mt_"
        tables = [*TABLES, *(["label-SC_desc-mtt1wshifts_morph"] if triple else [])]
        images = [*IMAGES, *(["MTsat", "T1map"] if triple else [])]
        over = [*OVER, *(["t1wonmt", "t1wonmt_before", "b1", "mtsat", "mtt1"] if triple else [])]
        expected |= {f"{stem}{name}{end}" for name in images for end in (".nii.gz", ".json")}
        expected |= {f"{stem}{name}{end}" for name in LABELS for end in (".nii.gz", ".json", ".tsv")}
        expected |= {f"{stem}{name}{end}" for name in tables for end in (".tsv", ".json")}
        expected |= {f"{picture}{name}{end}" for name in over for end in (".png", "_over.png")}
        expected |= {f"{picture}{name}.png" for name in ["mtoffshifts", *(["t1wshifts"] if triple else [])]}
        expected.add(f"logs/sub-01_{suffix}_mt.json")
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {name for name in found if "_MTS" in name or "_MTR" in name or "space-MT" in name} == expected
    assert not {name for name in found if "mt-o" in name or "flip-" in name}


def test_the_results_are_valid_bids(out, tmp_path):
    copy = tmp_path / "neuraxis"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns(".made"))
    done = subprocess.run([Path(sys.executable).with_name("bids-validator-deno"), "--format", "json", copy], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    assert done.returncode == 0 and not issues, issues[:5]


@pytest.mark.parametrize(
    ("suffix", "name", "unit", "scale"),
    [("MTR", "MTRmap", "percent", 1), ("MTS", "MTRmap", "percent", 1), ("MTS", "MTsat", "percent", 1), ("MTS", "T1map", "s", 0.9**-2)],
)
def test_the_maps_tell_the_truth(bids, out, suffix, name, unit, scale):
    """The B1 map says 90 %, and the phantom has 100 %: T1 = 1 / (R1 B1^2) is larger by what that makes."""
    truth, made = (base / f"sub-01/anat/sub-01_space-{suffix}_" for base in (bids / "derivatives/truth", out))
    cord, gray = (image(Path(f"{truth}label-{part}_probseg.nii.gz")) for part in ("SC", "GM"))
    data, true = (image(Path(f"{base}{name}.nii.gz")) for base in (made, truth))
    for part in ((cord > 0.98) & (gray < 0.02), gray > 0.9):
        assert np.median(data[part]) == pytest.approx(scale * np.median(true[part]), rel=0.06)
    assert np.isfinite(data).all() and data.shape == true.shape
    sidecar = json.loads(Path(f"{made}{name}.json").read_text())
    assert sidecar["Units"] == unit and sidecar["MagneticFieldStrength"] == 3 and "mt-on" in sidecar["SpatialReference"]
    assert len(sidecar["Sources"]) == (4 if suffix == "MTS" else 2)


@pytest.mark.parametrize(("suffix", "number", "name"), [("MTS", 2, "mtoffshifts"), ("MTS", 3, "mtt1wshifts"), ("MTR", 2, "mtoffshifts")])
def test_the_shifts_of_the_slices_are_the_phantom_s(bids, out, suffix, number, name):
    truth = rows(bids / f"derivatives/truth/sub-01/anat/sub-01_space-{suffix}_desc-motion_morph.tsv")
    made = rows(out / f"sub-01/anat/sub-01_space-{suffix}_label-SC_desc-{name}_morph.tsv")
    true = np.array([(float(r["shift_left"]), float(r["shift_front"])) for r in truth if r["image"] == str(number)])
    found = np.array([(float(r["shift_left"]), float(r["shift_front"])) for r in made])
    assert np.abs(true).max() == pytest.approx(1, abs=1e-3) and np.sqrt(((found + true) ** 2).mean()) < 0.1
    assert [int(r["slice"]) for r in made] == list(range(12))


def test_cord_and_levels_are_the_phantom_s(bids, out):
    for suffix in ("MTS", "MTR"):
        truth, made = (base / f"sub-01/anat/sub-01_space-{suffix}_" for base in (bids / "derivatives/truth", out))
        mask, true = (image(Path(f"{base}label-SC_mask.nii.gz")) > 0 for base in (made, truth))
        assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.9
        levels, known = image(Path(f"{made}seg-vertebrae_dseg.nii.gz")), image(Path(f"{truth}desc-levels_dseg.nii.gz"))
        both = (levels > 0) & (known > 0)
        assert both.sum() > 0.7 * (known > 0).sum() and (np.abs(levels - known)[both] <= 1).all()


def test_the_page_shows_pairs_in_turn_maps_and_shifts(out):
    page = (out / "sub-01.html").read_text()
    assert page.count('<figure class="flicker">') == 6 and "after its slices were moved" in page and "@keyframes turn" in page
    assert "in white matter" in page and "Shift to the left" not in page  # that is in the picture
    record = json.loads((out / "logs/sub-01_MTS_mt.json").read_text())
    steps = {step["family"]: step["status"] for step in record["steps"]}
    assert {steps[name] for name in ("mt_alignment", "t1w_on_mt", "b1", "mtr", "mtsat")} == {"computed"}
    assert "doi:10.1002/mrm.21732" in (out / "references.txt").read_text()


def test_nothing_is_computed_twice(bids, out):
    done = neuraxis(bids, out, "participant", "--skip-bids-validation", "--set", "mtsat.mtsat.b1_dependence=0")
    assert done.stderr.count("nothing is computed") == 3


# what is bad, or not there


@pytest.fixture
def one(bids, tmp_path) -> Path:
    """The three images of MTsat, the cord drawn by hand."""
    anat, labels = tmp_path / "bids/sub-01/anat", tmp_path / "bids/derivatives/labels/sub-01/anat"
    for folder in (anat, labels):
        folder.mkdir(parents=True)
    shutil.copy(bids / "dataset_description.json", tmp_path / "bids")
    for path in (bids / "sub-01/anat").glob("*_MTS.*"):
        shutil.copy(path, anat)
    truth = bids / "derivatives/truth/sub-01/anat/sub-01_space-MTS_label-SC_mask.nii.gz"
    shutil.copy(truth, labels / "sub-01_flip-1_mt-on_MTS_seg-manual.nii.gz")
    return tmp_path / "bids"


def run(bids: Path, *words: object, check: int | None = 0):
    done = neuraxis(bids, bids.parent / "out", "participant", "--skip-bids-validation", *words, check=check)
    assert "Traceback" not in done.stderr
    return done


def change(bids: Path, name: str, **fields: object) -> None:
    path = bids / f"sub-01/anat/sub-01_{name}.json"
    side = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in side.items() if value is not None}))


def record(bids: Path) -> dict:
    return json.loads((bids.parent / "out/logs/sub-01_MTS_mt.json").read_text())


def test_without_a_repetition_time_there_is_mtr_and_a_sentence(one):
    change(one, "flip-2_mt-off_MTS", RepetitionTime=None, RepetitionTimeExcitation=None)
    done = run(one, "--outputs", "mtr")
    assert "flip-2_mt-off_MTS.nii.gz has no RepetitionTime" in done.stderr and record(one)["status"] == "ok"
    assert {path.name for path in (one.parent / "out/sub-01/anat").glob("*map.nii.gz")} == {"sub-01_space-MTS_MTRmap.nii.gz"}
    steps = {step["family"]: step["status"] for step in record(one)["steps"]}
    assert steps["cord_segmentation"] == "given" and steps["mtr"] == "computed"
    done = run(one, "--outputs", "mtsat", check=66)
    assert "mtsat was asked for and cannot be made" in done.stderr and "flip-2_mt-off_MTS.nii.gz has no RepetitionTime" in done.stderr


def test_images_on_other_grids_are_one_sentence(one):
    path = one / "sub-01/anat/sub-01_flip-1_mt-off_MTS.nii.gz"
    seen = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(seen.dataobj)[..., :-2], seen.affine), path)
    done = run(one, check=65)
    assert "flip-1_mt-off_MTS.nii.gz is 76 x 76 x 10 voxels" in done.stderr


def test_exchanged_images_are_told(one):
    on, off = (one / f"sub-01/anat/sub-01_flip-1_mt-{state}_MTS.nii.gz" for state in ("on", "off"))
    content = on.read_bytes()
    on.write_bytes(off.read_bytes())
    off.write_bytes(content)
    run(one, "--outputs", "mtr")
    assert any("are the two exchanged?" in text for text in record(one)["warnings"])


def test_images_that_differ_in_more_than_saturation_are_a_warning(one):
    change(one, "flip-1_mt-off_MTS", FlipAngle=5)
    run(one, "--outputs", "mtr")
    assert any("flip-1_mt-off_MTS.nii.gz differ in FlipAngle," in text for text in record(one)["warnings"])


def test_without_an_mt_off_image_it_is_an_image_of_anatomy_and_mtr_cannot_be_asked_for(one):
    for path in (one / "sub-01/anat").glob("*mt-off*"):
        path.unlink()
    assert "sub-01_flip-1_mt-on_MTS_cord" in run(one, "--dry-run").stdout
    assert "has no MT-off image beside it" in run(one, "--outputs", "mtr", "--dry-run", check=66).stderr


@pytest.mark.parametrize(("shift", "said"), [(500, "the B1 map covers 0 % of the cord"), (None, "no factor of the nominal flip angle")])
def test_a_b1_map_of_another_place_or_unit_is_one_sentence(one, bids, shift, said):
    seen = nibabel.load(bids / "sub-01/fmap/sub-01_TB1map.nii.gz")
    affine = seen.affine.copy()
    affine[0, 3] += shift or 0
    (one / "sub-01/fmap").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.asarray(seen.dataobj) / (100 if shift else 1), affine), one / "sub-01/fmap/sub-01_TB1map.nii.gz")
    done = run(one, "--outputs", "mtr", "mtsat", check=1 if shift else 0)
    assert said in done.stderr and record(one)["status"] == ("partial" if shift else "ok")
    made = one.parent / "out/sub-01/anat"
    assert (made / "sub-01_space-MTS_MTRmap.nii.gz").exists()  # it needs no B1
    assert (made / "sub-01_space-MTS_MTsat.nii.gz").exists() and record(one)["files"]["mtsat"]
    if shift:  # the step of the map failed; what can do without it says so
        assert "made without b1, because b1 failed" in record(one)["warnings"]
    else:
        assert any("not corrected for B1: the B1 map is left out" in text and said in text for text in record(one)["warnings"])
        assert said in next(step["reason"] for step in record(one)["steps"] if step["family"] == "b1")


def test_no_ratio_is_made_of_the_t1_weighted_image(one):
    for path in (one / "sub-01/anat").glob("*flip-1_mt-off*"):
        path.unlink()
    done = run(one, check=66)
    assert "The MT-off image is missing" in done.stderr and "flip-2_mt-off_MTS.nii.gz has another flip-" in done.stderr
    assert not list((one.parent / "out").rglob("*MTRmap*"))


def test_old_names_without_sidecars_give_mtr(one):
    old = {"flip-1_mt-on": "MTon", "flip-1_mt-off": "MToff", "flip-2_mt-off": "T1w"}
    for path in [*(one / "sub-01/anat").iterdir(), *(one / "derivatives/labels/sub-01/anat").iterdir()]:
        now, label = next(pair for pair in old.items() if pair[0] in path.name)
        path.rename(path.with_name(path.name.replace(now, f"acq-{label}")))
    for label in old.values():
        change(one, f"acq-{label}_MTS", RepetitionTime=None, RepetitionTimeExcitation=None, MTState=None)
    run(one, "--outputs", "mtr")
    assert (one.parent / "out/sub-01/anat/sub-01_space-MTS_MTRmap.nii.gz").exists()
    assert "has no RepetitionTime" in run(one, "--outputs", "mtsat", check=66).stderr


def test_images_that_are_moved_are_kept_when_they_are_asked_for(one):
    run(one, "--outputs", "mt_off_aligned", "t1w_on_mt", "--mt-alignment", "mt_off_as_it_is")
    made = one.parent / "out/sub-01/anat"
    off = image(made / "sub-01_space-MTS_desc-mtoff_MTS.nii.gz")
    assert np.array_equal(off, image(one / "sub-01/anat/sub-01_flip-1_mt-off_MTS.nii.gz"))
    assert (made / "sub-01_space-MTS_desc-mtt1w_MTS.nii.gz").exists()
    done = subprocess.run(
        [Path(sys.executable).with_name("bids-validator-deno"), "--format", "json", one.parent / "out"], capture_output=True, text=True
    )
    assert not [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
