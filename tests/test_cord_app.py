"""The real command on data sets of the cord: every file by name, the truth, what is given by hand, and what is bad."""

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
from conftest import neuraxis

DATASET = """.bidsignore README.md dataset_description.json group.html methods.md references.bib references.txt run.toml
logs/group.json logs/status.tsv
group_compressionrisk.json group_compressionrisk.tsv group_normative.json group_normative.tsv group_shapelevels.json
group_shapelevels.tsv group_structurelevels.json group_structurelevels.tsv""".split()
IMAGES = "label-SC_probseg label-SC_mask label-canal_probseg label-GM_probseg label-WM_probseg".split()
LABELS = "desc-discs_dseg desc-pmj_dseg seg-vertebrae_dseg seg-spinal_dseg".split()
TABLES = ["label-SC_centerline"] + [
    f"label-SC_desc-{name}_morph"
    for name in "levels slices shape pam50 normative structures structurelevels compressionrisk".split()
]
SHEETS = "cord canal graymatter levels spinallevels".split()
CURVES = "shape structures normative".split()


def golden() -> set[str]:
    files = set(DATASET)
    for sub in ("sub-01", "sub-02"):
        files.add(f"{sub}.html")
        for contrast in ("T2w", "T2starw"):
            stem = f"{sub}/anat/{sub}_space-{contrast}_"
            files.add(f"logs/{sub}_{contrast}_cord.json")
            files |= {f"{stem}{name}{end}" for name in IMAGES for end in (".nii.gz", ".json")}
            files |= {f"{stem}{name}{end}" for name in LABELS for end in (".nii.gz", ".json", ".tsv")}
            files |= {f"{stem}{name}{end}" for name in TABLES for end in (".tsv", ".json")}
            picture = f"{sub}/figures/{sub}_{contrast}_cord_"
            files |= {f"{picture}{name}{end}" for name in SHEETS for end in (".png", "_over.png")}
            files |= {f"{picture}{name}.png" for name in CURVES}
    return files


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def image(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def test_every_output_has_its_name_and_no_other_file_is_there(neck_out):
    found = {str(path.relative_to(neck_out)) for path in neck_out.rglob("*") if path.is_file()} - {".made"}
    assert found == golden()


def test_the_results_are_valid_bids(neck_out, tmp_path):
    copy = tmp_path / "neuraxis"
    shutil.copytree(neck_out, copy, ignore=shutil.ignore_patterns(".made"))
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", copy], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    assert done.returncode == 0 and not issues, issues[:5]


@pytest.mark.parametrize("sub", ["sub-01", "sub-02"])
@pytest.mark.parametrize("contrast", ["T2w", "T2starw"])
def test_the_cord_is_the_phantom_s(neck_bids, neck_out, sub, contrast):
    truth = neck_bids / "derivatives/truth" / sub / "anat" / f"{sub}_space-{contrast}_"
    made = neck_out / sub / "anat" / f"{sub}_space-{contrast}_"
    mask, true = (image(Path(f"{base}label-SC_mask.nii.gz")) > 0 for base in (made, truth))
    axis = 2 if contrast == "T2starw" else 1  # of the upright frame, in the image's own order
    both = mask.any(axis=tuple({0, 1, 2} - {axis})) & true.any(axis=tuple({0, 1, 2} - {axis}))
    mask, true = (np.compress(both, one, axis=axis) for one in (mask, true))
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.9
    assert both.mean() > 0.8


@pytest.mark.parametrize("sub", ["sub-01", "sub-02"])
@pytest.mark.parametrize("contrast", ["T2w", "T2starw"])
def test_levels_and_areas_are_the_phantom_s(neck_bids, neck_out, sub, contrast):
    """The T2*w has no discs in view: its levels come from the T2w of the session."""
    truth = {
        int(row["slice"]): row
        for row in rows(neck_bids / "derivatives/truth" / sub / "anat" / f"{sub}_space-{contrast}_desc-shape_morph.tsv")
    }
    made = rows(neck_out / sub / "anat" / f"{sub}_space-{contrast}_label-SC_desc-slices_morph.tsv")
    pairs = [(row, truth[int(row["slice"])]) for row in made if int(row["slice"]) in truth]
    levels = [(float(a["level"]), float(b["level"])) for a, b in pairs if "n/a" not in (a["level"], b["level"])]
    assert len(levels) > 0.7 * len(made)
    assert np.mean([abs(a - b) <= 1 for a, b in levels]) == 1 and np.mean([a == b for a, b in levels]) > 0.8
    trusted = [(float(a["area"]), float(b["area"])) for a, b in pairs if a["trusted"] == "1"]
    assert abs(np.mean([a / b for a, b in trusted]) - 1) < 0.05


def test_tables_say_who_and_what(neck_out):
    for path in neck_out.rglob("*_morph.tsv"):
        head = path.read_text().splitlines()[0].split("\t")
        dictionary = json.loads(path.with_suffix(".json").read_text())
        assert head[:3] == ["participant_id", "session_id", "image"]
        assert all(dictionary[name]["Description"] for name in head)
        assert dictionary["Neuraxis"]["Key"] and dictionary["Sources"][0].startswith("bids:raw:sub-")
    area = json.loads((neck_out / "sub-01/anat/sub-01_space-T2w_label-SC_desc-shape_morph.json").read_text())[
        "area_mean"
    ]
    assert area["Units"] == "mm2"


def test_the_group_s_tables_hold_every_participant(neck_out):
    table = rows(neck_out / "group_shapelevels.tsv")
    assert {row["participant_id"] for row in table} == {"sub-01", "sub-02"}
    assert {row["image"] for row in table} == {f"{s}_{c}" for s in ("sub-01", "sub-02") for c in ("T2w", "T2starw")}
    assert set(table[0]) <= set(json.loads((neck_out / "group_shapelevels.json").read_text()))
    page = (neck_out / "group.html").read_text()
    assert "sub-02_T2w" in page and "<svg" in page


def test_labels_have_their_names_and_the_space_its_reference(neck_out):
    stem = neck_out / "sub-01/anat/sub-01_space-T2w_"
    names = {int(row["index"]): row["name"] for row in rows(Path(f"{stem}seg-vertebrae_dseg.tsv"))}
    assert (
        names[3] == "C3"
        and names[8] == "T1"
        and set(names) == set(np.unique(image(Path(f"{stem}seg-vertebrae_dseg.nii.gz")))) - {0}
    )
    assert {row["name"] for row in rows(Path(f"{stem}desc-discs_dseg.tsv"))} >= {"C2/C3", "C5/C6"}
    sidecar = json.loads(Path(f"{stem}label-SC_mask.json").read_text())
    assert sidecar["SpatialReference"] == "bids:raw:sub-01/anat/sub-01_T2w.nii.gz"


def test_nothing_is_computed_twice(neck_bids, neck_out, tmp_path):
    shutil.copytree(neck_out, tmp_path / "out")  # others look at the files of neck_out meanwhile
    done = neuraxis(neck_bids, tmp_path / "out", "participant", "--participant-label", "01", "--skip-bids-validation")
    assert done.stderr.count("nothing is computed") == 2


@pytest.fixture
def one(neck_bids, tmp_path) -> Path:
    """A data set of one axial image."""
    (tmp_path / "bids/sub-01/anat").mkdir(parents=True)
    shutil.copy(neck_bids / "dataset_description.json", tmp_path / "bids")
    for end in (".nii.gz", ".json"):
        shutil.copy(neck_bids / f"sub-01/anat/sub-01_T2starw{end}", tmp_path / "bids/sub-01/anat")
    return tmp_path / "bids"


def run(bids: Path, *words: object, check: int | None = 0):
    return neuraxis(bids, bids.parent / "out", "participant", "--skip-bids-validation", *words, check=check)


def draw(bids: Path, ending: str, volume: nibabel.Nifti1Image) -> Path:
    path = bids / "derivatives/labels/sub-01/anat" / f"sub-01_T2starw_{ending}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(volume, path)
    return path


def test_a_hand_drawn_mask_takes_the_place_of_the_step_whatever_its_axes(one, neck_bids):
    truth = nibabel.load(neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz")
    draw(one, "seg-manual", truth.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "S", "R"))))
    run(one, "--outputs", "cord_mask", "shape_levels")
    mask = image(one.parent / "out/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz")
    assert np.array_equal(mask > 0, np.asarray(truth.dataobj) > 0)
    record = json.loads((one.parent / "out/logs/sub-01_T2starw_cord.json").read_text())
    assert {s["family"]: s["status"] for s in record["steps"]}["cord_segmentation"] == "given"
    assert any("seg-manual" in note for note in record["notes"])
    drawn = next(s for s in record["steps"] if s["family"] == "cord_segmentation")["figures"]
    assert drawn and all((one.parent / "out" / figure[part]).stat().st_size > 1000 for figure in drawn for part in ("file", "over"))
    run(one, "--outputs", "cord_mask", "shape_levels")  # the second page shows it too
    record = json.loads((one.parent / "out/logs/sub-01_T2starw_cord.json").read_text())
    assert next(s for s in record["steps"] if s["family"] == "cord_segmentation")["figures"] == drawn


