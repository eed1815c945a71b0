"""Spin echoes beside gradient echoes, and the maps that are made when they are asked for; magnitudes or phase alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from conftest import neuraxis

from neuraxis.qmri.spin_echo.epg_dictionary import echo_train

FAST = ("--skip-bids-validation", "--masking", "magnitude_threshold", "--inversion", "tkd", "--background", "vsharp")
SPACING, ECHOES, B1 = 0.012, 8, 0.85
R2 = {8: 14.0, 9: 12.0, 10: 2.0}
"""1/s by label of the phantom (white matter, grey matter, fluid); all else has 16."""


def _image(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def _record(out: Path, unit: str) -> dict:
    return json.loads((out / "logs" / f"{unit}.json").read_text())


def add_spin_echoes(bids: Path, shift: float = 0.0) -> np.ndarray:
    """Writes spin echoes of the first participant beside its gradient echoes; the true R2."""
    truth, anat = bids / "derivatives/truth/sub-01/anat", bids / "sub-01/anat"
    labels = np.rint(_image(truth / "sub-01_dseg.nii.gz"))
    r2 = np.full(labels.shape, 16.0)
    for label, rate in R2.items():
        r2[labels == label] = rate
    affine = nibabel.load(truth / "sub-01_dseg.nii.gz").affine.copy()
    affine[0, 3] += shift
    density = _image(truth / "sub-01_S0map.nii.gz")
    train = echo_train(torch.from_numpy(1 / r2), torch.full(r2.shape, B1 * np.pi, dtype=torch.float64), 1.0, SPACING, ECHOES)
    noise = np.random.default_rng(0)
    for echo in range(ECHOES):
        data = np.abs(density * train[echo].numpy() + noise.normal(0, density.max() / 500, density.shape))
        image = nibabel.Nifti1Image(data.astype(np.float32), affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        place = anat / f"sub-01_echo-{echo + 1}_MESE"
        nibabel.save(image, f"{place}.nii.gz")
        Path(f"{place}.json").write_text(json.dumps({"EchoTime": SPACING * (echo + 1), "MagneticFieldStrength": 3}))
    return r2


@pytest.fixture
def bids(small_bids, tmp_path) -> Path:
    copy = tmp_path / "bids"
    shutil.copytree(small_bids, copy, ignore=shutil.ignore_patterns(".made", "sub-02"))
    (copy / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t45\tF\n")
    return copy


@pytest.mark.slow
def test_spin_echoes_give_r2_and_with_gradient_echoes_r2prime_and_separation(bids, tmp_path):
    r2 = add_spin_echoes(bids)
    out = tmp_path / "neuraxis"
    asked = ("r2prime", "chi_para", "chi_dia", "chi", "t2")
    neuraxis(bids, out, "participant", "group", *FAST[1:], "--outputs", *asked)
    anat = out / "sub-01/anat"
    found, prime, star = (_image(anat / f"sub-01_{name}.nii.gz") for name in ("R2map", "R2primemap", "Chimap"))
    inside = (star != 0) & (found > 0)
    for rate in (12.0, 14.0, 16.0):
        assert np.median(found[inside & (r2 == rate)]) == pytest.approx(rate, rel=0.05)
    assert np.allclose(1 / found[inside], _image(anat / "sub-01_T2map.nii.gz")[inside], rtol=1e-3)
    para, dia = (_image(anat / f"sub-01_desc-{name}magnetic_Chimap.nii.gz") for name in ("para", "dia"))
    assert para.min() >= 0 and dia.max() <= 0 and para.any() and dia.any() and prime.min() >= 0 and prime.any()
    steps = {step["family"]: step for step in _record(out, "sub-01_MEGRE")["steps"]}
    assert steps["separation"]["method"].endswith("chi_sep_medi") and steps["r2prime"]["status"] == "computed"
    assert "10.1002/mrm.25156" in (out / "references.txt").read_text()
    status = [line.split("\t")[:2] for line in (out / "logs/status.tsv").read_text().splitlines()[1:]]
    assert status == [["sub-01_MEGRE", "ok"], ["sub-01_MESE", "ok"]]
    table = [line.split("\t") for line in (out / "group_qsm.tsv").read_text().splitlines()]
    assert len(table) == 3 and "r2_median" in table[0]
    page = (out / "sub-01.html").read_text()
    assert "Dictionary of extended phase graphs" in page and (out / "sub-01/figures/sub-01_MESE_r2.png").exists()
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, "--format", "json", out], capture_output=True, text=True)
    issues = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
    assert done.returncode == 0 and not issues, issues[:5]
    again = neuraxis(bids, out, "participant", *FAST, "--outputs", *asked)
    assert again.stderr.count("everything is there already") == 2


@pytest.mark.slow
def test_without_a_wish_spin_echoes_give_r2_and_nothing_else_changes(bids, tmp_path):
    add_spin_echoes(bids)
    out = tmp_path / "out"
    neuraxis(bids, out, "participant", *FAST, "--set", "spin_echo.epg_dictionary.first_echo=2")
    names = {path.name for path in (out / "sub-01/anat").glob("*.nii.gz")}
    assert {"sub-01_R2map.nii.gz", "sub-01_T2map.nii.gz", "sub-01_Chimap.nii.gz"} <= names
    assert not any(word in name for name in names for word in ("R2prime", "magnetic", "swi", "mip"))


@pytest.mark.slow
def test_spin_echoes_on_another_grid_are_said_to_be(bids, tmp_path):
    add_spin_echoes(bids, shift=3.0)
    out = tmp_path / "out"
    done = neuraxis(bids, out, "participant", *FAST, "--outputs", "r2prime", "chi", check=65)
    assert "r2" in done.stderr and "do not lie on one grid" in done.stderr and "Traceback" not in done.stderr
    assert (out / "sub-01/anat/sub-01_Chimap.nii.gz").exists() and (out / "sub-01/anat/sub-01_R2map.nii.gz").exists()
    neuraxis(bids, out, "participant", *FAST, "--outputs", "chi_para", "--separation", "r2star_qsm")
    assert (out / "sub-01/anat/sub-01_desc-paramagnetic_Chimap.nii.gz").exists()


@pytest.mark.slow
def test_without_spin_echoes_r2prime_is_refused_and_separation_takes_r2star(bids, tmp_path):
    done = neuraxis(bids, tmp_path / "o1", "participant", *FAST, "--outputs", "r2prime", check=66)
    assert "r2prime was asked for and cannot be made: no r2" in done.stderr
    out = tmp_path / "o2"
    neuraxis(bids, out, "participant", *FAST, "--outputs", "chi_para", "chi_dia")
    steps = {step["family"]: step for step in _record(out, "sub-01_MEGRE")["steps"]}
    assert steps["separation"]["method"].endswith("r2star_qsm")


def test_the_projection_lies_where_the_head_lies(small_out):
    anat = small_out / "sub-01/anat"
    swi, slabs = (nibabel.load(anat / f"sub-01_desc-{name}_T2starw.nii.gz") for name in ("swi", "mip"))
    assert slabs.shape == (*swi.shape[:2], swi.shape[2] - 1)  # 10 mm are two slices of 4 mm
    assert np.allclose(slabs.header.get_zooms(), swi.header.get_zooms())
    assert np.allclose(slabs.affine @ [3, 4, 5, 1], swi.affine @ [3, 4, 5.5, 1], atol=1e-4)
    assert np.allclose(slabs.affine, slabs.get_qform(), atol=1e-4)
    a, b = np.asarray(swi.dataobj), np.asarray(slabs.dataobj)
    both = (a[..., :-1] > 0) & (a[..., 1:] > 0)
    assert np.allclose(b[both], np.minimum(a[..., :-1], a[..., 1:])[both])
    assert all((_image(anat / f"sub-01_desc-{name}_T2starw.nii.gz") >= 0).all() for name in ("trueswi", "smwipara", "smwidia"))


@pytest.mark.slow
def test_magnitudes_alone_give_relaxation_and_phase_alone_gives_susceptibility(bids, tmp_path):
    shutil.copytree(bids / "sub-01", bids / "sub-02")
    for path in sorted((bids / "sub-02").rglob("sub-01*")):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    for path in (*(bids / "sub-01/anat").glob("*part-phase*"), *(bids / "sub-02/anat").glob("*part-mag*")):
        path.unlink()
    out = tmp_path / "out"
    neuraxis(bids, out, "participant", "--skip-bids-validation", "--inversion", "tkd", "--background", "vsharp")
    relaxation = {f"{name}map.nii.gz" for name in ("R2star", "T2star", "S0")}
    first, second = ({path.name.split("_")[-1] for path in (out / sub / "anat").glob("*.nii.gz")} for sub in ("sub-01", "sub-02"))
    assert relaxation <= first and "Chimap.nii.gz" not in first
    assert "Chimap.nii.gz" in second and not relaxation & second
    assert "There is no magnitude: what needs it is not made." in _record(out, "sub-02_MEGRE")["notes"]
    for sub, name, lacking in (("01", "swi", "phase"), ("02", "swi", "magnitude"), ("01", "chi", "phase")):
        done = neuraxis(
            bids, tmp_path / "o2", "participant", "--skip-bids-validation", "--participant-label", sub, "--outputs", name, check=66
        )
        assert f"{name} was asked for and cannot be made" in done.stderr and f"no {lacking}" in done.stderr


def test_knobs_of_a_method_that_the_data_choose_are_in_the_recipe():
    from neuraxis.arguments import parse
    from neuraxis.options import to_toml

    text = to_toml(parse(["a", "b", "participant", "--set", "separation.r2star_qsm.baseline=5"]))
    assert "[knobs.separation.r2star_qsm]" in text and "baseline = 5.0" in text and "[knobs.separation.chi_sep_medi]" in text
