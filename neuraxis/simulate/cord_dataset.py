"""Writes simulated necks as a BIDS data set, with the truth as a derivative of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from neuraxis.cord.vertebrae import disc_name, vertebra_name
from neuraxis.simulate.cord import CordTruth, cord_phantom
from neuraxis.simulate.cord_options import (
    ECHO_TIMES,
    FLIP_ANGLE,
    INVERSION_TIME,
    REPETITION_TIME,
    SATURATED,
    CordOptions,
    participant,
)
from neuraxis.simulate.cord_series import ECHO_TIME, SERIES, CordSeries, cord_series
from neuraxis.simulate.cord_series import REPETITION_TIME as SERIES_REPETITION
from neuraxis.simulate.dataset import save, write, write_json
from neuraxis.table import Table
from neuraxis.volume import Volume

_README = """\
A simulated data set
====================
Images of computed necks with a known spinal cord. No human took part.
The truth is in derivatives/truth, on the grid of each image (the entity space names it): shares of cord, canal and grey
matter (probseg), the cord as a mask, vertebral levels and disc labels (numbers of the Spinal Cord Toolbox), the
pontomedullary junction, and a table with the size of the section orthogonal to the cord at every slice. Of magnetisation
transfer (MTS, MTR) also MTR, MTsat (percent) and T1 (s), and how far the slices of each image were moved.
Sizes along the cord follow the PAM50 template (doi:10.1016/j.neuroimage.2017.10.041).
"""

_SHARES = {"cord": "SC", "gray_matter": "GM", "canal": "canal"}
"""Field of the truth -> entity label of its file."""


def simulate_cord(
    folder: str | Path,
    participants: int = 2,
    *,
    seed: int = 42,
    small: bool = False,
    contrasts: tuple[str, ...] = ("T1w", "T2w", "T2starw", "MEGRE", "MTS"),
    with_labels: bool = False,
    compression_level: int | None = None,
    lesion: bool = False,
    motion: float = 0.5,
) -> None:
    """Write a BIDS data set of simulated necks, with its truth in derivatives/truth.

    Parameters
    ----------
    folder
        Folder of the data set; made where it is missing.
    participants
        How many; they differ in size, cord, bend of the neck, pose, age and sex. The first has the template's sizes.
    seed
        Seed of all that is random: the same seed, the same bytes; at least 0.
    small
        Few voxels, for quick tests.
    contrasts
        Images to make: T1w, T2w, T2starw, MEGRE, MTS, MTR, and the series dwi and bold.
    with_labels
        Whether derivatives/labels holds the disc labels, as if an expert had set them.
    compression_level
        The disc below this vertebra presses on every cord (5: C5/C6).
    lesion
        Whether every cord has a lesion behind C4.
    motion
        Largest shift of a slice between the images of MTS and MTR; mm, at least 0.
    """
    if participants < 1:
        raise ValueError(f"participants must be at least 1, not {participants}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}")
    root = Path(folder)
    truth = root / "derivatives" / "truth"
    options = CordOptions(
        contrasts=tuple(one for one in contrasts if one not in SERIES), small=small, compression_level=compression_level,
        lesion=lesion, motion=motion, seed=seed,
    )  # fmt: skip
    _describe(root, truth, with_labels)
    rows = ["participant_id\tage\tsex"]
    for number in range(1, participants + 1):
        subject = f"sub-{number:0{max(2, len(str(participants)))}d}"
        varied, age, sex = participant(options, number)
        rows.append(f"{subject}\t{age:.0f}\t{sex}")
        phantom = cord_phantom(varied)
        for contrast, volume in phantom.volumes.items():
            _write_images(root / subject / "anat", subject, contrast, volume)
            _write_truth(truth / subject / "anat", subject, contrast, phantom.truth[contrast], lesion)
            if with_labels:
                name = f"{image_stem(subject, contrast)}_label-discs_dlabel"
                discs = phantom.truth[contrast].discs
                place = root / "derivatives" / "labels" / subject / "anat" / name
                save(place, discs.data.astype(np.uint8), discs.grid, {"SpatialReference": "orig"})
        for suffix in (one for one in SERIES if one in contrasts):
            _write_series(root, truth, subject, suffix, cord_series(suffix, varied))
    write(root / "participants.tsv", "\n".join(rows) + "\n")


def image_stem(subject: str, contrast: str) -> str:
    """Name of the (first) image of a contrast, without its extension."""
    return f"{subject}_{_image_names(contrast)[0]}"


def _image_names(contrast: str) -> list[str]:
    if contrast == "MEGRE":
        return [f"echo-{n}_part-mag_MEGRE" for n in range(1, len(ECHO_TIMES[contrast]) + 1)]
    if contrast == "MTS":
        return ["flip-1_mt-on_MTS", "flip-1_mt-off_MTS", "flip-2_mt-off_MTS"]
    if contrast == "MTR":
        return ["mt-on_MTR", "mt-off_MTR"]
    return [contrast]


def _write_images(folder: Path, subject: str, contrast: str, volume: Volume) -> None:
    data = volume.data[..., None] if volume.data.ndim == 3 else volume.data
    for number, name in enumerate(_image_names(contrast)):
        stored = np.rint(np.clip(data[..., number], 0, 65535)).astype(np.uint16)
        save(folder / f"{subject}_{name}", stored, volume.grid, _sidecar(contrast, number))


def _write_series(root: Path, truth: Path, subject: str, suffix: str, series: CordSeries) -> None:
    """A series with its tables, and its truth: shifts of every slice, cord, tensor."""
    folder = "dwi" if suffix == "dwi" else "func"
    stem = subject if suffix == "dwi" else f"{subject}_task-rest"
    sidecar: dict[str, object] = {
        "Manufacturer": "simulated", "MagneticFieldStrength": 3.0, "BodyPart": "SPINE", "MRAcquisitionType": "2D",
        "EchoTime": ECHO_TIME[suffix], "RepetitionTime": SERIES_REPETITION[suffix],
    }  # fmt: skip
    if suffix == "bold":
        sidecar["TaskName"] = "rest"
    stored = np.rint(np.clip(series.volume.data, 0, 65535)).astype(np.uint16)
    place = root / subject / folder / f"{stem}_{suffix}"
    save(place, stored, series.volume.grid, sidecar)
    for table, ending in ((series.b_values, "bval"), (series.b_vectors, "bvec")):
        if table is not None:
            rows = [" ".join(f"{value:.6g}" for value in row) for row in np.atleast_2d(table)]
            write(place.with_name(f"{place.name}.{ending}"), "\n".join(rows) + "\n")
    known = truth / subject / folder
    save(known / f"{stem}_label-SC_mask", series.truth.cord_mask.data.astype(np.uint8), series.volume.grid, {"Type": "ROI"})
    save(known / f"{stem}_label-SC_probseg", series.truth.cord.data, series.volume.grid, {})
    write(known / f"{stem}_desc-motion_timeseries.tsv", _tsv(series.shifts))
    for name, volume in (("fa", series.fa), ("md", series.md)):
        if volume is not None:
            save(known / f"{stem}_model-tensor_param-{name}_dwimap", volume.data, volume.grid, {})


def _sidecar(contrast: str, number: int) -> Mapping[str, object]:
    sidecar: dict[str, object] = {
        "Manufacturer": "simulated",
        "MagneticFieldStrength": 3.0,
        "BodyPart": "SPINE",
        "MRAcquisitionType": "3D" if contrast in ("T1w", "T2w", *SATURATED) else "2D",
        "EchoTime": ECHO_TIMES[contrast][number],
        "RepetitionTime": REPETITION_TIME[contrast][number],
    }
    if contrast in FLIP_ANGLE:
        sidecar["FlipAngle"] = FLIP_ANGLE[contrast][number]
    if contrast == "T1w":
        sidecar["InversionTime"] = INVERSION_TIME
    if contrast in SATURATED:
        sidecar["RepetitionTimeExcitation"] = REPETITION_TIME[contrast][number]
        sidecar["MTState"] = SATURATED[contrast][number]
    return sidecar


def _write_truth(folder: Path, subject: str, contrast: str, truth: CordTruth, lesion: bool) -> None:
    stem = f"{subject}_space-{contrast}"
    seen = {"SpatialReference": f"bids:raw:{subject}/anat/{image_stem(subject, contrast)}.nii.gz"}

    def put(name: str, volume: Volume, **more: object) -> None:
        data = volume.data if volume.data.dtype.kind == "f" else volume.data.astype(np.uint8)
        save(folder / f"{stem}_{name}", data, volume.grid, {**seen, **more})

    for field, label in _SHARES.items():
        put(f"label-{label}_probseg", getattr(truth, field))
    put("label-SC_mask", truth.cord_mask, Type="ROI")
    put("label-GM_mask", Volume(truth.gray_matter.data > 0.5, truth.gray_matter.grid), Type="ROI")
    if lesion:
        put("label-lesion_mask", Volume(truth.lesion.data > 0.5, truth.lesion.grid), Type="Lesion")
    put("desc-levels_dseg", truth.levels)
    put("desc-discs_dseg", truth.discs)
    put("desc-pmj_dseg", truth.pmj)
    for name, volume in truth.maps.items():
        put(name, volume, Units="s" if name == "T1map" else "percent", SkullStripped=False)
    write(folder / f"{stem}_desc-shape_morph.tsv", _tsv(truth.slices))
    write_json(folder / f"{stem}_desc-shape_morph.json", {**seen, **_COLUMNS})
    if truth.motion is not None:
        images, slices = (np.indices(truth.motion.shape[:2]) + 1).reshape(2, -1)
        moved = dict(zip(_MOTION, (images, slices - 1, *truth.motion.reshape(-1, 2).T), strict=True))
        write(folder / f"{stem}_desc-motion_morph.tsv", _tsv(Table.of(moved)))
        write_json(folder / f"{stem}_desc-motion_morph.json", {**seen, **_MOTION})


def _tsv(table: Table) -> str:
    rows = ["\t".join(table.columns)]
    rows += ["\t".join(f"{value:.6g}" for value in row.values()) for row in table.rows()]
    return "\n".join(rows) + "\n"


def _column(text: str, unit: str | None = None) -> dict[str, str]:
    return {"Description": text} | ({"Units": unit} if unit else {})


_COLUMNS = {
    "slice": _column("slice, counted upwards from 0"),
    "x": _column("place of the cord's centre, counted to the left", "voxel"),
    "y": _column("place of the cord's centre, counted to the front", "voxel"),
    "dx": _column("change of x per slice", "voxel"),
    "dy": _column("change of y per slice", "voxel"),
    "x_mm": _column("place of the cord's centre in the scanner, to the right", "mm"),
    "y_mm": _column("place of the cord's centre in the scanner, to the front", "mm"),
    "z_mm": _column("place of the cord's centre in the scanner, upwards", "mm"),
    "arc_mm": _column("distance along the cord from the lowest slice", "mm"),
    "angle_AP": _column("lean of the cord in the left-right plane, about the front-back axis", "degree"),
    "angle_RL": _column("lean of the cord in the front-back plane, about the left-right axis", "degree"),
    "level": _column("vertebral level: 1 is C1, 8 is T1"),
    "distance_pmj": _column("distance from the pontomedullary junction along the cord", "mm"),
    "area": _column("area of the section orthogonal to the cord", "mm^2"),
    "diameter_AP": _column("depth of that section", "mm"),
    "diameter_RL": _column("width of that section", "mm"),
    "gray_matter_area": _column("area of grey matter in that section", "mm^2"),
}

_MOTION = {
    "image": _column("number of the image: with saturation, without, and T1-weighted"),
    "slice": _column("slice, counted upwards from 0"),
    "shift_left": _column("how far its content was moved to the left", "mm"),
    "shift_front": _column("how far it was moved to the front", "mm"),
}


def _describe(root: Path, truth: Path, with_labels: bool) -> None:
    """What BIDS asks for at the top of the data sets."""
    try:
        release = version("neuraxis")
    except PackageNotFoundError:
        release = "unknown"
    maker = {"Name": "neuraxis simulate", "Version": release}
    raw = {"Name": "Simulated necks", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0",
           "Authors": ["neuraxis simulate"], "GeneratedBy": [maker]}  # fmt: skip
    write_json(root / "dataset_description.json", raw)
    derived = {**raw, "DatasetType": "derivative", "DatasetLinks": {"raw": "../.."}}
    made = {**maker, "Name": "truth", "Description": "known answer of the simulation"}
    write_json(truth / "dataset_description.json", {**derived, "Name": "Truth of the necks", "GeneratedBy": [made]})
    write(root / "README", _README)
    write(truth / "README", _README)
    write(truth / ".bidsignore", "*_morph.*\n*_timeseries.*\n*_dwimap.*\n")  # BIDS has no names for these
    rows = "".join(f"{level}\t{vertebra_name(level)}\n" for level in range(1, 14))
    write(truth / "desc-levels_dseg.tsv", f"index\tname\n{rows}")
    rows = "".join(f"{disc}\t{disc_name(disc)}\n" for disc in range(1, 14))
    write(truth / "desc-discs_dseg.tsv", f"index\tname\n{rows}")
    write(truth / "desc-pmj_dseg.tsv", "index\tname\n50\tPMJ\n")
    if with_labels:
        made = {**maker, "Name": "labels", "Description": "disc labels, as if set by an expert"}
        described = {**derived, "Name": "Labels of the necks", "GeneratedBy": [made]}
        write_json(root / "derivatives" / "labels" / "dataset_description.json", described)
        write(root / "derivatives" / "labels" / "README", _README)
        write(root / "derivatives" / "labels" / ".bidsignore", "*_dlabel.*\n")  # the field's name, not BIDS's
    age = {"Description": "age of the simulated participant", "Units": "year"}
    sex = {"Description": "sex; sets the size", "Levels": {"F": "female", "M": "male"}}
    write_json(root / "participants.json", {"age": age, "sex": sex})
