import json
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from neuraxis.bids.validation import find_validator
from neuraxis.simulate import Phantom, simulate
from neuraxis.units import radians_per_ppm_second

TINY = Phantom(shape=(30, 36, 34), voxel_size=(6.0, 6.0, 6.0), fine=6.0, t1w_size=6.0, echo_times=(0.004, 0.012))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, replace(TINY, participants=2, sessions=2, phase_storage="siemens"))
    return folder


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


@pytest.mark.skipif(find_validator() is None, reason="no validator")
@pytest.mark.parametrize("part", [".", "derivatives/truth"])
def test_is_valid_bids(root, part):
    found = subprocess.run(
        [find_validator(), str(root / part), "--format", "json", "--ignoreWarnings"],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[:2000]


def test_same_seed_same_bytes(tmp_path):
    simulate(tmp_path / "a", TINY)
    simulate(tmp_path / "b", TINY)
    simulate(tmp_path / "c", replace(TINY, seed=1))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    name = Path("sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    assert files(tmp_path / "a")[name] != files(tmp_path / "c")[name]


def test_participants_and_sessions_differ(root):
    chi = {}
    for subject in ("01", "02"):
        for session in ("01", "02"):
            stem = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_Chimap.nii.gz"
            chi[subject, session] = np.asarray(nib.load(root / "derivatives" / "truth" / stem).dataobj)
    maps = list(chi.values())
    assert all(not np.array_equal(a, b) for i, a in enumerate(maps) for b in maps[:i])
    rows = (root / "participants.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["participant_id", "age", "sex"] and len(rows) == 3


def test_siemens_phase_holds_the_field(tmp_path, root):
    """Integers 0..4095 for -pi..pi, and the difference of two echoes is the true field in Hz."""
    stem = root / "sub-01/ses-01/anat/sub-01_ses-01_"
    stored = [np.asarray(nib.load(f"{stem}echo-{e}_part-phase_MEGRE.nii.gz").dataobj) for e in (1, 2)]
    assert all(echo.min() >= 0 and echo.max() <= 4095 and echo.dtype == np.uint16 for echo in stored)
    assert json.loads(Path(f"{stem}echo-1_part-phase_MEGRE.json").read_text())["Units"] == "arbitrary"
    phase = [echo / 4096 * 2 * np.pi - np.pi for echo in stored]
    truth = root / "derivatives/truth/sub-01/ses-01"
    field = np.asarray(nib.load(truth / "fmap/sub-01_ses-01_desc-total_fieldmap.nii.gz").dataobj)
    brain = np.asarray(nib.load(truth / "anat/sub-01_ses-01_desc-brain_mask.nii.gz").dataobj) > 0
    step = np.angle(np.exp(1j * (phase[1] - phase[0] - 2 * np.pi * 0.008 * field)))
    assert np.median(np.abs(step[brain])) < 0.05


def test_sidecars_say_how_it_was_acquired(root):
    sidecar = json.loads((root / "sub-02/ses-01/anat/sub-02_ses-01_echo-2_part-mag_MEGRE.json").read_text())
    assert sidecar["EchoTime"] == 0.012 and sidecar["MagneticFieldStrength"] == 3.0
    assert sidecar["RepetitionTime"] == 0.05 and sidecar["Manufacturer"] == "simulated"


def test_units_of_the_truth(tmp_path):
    """The field in Hz times 2 pi TE is the phase: one ppm at 3 T is 127.7 Hz."""
    assert radians_per_ppm_second(3.0) / (2 * np.pi) == pytest.approx(127.73, abs=0.01)
