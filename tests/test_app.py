"""The command as its users call it: levels, exit codes, plan, resume, given masks, bad input."""

from __future__ import annotations

import json
import os
import shutil

import nibabel
import numpy as np
import pytest
from conftest import ALL, neuraxis

FAST = ("--skip-bids-validation", "--masking", "magnitude_threshold", "--inversion", "tkd", "--background", "vsharp")


@pytest.fixture
def bids(small_bids, tmp_path):
    """A copy that a test may break."""
    copy = tmp_path / "bids"
    shutil.copytree(small_bids, copy)
    return copy


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.nii.gz")}


def record(out, unit="sub-01_MEGRE"):
    return json.loads((out / "logs" / f"{unit}.json").read_text())


def test_usage_errors_have_their_exit_codes(tmp_path, small_bids):
    assert "Neuraxis" in neuraxis("--version").stdout
    assert "--inversion" in neuraxis("--help").stdout
    for words, code, text in (
        ((), 64, "required"),
        ((small_bids, tmp_path / "o", "subject"), 17, "subject"),
        ((small_bids, tmp_path / "o", "participant", "--nothing"), 64, "nothing"),
        ((small_bids, tmp_path / "o", "participant", "--participant-label", "99"), 18, "99"),
        ((small_bids, tmp_path / "o", "participant", "--set", "inversion.rts.nope=1"), 64, "nope"),
        ((small_bids, tmp_path / "o", "participant", "--set", "inversion=1"), 64, "FAMILY"),
        ((small_bids, tmp_path / "o", "participant", "--outputs", "nope"), 64, "nope"),
        ((small_bids, tmp_path / "o", "participant", "--mem", "lots"), 64, "lots"),
        ((tmp_path / "none", tmp_path / "o", "participant"), 66, "no folder"),
        ((small_bids, small_bids, "participant"), 64, "output folder"),
    ):
        done = neuraxis(*words, check=code)
        assert text in done.stderr and "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 3, (
            done.stderr
        )


def test_lists_may_be_given_at_once_or_again():
    from neuraxis.arguments import parse

    options = parse(
        [
            "b",
            "o",
            "participant",
            "--participant-label",
            "01",
            "02",
            "--participant-label",
            "03",
            "-d",
            "x",
            "-d",
            "n=y",
        ]
    )
    assert options.participant_label == ("01", "02", "03") and options.derivatives == ("x", "n=y")


def test_help_does_not_import_torch():
    done = neuraxis("--help", env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "numba", "scipy", "nibabel", "matplotlib", "pandas", "bids"}


def test_the_plan_is_printed_and_nothing_written(small_bids, tmp_path):
    done = neuraxis(small_bids, tmp_path / "out", "participant", "--dry-run")
    assert (
        "sub-01_MEGRE" in done.stdout
        and "will run" in done.stdout
        and "sub-02/anat/sub-02_Chimap.nii.gz" in done.stdout
    )
    assert not (tmp_path / "out").exists()


