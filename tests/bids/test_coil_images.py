"""Uncombined coils: found as one unit, checked, read one after the other, and combined."""

from __future__ import annotations

from dataclasses import replace

import make
import nibabel
import numpy as np
import pytest
from conftest import neuraxis

from neuraxis.bids.coils import load_coils
from neuraxis.bids.dataset import gre_units
from neuraxis.bids.images import content_hash, load_gre, shape_of
from neuraxis.bids.sidecar import acquisition
from neuraxis.errors import DataError, GridMismatch, MissingInput

COILS = ("01", "02", "03")


def coils(root, labels=COILS, **more):
    for label in labels:
        make.gre(root, entities=f"rec-uncombined_coil-{label}", **more)
    return root


def unit_of(root):
    (unit,), problems = gre_units(root, "01")
    assert not problems
    return unit


def file(root, coil, echo, part):
    return root / f"sub-01/anat/sub-01_rec-uncombined_coil-{coil}_echo-{echo}_part-{part}_MEGRE.nii.gz"


def test_coils_are_one_unit_named_without_them(tmp_path):
    unit = unit_of(coils(tmp_path))
    assert unit.name == "sub-01_rec-uncombined_MEGRE" and dict(unit.entities) == {"sub": "01", "rec": "uncombined"}
    assert len(unit.coils) == 3 and len(unit.paths()) == 3 * 2 * 3 and unit.echoes == ("1", "2", "3")
    assert shape_of(unit) == (*make.SHAPE, 3) and acquisition(unit).echo_times == make.ECHO_TIMES
    assert len(content_hash(unit.paths())) == 64


def test_the_combined_images_of_the_scanner_are_another_unit(tmp_path):
    make.gre(coils(tmp_path))
    assert [one.name for one in gre_units(tmp_path, "01")[0]] == ["sub-01_MEGRE", "sub-01_rec-uncombined_MEGRE"]


def test_coils_that_are_alike_give_what_one_gives(tmp_path):
    found = load_coils(unit_of(coils(tmp_path)))
    one = np.stack([make.decay(time) for time in make.ECHO_TIMES], -1)
    assert np.allclose(found.magnitude.data, np.sqrt(3) * one, rtol=1e-4) and found.phase.data.dtype == np.float32
    assert np.moveaxis(found.phase.data, -1, 0).flags.c_contiguous
    steps = [np.exp(1j * (found.phase.data[..., n + 1] - found.phase.data[..., n])) for n in (0, 1)]
    true = [np.exp(1j * (make.wrapped(b) - make.wrapped(a))) for a, b in zip(make.ECHO_TIMES, make.ECHO_TIMES[1:], strict=False)]
    assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(steps, true, strict=True))
    assert "3 coils" in found.notes[-1] and "MCPC-3D-S" in found.notes[-1] and found.field_strength == 3


def test_magnitudes_alone_are_added_as_squares(tmp_path):
    found = load_coils(unit_of(coils(tmp_path, parts=("mag",))))
    assert found.phase is None and np.allclose(found.magnitude.data[..., 0], np.sqrt(3) * make.decay(0.004), rtol=1e-5)


def test_real_and_imaginary_images_of_coils(tmp_path):
    found = load_coils(unit_of(coils(tmp_path, parts=("real", "imag"))))
    assert np.allclose(found.magnitude.data[..., 0], np.sqrt(3) * make.decay(0.004), rtol=1e-4)


@pytest.mark.parametrize(("echo", "part"), [(3, "phase"), (2, "mag")])
def test_a_coil_that_lacks_an_image_is_named(tmp_path, echo, part):
    file(coils(tmp_path), "02", echo, part).unlink()
    units, ((name, problem),) = gre_units(tmp_path, "01")
    assert not units and name == "sub-01_rec-uncombined_MEGRE" and isinstance(problem, MissingInput)
    assert f"part-{part} image of echo {echo}" in str(problem) and "coil" in str(problem)


def test_a_coil_that_lacks_a_whole_echo_or_part_is_named(tmp_path):
    coils(tmp_path)
    for part in ("mag", "phase"):
        file(tmp_path, "03", 3, part).unlink()
    (_, problem), *_ = gre_units(tmp_path, "01")[1]
    assert "of echo 3 of coil 03" in str(problem)
    for echo in (1, 2):
        file(tmp_path, "03", echo, "phase").unlink()
    (_, problem), *_ = gre_units(tmp_path, "01")[1]
    assert "part-phase" in str(problem) and "coil 03" in str(problem)


