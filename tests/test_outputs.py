"""The golden list: every file of a run by name; the results pass the BIDS validator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from neuraxis.bids.derivatives import UnitStore, write_json
from neuraxis.pipelines import BRAIN_ANAT, CORD_ANAT, CORD_MT, QSM, SPIN_ECHO
from neuraxis.summary import IGNORED, description
from neuraxis.volume import Grid

DATASET = """.bidsignore README.md dataset_description.json group.html group_qsm.json group_qsm.tsv methods.md references.bib references.txt run.toml
logs/group.json logs/status.tsv""".split()
UNIT = """anat/{u}_Chimap anat/{u}_R2starmap anat/{u}_S0map anat/{u}_T2starmap anat/{u}_desc-brain_mask anat/{u}_desc-local_mask
anat/{u}_echo-1_part-phase_desc-unwrapped_MEGRE anat/{u}_echo-2_part-phase_desc-unwrapped_MEGRE
anat/{u}_echo-3_part-phase_desc-unwrapped_MEGRE anat/{u}_echo-4_part-phase_desc-unwrapped_MEGRE
anat/{u}_desc-paramagnetic_Chimap anat/{u}_desc-diamagnetic_Chimap anat/{u}_desc-swi_T2starw anat/{u}_desc-mip_T2starw
anat/{u}_desc-trueswi_T2starw anat/{u}_desc-smwipara_T2starw anat/{u}_desc-smwidia_T2starw
fmap/{u}_desc-noise_fieldmap
fmap/{u}_desc-local_fieldmap fmap/{u}_desc-local_magnitude fmap/{u}_desc-total_fieldmap fmap/{u}_desc-total_magnitude""".split()
FIGURES = """homogeneousmagnitude chi chidia chipara swi swimip trueswi smwidia smwipara combinedmagnitude fieldmask fieldnoise
localfield localmask mask phaseoffset phasequality r2star s0 t2star totalfield unwrapped""".split()


def golden() -> set[str]:
    files = set(DATASET)
    for sub in ("sub-01", "sub-02"):
        files |= {f"{sub}.html", f"logs/{sub}_MEGRE.json"}
        files |= {f"{sub}/{name.format(u=sub)}{end}" for name in UNIT for end in (".nii.gz", ".json")}
        files |= {f"{sub}/figures/{sub}_MEGRE_{name}.png" for name in FIGURES}
    return files


def test_every_output_has_its_name_and_no_other_file_is_there(small_out):
    found = {str(path.relative_to(small_out)) for path in small_out.rglob("*") if path.is_file()} - {".made"}
    assert found == golden()


def test_the_results_are_valid_bids(small_out, tmp_path):
    copy = tmp_path / "neuraxis"
    shutil.copytree(small_out, copy, ignore=shutil.ignore_patterns(".made"))
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", copy], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    assert done.returncode == 0 and not issues, issues[:5]


SOURCES = [
    *((CORD_ANAT, suffix, {"space": suffix}) for suffix in ("T2w", "T1w", "T2starw", "MTR", "MTS", "UNIT1", "MEGRE")),
    *((CORD_MT, suffix, {"space": suffix}) for suffix in ("MTR", "MTS")),
    *((QSM, suffix, {}) for suffix in ("MEGRE", "T2starw")),
    (QSM, "MPM", {"flip": "1", "mt": "off"}),
    (BRAIN_ANAT, "T1w", {"space": "T1w"}),
    (SPIN_ECHO, "MESE", {}),
]
"""Pipelines, and what they may be given."""


@pytest.mark.parametrize(("pipeline", "suffix", "own"), SOURCES, ids=lambda one: getattr(one, "name", one if isinstance(one, str) else ""))
def test_every_name_is_legal_or_ignored_whatever_the_entities_of_the_source(pipeline, suffix, own, tmp_path):
    """BIDS knows some entities (mt, flip, inv, dir) for raw images alone."""
    extra = [{}] + [{name: "1"} for name in ("acq", "ce", "rec", "dir", "run", "flip", "inv", "chunk")]
    extra += [{"mt": "on"}, {"ses": "a", "acq": "x", "flip": "2", "mt": "off", "run": "1"}]
    made = [name for step in pipeline.steps for name in step.makes]
    for one in extra:
        store = UnitStore(
            tmp_path, tmp_path, {"sub": "01", **own, **one}, "", 3.0, (0.01,), ("1",), suffix, "", (), asked=frozenset(made)
        )
        for path in (path for name in made for path in store.paths(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    write_json(tmp_path / "dataset_description.json", description(tmp_path, tmp_path))
    (tmp_path / ".bidsignore").write_text("\n".join(IGNORED))
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", "--ignoreNiftiHeaders", tmp_path], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    content = ("EMPTY_FILE", "SIDECAR_KEY_REQUIRED", "FIELDMAP_WITHOUT_MAGNITUDE_FILE")  # not of the names
    wrong = {f"{i['location'].rsplit('/', 1)[-1]} {i['code']}" for i in issues if i["code"] not in content}
    assert not wrong, sorted(wrong)


@pytest.mark.parametrize(
    ("name", "low", "high", "unit"),
    [
        ("anat/sub-01_Chimap", -5, 5, "ppm"),
        ("anat/sub-01_R2starmap", 0, 1000, "1/s"),
        ("anat/sub-01_T2starmap", 0, 20, "s"),
        ("fmap/sub-01_desc-local_fieldmap", -300, 300, "Hz"),
    ],
)
def test_maps_have_unit_grid_and_range(small_out, small_bids, name, low, high, unit):
    image = nibabel.load(small_out / "sub-01" / f"{name}.nii.gz")
    raw = nibabel.load(small_bids / "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz")
    data, sidecar = np.asarray(image.dataobj), json.loads((small_out / "sub-01" / f"{name}.json").read_text())
    assert (
        Grid.of(image.shape, image.affine).same_as(Grid.of(raw.shape, raw.affine))
        and image.header.get_xyzt_units()[0] == "mm"
    )
    assert np.isfinite(data).all() and data.min() >= low and data.max() <= high and data.any()
    assert (
        sidecar["Units"] == unit
        and sidecar["Neuraxis"]["Key"]
        and sidecar["Sources"][0].startswith("bids:raw:sub-01/anat/")
    )


def test_the_maps_tell_the_truth(small_out, small_bids):
    """Deep nuclei against the phantom's truth, at 4 mm: sign and scale, no more."""
    truth_dir = small_bids / "derivatives/truth/sub-01/anat"
    chi = np.asarray(nibabel.load(small_out / "sub-01/anat/sub-01_Chimap.nii.gz").dataobj)
    truth = np.asarray(nibabel.load(truth_dir / "sub-01_Chimap.nii.gz").dataobj)
    labels = np.rint(np.asarray(nibabel.load(truth_dir / "sub-01_dseg.nii.gz").dataobj))
    inside = (chi != 0) & (labels >= 1) & (labels <= 9)
    assert np.corrcoef(chi[inside], truth[inside])[0, 1] > 0.6
    nuclei = [n for n in range(1, 10) if (inside & (labels == n)).sum() > 5]
    slope = np.polyfit(
        [truth[inside & (labels == n)].mean() for n in nuclei], [chi[inside & (labels == n)].mean() for n in nuclei], 1
    )[0]
    assert 0.5 < slope < 1.3
    r2star = np.asarray(nibabel.load(small_out / "sub-01/anat/sub-01_R2starmap.nii.gz").dataobj)
    true_r2star = np.asarray(nibabel.load(truth_dir / "sub-01_R2starmap.nii.gz").dataobj)
    assert abs(np.median(r2star[inside & (labels == 8)] / true_r2star[inside & (labels == 8)]) - 1) < 0.1