def test_second_run_computes_nothing_and_says_so(small_bids, small_out, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(small_out, out)
    before = stamps(out)
    done = neuraxis(small_bids, out, "participant", "--skip-bids-validation", "--outputs", *ALL)
    assert stamps(out) == before and done.stderr.count("nothing is computed") == 2
    assert all(step["status"] in ("cached", "skipped") for step in record(out)["steps"])
    assert any(step["figures"] for step in record(out)["steps"])


def test_a_knob_recomputes_only_what_follows(small_bids, small_out, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(small_out, out)
    before = stamps(out)
    method = record(out)["steps"][[s["family"] for s in record(out)["steps"]].index("inversion")]["method"].split(".")[
        -1
    ]
    knob = next(
        k
        for s in record(out)["steps"]
        if s["family"] == "inversion"
        for k in s["knobs"]
        if isinstance(k["value"], float)
    )
    setting = f"inversion.{method}.{knob['name']}={knob['value'] * 1.1}"
    neuraxis(
        small_bids,
        out,
        "participant",
        "--participant-label",
        "sub-01",
        "--skip-bids-validation",
        "--set",
        setting,
        "--outputs",
        *ALL,
    )
    changed = {path.name for path, stamp in stamps(out).items() if stamp != before[path]}
    follows = ("trueswi", "smwipara", "smwidia", "paramagnetic", "diamagnetic")
    assert "sub-01_Chimap.nii.gz" in changed
    assert not {name for name in changed if not any(f"desc-{word}_" in name for word in follows)} - {"sub-01_Chimap.nii.gz"}
    computed = {s["family"] for s in record(out)["steps"] if s["status"] == "computed"}
    assert {"inversion", "reference"} <= computed <= {"inversion", "support", "reference", "separation", "true_swi", "smwi"}


@pytest.mark.slow
def test_the_settings_of_a_run_repeat_it(small_bids, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    label = ("--participant-label", "02")
    neuraxis(small_bids, first, "participant", *label, *FAST, "--set", "inversion.tkd.threshold=0.2")
    neuraxis(small_bids, second, "participant", *label, "--skip-bids-validation", "--config", first / "run.toml")
    assert (first / "run.toml").read_text() == (second / "run.toml").read_text()
    name = "sub-02/anat/sub-02_Chimap.nii.gz"
    assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_mask_corrected_by_hand_replaces_the_step(bids, tmp_path):
    source = nibabel.load(bids / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    mask = np.zeros(source.shape, np.uint8)
    mask[12:30, 12:34, 14:34] = 1
    folder = bids / "derivatives/labels/sub-01/anat"
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(mask, source.affine), folder / "sub-01_desc-brain_mask.nii.gz")
    out = tmp_path / "out"
    neuraxis(bids, out, "participant", "--participant-label", "01", *FAST)
    chi = np.asarray(nibabel.load(out / "sub-01/anat/sub-01_Chimap.nii.gz").dataobj)
    assert chi.any() and not chi[mask == 0].any()
    step = next(s for s in record(out)["steps"] if s["family"] == "masking")
    assert step["status"] == "given" and "Mask, given: " in " ".join(record(out)["notes"])


def test_one_bad_participant_does_not_stop_the_other(bids, tmp_path):
    (bids / "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.json").unlink()
    out = tmp_path / "out"
    done = neuraxis(bids, out, "participant", "group", *FAST, check=66)
    assert "sub-01" in done.stderr and "EchoTime" in done.stderr and "Traceback" not in done.stderr
    assert (out / "sub-02/anat/sub-02_Chimap.nii.gz").exists() and "sub-01" in (out / "group.html").read_text()
    assert [line.split("\t")[1] for line in (out / "logs/status.tsv").read_text().splitlines()[1:]] == ["failed", "ok"]
    assert "EchoTime" in (out / "sub-01.html").read_text()


def spoil(bids, name, change):
    path = bids / f"sub-01/anat/sub-01_{name}_MEGRE.nii.gz"
    image = nibabel.load(path)
    data = change(np.array(image.get_fdata(dtype=np.float32)))
    path.unlink()
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def nan(data):
    data[3, 4, 5] = np.nan
    return data


@pytest.mark.parametrize(
    ("name", "how", "code"),
    [
        ("echo-2_part-mag", truncate, 65),
        (
            "echo-3_part-phase",
            lambda path: (path.unlink(), path.symlink_to("../../.git/annex/objects/aa/bb/x.nii.gz")),
            66,
        ),
        ("echo-2_part-mag", lambda data: data[:, :, :-1], 65),
        ("echo-4_part-phase", nan, 65),
        ("echo-1_part-phase", lambda data: data * 0 + 1.0, 65),
    ],
)
def test_bad_images_give_one_sentence_that_names_the_file(bids, tmp_path, name, how, code):
    path = bids / f"sub-01/anat/sub-01_{name}_MEGRE.nii.gz"
    if code == 66 or how is truncate:
        how(path)
    else:
        spoil(bids, name, how)
    done = neuraxis(bids, tmp_path / "out", "participant", "--participant-label", "01", *FAST, check=code)
    said = [line for line in done.stderr.splitlines() if name in line]
    assert said and "Traceback" not in done.stderr


@pytest.mark.slow
def test_one_echo_makes_what_one_echo_can(bids, tmp_path):
    for path in (bids / "sub-01/anat").glob("*_echo-[234]_*"):
        path.unlink()
    out = tmp_path / "out"
    neuraxis(bids, out, "participant", "--participant-label", "01", *FAST)
    assert (out / "sub-01/anat/sub-01_Chimap.nii.gz").exists() and not (
        out / "sub-01/anat/sub-01_R2starmap.nii.gz"
    ).exists()
    skipped = {s["family"]: s["reason"] for s in record(out)["steps"] if s["status"] == "skipped"}
    assert "echo_spacing" in skipped["relaxometry"]
    assert "echo_spacing" in (out / "sub-01.html").read_text()
    done = neuraxis(
        bids, tmp_path / "o2", "participant", "--participant-label", "01", *FAST, "--outputs", "r2star", check=66
    )
    assert "r2star" in done.stderr


@pytest.mark.slow
def test_phase_alone_and_magnitude_alone_make_what_they_can(bids, tmp_path):
    for path in (*(bids / "sub-01/anat").glob("*part-mag*"), *(bids / "sub-02/anat").glob("*part-phase*")):
        path.unlink()
    out = tmp_path / "out"
    neuraxis(bids, out, "participant", "--skip-bids-validation", "--inversion", "tkd")
    assert (out / "sub-01/anat/sub-01_Chimap.nii.gz").exists() and not (
        out / "sub-01/anat/sub-01_R2starmap.nii.gz"
    ).exists()
    assert (out / "sub-02/anat/sub-02_R2starmap.nii.gz").exists() and not (
        out / "sub-02/anat/sub-02_Chimap.nii.gz"
    ).exists()
    chosen = [
        next(s["method"] for s in record(out, u)["steps"] if s["family"] == "masking")
        for u in ("sub-01_MEGRE", "sub-02_MEGRE")
    ]
    assert chosen == ["qsm.masking.phase_quality_threshold", "qsm.masking.deepbet"]
    assert "deepbet" in (out / "references.txt").read_text()
    done = neuraxis(
        bids,
        tmp_path / "o2",
        "participant",
        "--skip-bids-validation",
        "--participant-label",
        "01",
        "--outputs",
        "s0",
        check=66,
    )
    assert "s0 was asked for" in done.stderr


@pytest.mark.slow
def test_names_from_outside_are_escaped(bids, tmp_path):
    """A hostile label cannot leave the output folder or run in the page."""
    os.rename(bids / "sub-02", bids / "sub-<script>alert(1)<")
    done = neuraxis(bids, tmp_path / "out", "participant", "group", *FAST, check=None)
    assert "Traceback" not in done.stderr
    for page in (tmp_path / "out").glob("*.html"):
        assert "<script>alert(1)" not in page.read_text()


def test_tool_runs_one_method_on_files(small_out, tmp_path):
    field, mask = (
        small_out / "sub-01/fmap/sub-01_desc-local_fieldmap.nii.gz",
        small_out / "sub-01/anat/sub-01_desc-local_mask.nii.gz",
    )
    done = neuraxis(
        "tool",
        "qsm.inversion.tkd",
        "--local-field",
        field,
        "--local-mask",
        mask,
        "-o",
        tmp_path / "chi.nii.gz",
        check=65,
    )
    assert "Hz" in done.stderr
    neuraxis(
        "tool",
        "qsm.inversion.tkd",
        "--local-field",
        field,
        "--local-mask",
        mask,
        "--field-strength",
        3,
        "-o",
        tmp_path / "chi.nii.gz",
    )
    chi = np.asarray(nibabel.load(tmp_path / "chi.nii.gz").dataobj)
    assert chi.any() and np.isfinite(chi).all() and json.loads((tmp_path / "chi.json").read_text())["Units"] == "ppm"
    assert "threshold" in neuraxis("tool", "qsm.inversion.tkd", "--help").stdout


def test_lists_of_methods_and_outputs_are_printed():
    assert "inversion.rts" in neuraxis("methods").stdout and "| inversion |" in neuraxis("methods", "--markdown").stdout
    assert "sub-01_Chimap.nii.gz" in neuraxis("outputs").stdout
