"""Writes simulated data as a BIDS data set, with the truth as a derivative of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import lazy_loader as lazy
import numpy as np

from neuraxis.simulate import acquisition, anatomy
from neuraxis.simulate.options import Phantom
from neuraxis.simulate.shapes import rotation
from neuraxis.simulate.tissues import TISSUES
from neuraxis.units import hz_per_ppm
from neuraxis.volume import Array, Grid

nib = lazy.load("nibabel")

_FULL_SCALE = 4095
"""Largest stored magnitude and Siemens phase: 12 bits, as a scanner does."""

_README = """\
A simulated data set
====================
Multi-echo gradient echo images of a computed head with known susceptibility, R2* and fields. No human took part.
The truth is in derivatives/truth: susceptibility (ppm, relative to water), R2* (1/s), S0, labels, brain mask, the
field made by the brain's own tissue (desc-local) and the shimmed field that the phase holds (desc-total), in Hz.
Positive susceptibility is paramagnetic; a stronger field makes a more positive phase.
The head is the ICBM152 2009a average brain; tissue values follow the QSM challenge 2.0 (doi:10.1002/mrm.28716).
"""


def simulate(bids_dir: str | Path, options: Phantom) -> None:
    """Write a BIDS data set of simulated heads, with its truth in derivatives/truth.

    Parameters
    ----------
    bids_dir
        Folder of the data set; made where it is missing.
    options
        What is simulated.
    """
    root = Path(bids_dir)
    truth = root / "derivatives" / "truth"
    _describe(root, truth, options)
    rows = []
    for number in range(1, options.participants + 1):
        label = f"{number:0{max(2, len(str(options.participants)))}d}"
        age, sex, iron, size = _someone(options.seed, number)
        rows.append((f"sub-{label}", f"{age:.0f}", sex))
        for session in range(1, options.sessions + 1):
            seed = int(np.random.SeedSequence([options.seed, number, session]).generate_state(1)[0])
            pose = _pose(size, seed, first=number == 1 and session == 1)
            names = (f"sub-{label}", *([f"ses-{session:02d}"] if options.sessions > 1 else []))
            for position in range(options.orientations):
                person = anatomy.Person(_tilted(position, options.tilt) @ pose, iron, options.seed + number)
                acquired = f"acq-orientation{position + 1}" if options.orientations > 1 else ""
                _write_acquisition(root, truth, names, acquired, options, person, seed + position)
    table = "\n".join("\t".join(row) for row in (("participant_id", "age", "sex"), *rows))
    write(root / "participants.tsv", table + "\n")


def _someone(seed: int, number: int) -> tuple[float, str, float, Array]:
    """Age in years, sex, iron of the deep nuclei relative to the table, and size along the axes of a participant.

    Iron in the deep nuclei rises with age, here by half over adult life; how much it does, differs by nucleus
    (Hallgren 1958, doi:10.1111/j.1471-4159.1958.tb12607.x). The first participant has the values of the table.
    """
    rng = np.random.default_rng([seed, number, 6])
    age, sex = float(rng.integers(20, 81)), str(rng.choice(["F", "M"]))
    spread, size = rng.normal(0, 0.05), 1 + rng.normal(0, 0.025, 3) + (0.015 if sex == "M" else -0.015)
    if number == 1:
        return 45.0, sex, 1.0, np.ones(3)
    return age, sex, float(np.clip(1 + 0.5 * (age - 45) / 60 + spread, 0.6, 1.5)), size


def _pose(size: Array, seed: int, first: bool) -> Array:
    """How the head lies in the scanner: MNI mm -> scanner mm; straight and centred for the first."""
    rng = np.random.default_rng([seed, 7])
    turn, shift = rng.normal(0, 2.5, 3), rng.normal(0, 1.5, 3)
    pose = np.eye(4)
    pose[:3, :3] = (np.eye(3) if first else rotation(tuple(turn))) * (size * anatomy.MNI_TO_ADULT)
    pose[:3, 3] = 0 if first else shift
    return pose


def _tilted(position: int, degrees: float) -> Array:
    """How the head is tilted in its n-th position: not at all in the first, then towards sides 137.5 degrees apart; 4 x 4.

    By that angle, the golden one, any number of sides is spread around the circle.
    """
    pose = np.eye(4)
    if position:
        side = rotation((0, 0, (position - 1) * 180 * (3 - 5**0.5)))
        pose[:3, :3] = side @ rotation((degrees, 0, 0)) @ side.T
    return pose


def _write_acquisition(  # type: ignore[no-untyped-def]
    root: Path, truth: Path, names: tuple[str, ...], acquired: str, options: Phantom, person, seed: int
) -> None:
    """One gradient echo acquisition with its truth, and a T1-weighted image beside it; the first position alone has that."""
    folder = root.joinpath(*names) / "anat"
    stem = "_".join([*names, acquired] if acquired else names)
    seen = acquisition.scan(options, person, seed)
    full = float(np.abs(seen.echoes[0]).max()) * 1.15
    gain = _FULL_SCALE / full
    common = {
        "Manufacturer": "simulated",
        "MagneticFieldStrength": options.field_strength,
        "RepetitionTime": options.repetition_time,
        "FlipAngle": options.flip_angle,
        "MRAcquisitionType": "3D",
        "SequenceType": "spoiled gradient echo",
    }
    for number, (magnitude, phase) in enumerate(seen.images(seed), start=1):
        name = f"{stem}_echo-{number}_part"
        sidecar = {**common, "EchoTime": options.echo_times[number - 1]}
        stored = np.rint(np.minimum(magnitude * gain, _FULL_SCALE)).astype(np.uint16)
        save(folder / f"{name}-mag_MEGRE", stored, seen.grid, sidecar)
        if options.phase_storage == "siemens":
            steps = np.rint((phase + np.pi) * ((_FULL_SCALE + 1) / (2 * np.pi))).astype(np.uint16) % (_FULL_SCALE + 1)
            save(folder / f"{name}-phase_MEGRE", steps.astype(np.uint16), seen.grid, {**sidecar, "Units": "arbitrary"})
        else:
            save(folder / f"{name}-phase_MEGRE", phase, seen.grid, {**sidecar, "Units": "rad"})
    _write_truth(truth.joinpath(*names), stem, seen, gain, options)
    if options.t1w_size and acquired in ("", "acq-orientation1"):
        image, grid = acquisition.t1w(options, person, seed)
        slower = (options.field_strength / 3) ** 0.38
        sidecar = {
            **{key: common[key] for key in ("Manufacturer", "MagneticFieldStrength", "MRAcquisitionType")},
            "InversionTime": round(acquisition.INVERSION_TIME * slower, 4),
            "RepetitionTime": round(acquisition.INVERSION_REPETITION * slower, 4),
        }
        save(folder / f"{'_'.join(names)}_T1w", np.rint(image * (2000 / image.max())).astype(np.uint16), grid, sidecar)


def _write_truth(folder: Path, stem: str, seen, gain: float, options: Phantom) -> None:  # type: ignore[no-untyped-def]
    anat, fmap = folder / "anat" / stem, folder / "fmap" / stem
    whole, brain = {"SkullStripped": False}, {"SkullStripped": True}
    hertz = np.float32(hz_per_ppm(options.field_strength))

    def put(place: Path, name: str, data: Array, sidecar: Mapping[str, object]) -> None:
        save(place.with_name(f"{stem}_{name}"), data, seen.grid, sidecar)

    put(anat, "Chimap", seen.chi, {**whole, "Units": "ppm", "Description": "true susceptibility relative to water"})
    put(anat, "R2starmap", seen.r2star, {**whole, "Units": "1/s"})
    put(anat, "S0map", seen.s0 * np.float32(gain), {**whole, "Units": "arbitrary"})
    put(anat, "desc-brain_mask", seen.brain.astype(np.uint8), {"Type": "Brain"})
    put(anat, "dseg", seen.labels, {})
    first = np.rint(np.abs(seen.echoes[0]) * gain).astype(np.uint16)
    for kind, field, note in (
        ("local", seen.local_field, "field of the tissue inside the brain mask"),
        ("total", seen.total_field, "shimmed field of the whole head, as the phase holds it"),
    ):
        sidecar = {**(brain if kind == "local" else whole), "Units": "Hz", "Description": note}
        put(fmap, f"desc-{kind}_fieldmap", field * hertz, sidecar)
        put(fmap, f"desc-{kind}_magnitude", first, whole)


def _describe(root: Path, truth: Path, options: Phantom) -> None:
    """What BIDS asks for at the top of both data sets."""
    try:
        release = version("neuraxis")
    except PackageNotFoundError:
        release = "unknown"
    maker = {"Name": "neuraxis simulate", "Version": release}
    raw = {"Name": "Simulated head", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0",
           "Authors": ["neuraxis simulate"], "GeneratedBy": [maker]}  # fmt: skip
    write_json(root / "dataset_description.json", raw)
    made = [{**maker, "Name": "truth", "Description": "known answer of the simulation"}]
    links = {"raw": "../.."}
    write_json(truth / "dataset_description.json", {**raw, "Name": "Truth of the simulated head",
                "DatasetType": "derivative", "GeneratedBy": made, "DatasetLinks": links})  # fmt: skip
    write(root / "README", _README + f"\nMade with {options}\n")
    write(truth / "README", _README)
    write_json(root / "participants.json", {
        "age": {"Description": "age of the simulated participant; sets the iron of the deep nuclei", "Units": "year"},
        "sex": {"Description": "sex; sets the size", "Levels": {"F": "female", "M": "male"}},
    })  # fmt: skip
    rows = "\n".join(f"{tissue.label}\t{tissue.name}" for tissue in TISSUES.values())
    write(truth / "dseg.tsv", f"index\tname\n{rows}\n")


def save(place: Path, data: Array, grid: Grid, sidecar: Mapping[str, object]) -> None:
    """A NIfTI image and its sidecar; the same numbers give the same bytes."""
    image = nib.Nifti1Image(data, grid.matrix)
    image.set_sform(grid.matrix, 1)
    image.set_qform(grid.matrix, 1)
    image.header.set_xyzt_units("mm", "sec")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_name(place.name + ".nii.gz").write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
    if sidecar:
        write_json(place.with_name(place.name + ".json"), sidecar)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """A JSON file."""
    write(path, json.dumps(content, indent=2) + "\n")


def write(path: Path, text: str) -> None:
    """A text file, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