def test_run_toml_references_and_status_tell_what_was_done(small_out):
    import tomllib

    run = tomllib.loads((small_out / "run.toml").read_text())
    record = json.loads((small_out / "logs/sub-01_MEGRE.json").read_text())
    for step in record["steps"]:
        if step["family"] in run["knobs"] and step["family"] not in ("separation", "regions"):  # the data choose the method
            assert step["method"].split(".")[-1] in run["knobs"][step["family"]]
    text, bib = (small_out / "references.txt").read_text(), (small_out / "references.bib").read_text()
    for step in record["steps"]:
        for doi in step["dois"] if step["status"] == "computed" else []:
            assert doi in text and doi in bib
    status = (small_out / "logs/status.tsv").read_text().splitlines()
    assert [line.split("\t")[:3] for line in status[1:]] == [["sub-01_MEGRE", "ok", "0"], ["sub-02_MEGRE", "ok", "0"]]


def test_the_group_table_has_a_row_per_unit_and_a_dictionary_for_every_column(small_out):
    lines = [line.split("\t") for line in (small_out / "group_qsm.tsv").read_text().splitlines()]
    dictionary = json.loads((small_out / "group_qsm.json").read_text())
    assert len(lines) == 3 and set(lines[0]) <= set(dictionary) | {"participant_id"}
    assert all(dictionary[name]["Description"] for name in lines[0] if name in dictionary)
