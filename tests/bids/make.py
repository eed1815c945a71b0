"""Writes tiny BIDS data sets to test with, whole or broken in one way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np

SHAPE = (8, 9, 7)
AFFINE = np.array([[-1.0, 0, 0, 4], [0, 1.1, 0, -5], [0, 0, 1.5, -6], [0, 0, 0, 1]])
ECHO_TIMES = (0.004, 0.008, 0.012)


def wrapped(echo_time: float, shape: Sequence[int] = SHAPE, seed: int = 0) -> np.ndarray:
    """Phase of a field that rises along the axes, with noise in its far end: it fills the circle; rad, -pi..pi."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    field = 2 * math.pi * (180 * x + 90 * y + 60 * z)
    noise = np.random.default_rng([seed, int(echo_time * 1e6)]).uniform(-math.pi, math.pi, shape)
    noise.flat[:2] = -math.pi, math.pi * (1 - 1e-4)
    return np.where((z > 0.6) | (x < -0.9), noise, np.angle(np.exp(1j * field * echo_time)))


def decay(echo_time: float, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Magnitude that decays, 50..1000."""
    x = np.linspace(0.2, 1, shape[0])[:, None, None]
    return np.broadcast_to(1000 * x * np.exp(-30 * echo_time), shape)


def dataset(root: Path, **description: object) -> Path:
    """An empty data set that the BIDS validator accepts."""
    root.mkdir(parents=True, exist_ok=True)
    write_json(
        root / "dataset_description.json",
        {"Name": "tiny", "BIDSVersion": "1.10.0", "DatasetType": "raw", **description},
    )
    (root / "README").write_text("A tiny data set to test with; made of numbers only, no one was measured.\n" * 3)
    return root


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def image(
    path: Path,
    data: np.ndarray,
    sidecar: Mapping[str, object] | None = None,
    affine: np.ndarray = AFFINE,
    code: int = 1,
) -> Path:
    """A NIfTI image (orientation `code` for sform and qform), with a sidecar when there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if np.asarray(data).dtype == np.int64:
        data = np.asarray(data, np.int16)
    made = nibabel.Nifti1Image(data, affine)
    made.set_sform(affine, code)
    made.set_qform(affine, code)
    nibabel.save(made, path)
    if sidecar is not None:
        write_json(path.with_name(path.name.split(".")[0] + ".json"), sidecar)
    return path


def gre(
    root: Path,
    participant: str = "01",
    *,
    session: str = "",
    entities: str = "",
    suffix: str = "MEGRE",
    parts: Sequence[str] = ("mag", "phase"),
    echo_times: Sequence[float] = ECHO_TIMES,
    shape: Sequence[int] = SHAPE,
    field_strength: float | None = 3,
    units: str | None = "rad",
    extension: str = ".nii.gz",
) -> Path:
    """One gradient-echo acquisition in a data set (made when there is none); its anat folder. A part "" has no part entity."""
    if not (root / "dataset_description.json").exists():
        dataset(root)
    stem = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    folder = root.joinpath(*stem.split("_")) / "anat"
    for number, echo_time in enumerate(echo_times, start=1):
        phase, magnitude = wrapped(echo_time, shape), decay(echo_time, shape)
        echo = f"_echo-{number}" if len(echo_times) > 1 else ""
        values = {
            "phase": phase, "mag": magnitude, "": magnitude, "real": magnitude * np.cos(phase), "imag": magnitude * np.sin(phase),
        }  # fmt: skip
        for part in parts:
            sidecar: dict[str, object] = {"EchoTime": echo_time}
            if field_strength is not None:
                sidecar["MagneticFieldStrength"] = field_strength
            if part == "phase" and units is not None:
                sidecar["Units"] = units
            name = f"{stem}{'_' + entities if entities else ''}{echo}{'_part-' + part if part else ''}_{suffix}"
            image(folder / (name + extension), values[part].astype(np.float32), sidecar)
    return folder


def rewrite(path: Path, change, affine: np.ndarray | None = None, code: int = 1) -> None:
    """Writes an image again, its numbers changed by a function."""
    old = nibabel.load(path)
    data = change(np.asarray(old.dataobj).copy())
    path.unlink()
    image(path, data, affine=old.affine if affine is None else affine, code=code)


def edit(path: Path, **fields: object) -> None:
    """Changes fields of a JSON file; None removes one."""
    content = {**json.loads(path.read_text()), **fields}
    write_json(path, {name: value for name, value in content.items() if value is not None})


def annexed(path: Path) -> None:
    """Makes a file a link of git-annex whose content is not here."""
    path.unlink()
    path.symlink_to("../../.git/annex/objects/Xx/yY/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz")