def test_a_mask_of_another_grid_is_one_sentence(one):
    path = draw(one, "seg-manual", nibabel.Nifti1Image(np.ones((20, 20, 5), np.uint8), np.eye(4)))
    done = run(one, check=65)
    assert (
        path.name in done.stderr
        and "does not lie where the image does" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.slow
def test_a_mask_whose_header_lost_digits_is_taken_with_a_note_and_one_that_lies_elsewhere_is_not(one, neck_bids):
    truth = nibabel.load(neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz")
    voxels = np.asarray(truth.dataobj)
    smallest = min(nibabel.affines.voxel_sizes(truth.affine))
    moved = truth.affine.copy()
    moved[:3, 3] += (0.1 * smallest, -0.15 * smallest, 0)
    path = draw(one, "seg-manual", nibabel.Nifti1Image(voxels, moved))
    for _ in range(2):  # said once, the second time from the record
        run(one, "--outputs", "cord_mask", "shape_levels")
        record = json.loads((one.parent / "out/logs/sub-01_T2starw_cord.json").read_text())
        assert [path.name in note for note in record["notes"]].count(True) == 2
        assert [f"{0.15 * smallest:.2g} mm off" in note for note in record["notes"]].count(True) == 1
    mask = nibabel.load(one.parent / "out/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj) > 0, voxels > 0)
    assert np.allclose(mask.affine, nibabel.load(one / "sub-01/anat/sub-01_T2starw.nii.gz").affine, atol=1e-4)
    moved[:3, 3] += (0.3 * smallest, 0, 0)
    draw(one, "seg-manual", nibabel.Nifti1Image(voxels, moved))
    assert "does not lie where the image does" in run(one, "--outputs", "cord_mask", check=65).stderr


def test_an_empty_mask_is_one_sentence(one, neck_bids):
    grid = nibabel.load(neck_bids / "sub-01/anat/sub-01_T2starw.nii.gz")
    draw(one, "seg-manual", nibabel.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine))
    done = run(one, check=65)
    assert "marks no cord" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_lesions_and_their_shares_of_an_atlas_that_is_given(one, neck_bids):
    truth = nibabel.load(neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz")
    cord = np.asarray(truth.dataobj) > 0
    x, y = np.nonzero(cord[:, :, cord.shape[2] // 2])
    lesion = np.zeros(cord.shape, np.uint8)
    lesion[x[x > x.mean()], y[x > x.mean()], cord.shape[2] // 2] = 1
    atlas = np.zeros((*cord.shape, 2), np.float32)
    atlas[..., 0], atlas[..., 1] = cord * 0.25, cord * 0.75
    draw(one, "seg-manual", truth)
    draw(one, "lesion-manual", nibabel.Nifti1Image(lesion, truth.affine))
    tracts = draw(one, "label-tracts_probseg", nibabel.Nifti1Image(atlas, truth.affine))
    run(one, "--outputs", "lesions", "lesion_tracts")
    with open(one.parent / "out/sub-01/anat/sub-01_space-T2starw_label-SC_desc-lesiontracts_morph.tsv") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["lesion"] == "1" and row["level"] == "0"]
    assert [float(row["share"]) for row in rows] == pytest.approx([25, 75], rel=1e-5)
    nibabel.save(nibabel.Nifti1Image(100 * atlas, truth.affine), tracts)
    done = run(one, "--outputs", "lesions", "lesion_tracts", check=None)
    assert "from 0 to 1" in done.stderr and "Traceback" not in done.stderr and done.returncode


@pytest.mark.slow
def test_the_image_in_the_tracts_of_an_atlas_that_is_given(one, neck_bids):
    """Sectors of the cord as white matter, no fluid: means by hand, the empty regions said, page and picture."""
    truth = nibabel.load(neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz")
    cord = np.asarray(truth.dataobj) > 0
    x, y = np.indices(cord.shape)[:2]
    atlas = np.zeros((*cord.shape, 37), np.float32)
    for z in np.flatnonzero(cord.any(axis=(0, 1))):
        inside = cord[:, :, z]
        angle = np.arctan2(y[:, :, z] - y[:, :, z][inside].mean(), x[:, :, z] - x[:, :, z][inside].mean()) / (2 * np.pi) % 1
        for number in range(6):
            atlas[:, :, z, number] = inside & (np.floor(6 * angle) == number)
    draw(one, "seg-manual", truth)
    draw(one, "label-tracts_probseg", nibabel.Nifti1Image(atlas, truth.affine))
    run(one, "--outputs", "tract_metrics", "tract_metrics_slices", "--set", "tract_metrics.tract_metrics.ranges=3:4")
    out = one.parent / "out/sub-01"
    stem = "sub-01_space-T2starw_label-SC_desc-"
    tables = {f"{stem}{name}_morph{end}" for name in ("tractmetrics", "tractslices") for end in (".tsv", ".json")}
    assert tables == {path.name for path in (out / "anat").glob("*desc-tract*")}
    made = {(row["group"], int(row["region"])): row for row in rows(out / "anat" / f"{stem}tractmetrics_morph.tsv") if row["group"] == "cord"}
    seen = image(one / "sub-01/anat/sub-01_T2starw.nii.gz").astype(float)
    for number in range(6):
        row = made["cord", number]
        assert row["metric"] == "image" and float(row["wa"]) == pytest.approx(seen[atlas[..., number] > 0].mean(), rel=1e-5)
        assert float(row["ml"]) == pytest.approx(float(row["wa"]), rel=1e-5) and float(row["fraction"]) == 1
    assert made["cord", 36]["why"] == "not in the image" and made["cord", 36]["wa"] == "n/a"
    slices = rows(out / "anat" / f"{stem}tractslices_morph.tsv")
    assert {int(row["slice"]) for row in slices} == set(np.flatnonzero(cord.any(axis=(0, 1))))
    page = (one.parent / "out/sub-01.html").read_text()
    assert "dorsal columns" in page and (out / "figures/sub-01_T2starw_cord_tractmetrics.png").stat().st_size > 5000
    neuraxis(one, one.parent / "out", "group", "--skip-bids-validation")
    assert len(rows(one.parent / "out/group_tractmetrics.tsv")) == len(rows(out / "anat" / f"{stem}tractmetrics_morph.tsv"))


def test_an_image_without_a_cord_is_no_failure_unless_the_user_says_that_there_is_one(one):
    path = one / "sub-01/anat/sub-01_T2starw.nii.gz"
    grid = nibabel.load(path)
    noise = np.random.default_rng(3).normal(500, 60, grid.shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, grid.affine), path)
    side = json.loads(path.with_name("sub-01_T2starw.json").read_text())
    side.pop("BodyPart", None)
    path.with_name("sub-01_T2starw.json").write_text(json.dumps(side))
    record = one.parent / "out/logs/sub-01_T2starw_cord.json"
    done = run(one, "--cord", check=None)
    assert done.returncode not in (0, 2) and "Traceback" not in done.stderr
    assert json.loads(record.read_text())["status"] == "failed"
    assert not list((one.parent / "out/sub-01").glob("anat/*SC*"))


def test_brain_means_that_no_cord_is_looked_for(one):
    done = run(one, "--brain", check=18)
    assert "cord" in done.stderr
    assert "exclude each other" in run(one, "--brain", "--cord", check=64).stderr


def test_a_missing_model_is_named_with_the_command_that_brings_it(one, tmp_path):
    done = neuraxis(
        one, one.parent / "out", "participant", "--skip-bids-validation", "--cord-segmentation", "contrast_agnostic", check=None,
        env={**__import__("os").environ, "NEURAXIS_RESOURCES": str(tmp_path / "none")},
    )  # fmt: skip
    assert done.returncode != 0 and "neuraxis fetch spinalcord" in done.stderr and "Traceback" not in done.stderr


def test_what_is_made_when_asked_has_its_names_and_is_valid_bids(one, neck_bids):
    draw(
        one,
        "seg-manual",
        nibabel.load(neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_label-SC_mask.nii.gz"),
    )
    draw(
        one,
        "label-discs_dlabel",
        nibabel.load(neck_bids / "derivatives/truth/sub-01/anat/sub-01_space-T2starw_desc-discs_dseg.nii.gz"),
    )
    asked = "warp_to_straight warp_from_straight straight_image smooth_image flat_image level_points continuous_levels".split()
    run(one, "--outputs", *asked)
    found = {path.name for path in (one.parent / "out/sub-01/anat").glob("*.nii.gz")}
    names = "from-T2starw_to-straight_mode-image_xfm from-straight_to-T2starw_mode-image_xfm space-T2starw_desc-straight_T2starw"
    names += " space-T2starw_desc-smooth_T2starw space-T2starw_desc-flat_T2starw space-T2starw_desc-bodies_dseg space-T2starw_desc-levels_probseg"
    assert {f"sub-01_{name}.nii.gz" for name in names.split()} <= found
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", one.parent / "out"], capture_output=True, text=True)
    assert not [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]


@pytest.mark.slow
def test_the_decay_over_several_echoes_in_the_cord_and_maps_of_other_hands(tmp_path):
    bids, out = tmp_path / "bids", tmp_path / "out"
    neuraxis("simulate", bids, "--cord", "--small", "--contrasts", "MEGRE")
    asked = (bids, out, "participant", "--cord", "--skip-bids-validation", "--outputs", "r2star", "t2star", "s0")
    neuraxis(*asked)
    made = out / "sub-01/anat/sub-01_space-MEGRE_"
    truth = bids / "derivatives/truth/sub-01/anat/sub-01_space-MEGRE_"
    rate, mask, gray = (image(Path(f"{base}.nii.gz")) for base in (f"{made}R2starmap", f"{truth}label-SC_mask", f"{truth}label-GM_probseg"))
    assert np.median(rate[(mask > 0) & (gray < 0.02)]) == pytest.approx(25, rel=0.08), "white matter: 40 ms, with some fluid at the edge"
    assert np.median(rate[gray > 0.95]) == pytest.approx(22.2, rel=0.05), "grey matter: 45 ms"
    assert json.loads(Path(f"{made}R2starmap.json").read_text())["Units"] == "1/s"
    Path(f"{bids}/sub-01/anat/sub-01_echo-2_part-mag_MEGRE.json").unlink()
    done = neuraxis(*asked[:-4], check=None)  # all results
    assert done.returncode == 0 and "Relaxation in the cord" not in done.stderr and "Traceback" not in done.stderr
    assert "echo-2" in done.stderr or "echo-2" in (out / "logs/sub-01_MEGRE_cord.json").read_text(), "why is told"
