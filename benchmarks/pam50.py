"""Registration of the cord to PAM50: overlap both ways, there and back, grey matter, and time, against SCT's own figures.

    python benchmarks/pam50.py SHARED_DATA

SHARED_DATA holds cord/sct-testing, cord/t2w-bids, cord/gm-challenge and resources/PAM50. Cords are those drawn by hand, so that the
registration alone is measured. The grey matter drawn by hand was not used but by the step `gray`: its overlap with the template's tells
how well the inside lies. `--squeeze 0.5` flattens every cord from front to back, to half of its depth in the middle of the view and less
within 15 mm: compression of a kind whose truth is known.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids import pam50
from neuraxis.bids.nifti import read_image
from neuraxis.cord.centerline.bspline import bspline
from neuraxis.cord.template.landmarks import landmarks_of_discs
from neuraxis.cord.template.registration import to_pam50
from neuraxis.cord.template.warps import brought
from neuraxis.numerics.metrics import dice
from neuraxis.table import Table
from neuraxis.volume import Volume

_MIDDLE = 435.5
"""Height in PAM50 of C3/C4, about which the axial images without labels are centred; mm."""

_SCT_DISCS = {3: 53, 4: 34, 5: 17, 6: 1}
"""Slices, from below, of the discs in SCT's sagittal testing image."""

_LONG = 15.0
"""Half length of a simulated compression; mm."""

_STEPS = (
    "centre rotation radial",
    "centre rotation columns",
    "centre image_rotation columns",
    "centre rotation columns tissue",
    "centre rotation columns gray",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", nargs="+", default=_STEPS)
    parser.add_argument("--squeeze", type=float, default=1.0, help="share of its depth that the middle of every cord keeps")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    known = {name: pam50.read(given.data / "resources" / "PAM50", f"pam50_{name}") for name in ("cord", "gray", "white")}
    cord = given.data / "cord"
    print("SCT 7.2, whole command: .944/.950 in 234 s (small template), .963/.942 in 381 s, with four discs .954/.942 in 505 s,")
    print("in the image's space .975/.945 in 143 s (overlap in the image / in the template, T2w of its testing data)\n")
    print(f"{'steps':34}{'image':26}{'in image':>9}{'in PAM50':>9}{'mean mm':>9}{'most mm':>9}{'grey':>7}{'s':>6}")
    for steps in given.steps:
        overlaps = []
        for name, seg, landmarks, image, gray in _cases(cord, given.squeeze):
            if gray is None and "gray" in steps.split():
                continue
            start = time.perf_counter()
            line = bspline(seg)
            there, _, table = to_pam50(seg, line, landmarks, known["cord"], image, gray, known["gray"], known["white"], steps=steps)
            seconds = time.perf_counter() - start
            assert there is not None and table is not None
            inside = _overlap(brought(known["gray"], there), gray)
            overlaps.append(inside)
            row = [float(table[column][0]) for column in ("dice_image", "dice_template", "inverse_mean", "inverse_most")]
            print(f"{steps:34}{name:26}{row[0]:9.3f}{row[1]:9.3f}{row[2]:9.3f}{row[3]:9.2f}{inside:7.3f}{seconds:6.1f}")
        print(f"{'':60}{'mean':>36}{np.nanmean(overlaps):7.3f}\n")


def _overlap(found: np.ndarray, gray: Volume | None) -> float:
    """Dice over the slices in which grey matter was drawn."""
    if gray is None:
        return float("nan")
    mask = gray.data > 0.5
    axis = int(np.argmin(mask.shape))
    drawn = mask.any(axis=tuple({0, 1, 2} - {axis}))
    return dice(np.compress(drawn, found > 0.5, axis=axis), np.compress(drawn, mask, axis=axis))


def _cases(cord: Path, squeeze: float) -> list[tuple[str, Volume, Table, Volume, Volume | None]]:
    """Name, cord, landmarks, image, and grey matter where it was drawn."""
    if squeeze == 1:
        return _drawn(cord)
    return [
        (name, _squeezed(seg, seg, squeeze), landmarks, _squeezed(image, seg, squeeze), gray and _squeezed(gray, seg, squeeze))
        for name, seg, landmarks, image, gray in _drawn(cord)
    ]


def _squeezed(volume: Volume, seg: Volume, share: float) -> Volume:
    """The volume with its slices flattened from front to back about the middle of the cord, most in the middle of the view."""
    upright, cord = volume.oriented("LAS"), seg.oriented("LAS").data > 0.5
    rows = np.flatnonzero(cord.any(axis=(0, 1)))
    apart = (np.arange(cord.shape[2]) - rows.mean()) * upright.grid.voxel_size[2]
    keep = 1 - (1 - share) * np.exp(-((apart / _LONG) ** 2))
    data = np.array(upright.data, np.float32)
    for row in rows:
        middle = np.argwhere(cord[:, :, row])[:, 1].mean()
        there = middle + (np.arange(cord.shape[1]) - middle) / keep[row]
        data[:, :, row] = [np.interp(there, np.arange(cord.shape[1]), line) for line in data[:, :, row]]
    return Volume(data, upright.grid).onto(volume.grid)


def _drawn(cord: Path) -> list[tuple[str, Volume, Table, Volume, Volume | None]]:
    found = []
    testing = cord / "sct-testing"
    seg = _read(testing / "t2" / "t2_seg-manual.nii.gz", "cord")
    found.append(("sct-testing T2w", seg, landmarks_of_discs(_discs(seg)), _read(testing / "t2" / "t2.nii.gz", "image"), None))
    for name, mask, image, gray in (
        ("sct-testing T2*w", "t2s/t2s_seg.nii.gz", "t2s/t2s.nii.gz", "t2s/t2s_gmseg_manual.nii.gz"),
        ("sct-testing MT-on", "mt/mt1_seg.nii.gz", "mt/mt1.nii.gz", "mt/mt1_gmseg_goldstandard.nii.gz"),
    ):
        seg = _read(testing / mask, "cord")
        found.append((name, seg, _middle(seg), _read(testing / image, "image"), _read(testing / gray, "gray_matter")))
    for sub in ("10062Ses1", "9418", "9604", "9669"):
        stem = f"sub-{sub}/anat/sub-{sub}_run-1_T2starw"
        labels = cord / "gm-challenge" / "derivatives" / "labels"
        seg, gray_matter = _read(labels / f"{stem}_seg-manual.nii.gz", "cord"), _read(labels / f"{stem}_gmseg-manual.nii.gz", "gray_matter")
        found.append((f"gm-challenge {sub}", seg, _middle(seg), _read(cord / "gm-challenge" / f"{stem}.nii.gz", "image"), gray_matter))
    return found


def _read(path: Path, name: str) -> Volume:
    return read_image(path, ARTIFACTS[name])


def _discs(cord: Volume) -> Volume:
    upright = cord.oriented("LAS")
    labels = np.zeros(upright.data.shape, np.int16)
    for value, height in _SCT_DISCS.items():
        x, y = np.rint(np.argwhere(upright.data[:, :, height] > 0).mean(axis=0)).astype(int)
        labels[x, y, height] = value
    return Volume(labels, upright.grid)


def _middle(cord: Volume) -> Table:
    """One landmark: the middle of the cord in view."""
    line = bspline(cord)
    at = len(line) // 2
    places = {axis: line[f"{axis}_mm"][at : at + 1] for axis in "xyz"}
    return Table.of({"value": np.array([4]), **places, "height": np.array([_MIDDLE])})


if __name__ == "__main__":
    main()