def test_what_cannot_be_combined_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"of one coil and of one echo: [^.]*two echoes\.$"):
        load_coils(unit_of(coils(tmp_path / "one", echo_times=(0.01,))))
    with pytest.raises(MissingInput, match="no part-mag image"):
        load_coils(unit_of(coils(tmp_path / "phase", parts=("phase",))))
    moved = make.AFFINE.copy()
    moved[0, 3] += 5
    for echo in (1, 2, 3):
        for part in ("mag", "phase"):
            make.rewrite(file(coils(tmp_path / "moved") if echo == 1 and part == "mag" else tmp_path / "moved", "02", echo, part), np.asarray, moved)
    with pytest.raises(GridMismatch, match="coil-02.*another place"):
        load_coils(unit_of(tmp_path / "moved"))
    for echo in (1, 2, 3):
        path = file(coils(tmp_path / "scale") if echo == 1 else tmp_path / "scale", "03", echo, "phase")
        make.rewrite(path, lambda data: (np.rint((data + np.pi) * 4096 / (2 * np.pi)) % 4096).astype(np.float32))
        make.edit(path.with_name(path.name.replace(".nii.gz", ".json")), Units="arbitrary")
    with pytest.raises(DataError, match="coil-03.*another way"):
        load_coils(unit_of(tmp_path / "scale"))
    make.edit(file(coils(tmp_path / "times"), "02", 2, "mag").with_name("sub-01_rec-uncombined_coil-02_echo-2_part-mag_MEGRE.json"), EchoTime=0.009)
    make.edit(file(tmp_path / "times", "02", 2, "mag").with_name("sub-01_rec-uncombined_coil-02_echo-2_part-phase_MEGRE.json"), EchoTime=0.009)
    with pytest.raises(DataError, match="coil-02.*other echo times"):
        acquisition(unit_of(tmp_path / "times"))


@pytest.mark.slow
def test_from_coils_to_a_field(tmp_path, small_bids):
    """Four coils made of a simulated head, from files to the total field."""
    anat, root = small_bids / "sub-01/anat", make.dataset(tmp_path / "bids")
    for echo in (1, 2, 3, 4):
        mag, phase = (nibabel.load(anat / f"sub-01_echo-{echo}_part-{part}_MEGRE.nii.gz") for part in ("mag", "phase"))
        x, y, z = (np.linspace(-1, 1, n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(mag.shape))
        for coil, (u, v) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1)), start=1):
            sensitivity = np.exp(u * x + v * y + 1j * (coil + 2 * u * y - v * x + 0.5 * z))
            signal = mag.get_fdata() * np.exp(1j * phase.get_fdata()) * sensitivity
            for part, data in (("mag", np.abs(signal)), ("phase", np.angle(signal))):
                sidecar = {"EchoTime": 0.006 * echo, "MagneticFieldStrength": 3} | ({"Units": "rad"} if part == "phase" else {})
                make.image(file(root, f"{coil:02d}", echo, part), data.astype(np.float32), sidecar, mag.affine)
    words = ("participant", "--outputs", "total_field", "--masking", "phase_quality_threshold", "--skip-bids-validation")
    done = neuraxis(root, tmp_path / "out", *words, "--coil-smoothing", "10")
    assert "4 coils combined by MCPC-3D-S" in done.stderr and "over 10 mm" in done.stderr
    assert "coil_smoothing = 10" in (tmp_path / "out/run.toml").read_text()
    found = nibabel.load(tmp_path / "out/sub-01/fmap/sub-01_rec-uncombined_desc-total_fieldmap.nii.gz").get_fdata()
    truth = small_bids / "derivatives/truth/sub-01"
    true = nibabel.load(truth / "fmap/sub-01_desc-total_fieldmap.nii.gz").get_fdata()
    brain = nibabel.load(truth / "anat/sub-01_desc-brain_mask.nii.gz").get_fdata() > 0
    both = brain & (found != 0)
    error = (found - true)[both]
    error -= np.median(error)
    assert both.sum() > 0.85 * brain.sum() and np.median(np.abs(error)) < 0.5 and (np.abs(error) > 6).mean() < 0.03


def test_what_is_chosen_about_the_reading_is_told(tmp_path):
    unit = unit_of(coils(tmp_path))
    assert unit.reading == "coils over 7 mm" and replace(unit, flip=True).reading == "coils over 7 mm, phase turned round"
    make.gre(tmp_path / "plain")
    assert unit_of(tmp_path / "plain").reading == "" and replace(unit_of(tmp_path / "plain"), flip=True).reading


def test_phase_turned_round(tmp_path):
    make.gre(tmp_path)
    plain, turned = load_gre(unit_of(tmp_path)), load_gre(replace(unit_of(tmp_path), flip=True))
    assert np.array_equal(plain.phase.data, -turned.phase.data) and "turned round" in turned.notes[1]
