"""Cord path and segmentation against manual masks: centre error, Dice, Hausdorff, area, time and memory per image.

    python benchmarks/cord_segmentation.py                       every method on every image of ../shared/data/cord
    python benchmarks/cord_segmentation.py --only t2s 9604       images whose name holds one of these words
    python benchmarks/cord_segmentation.py --method polar        one method; --set level=0.4 changes its knobs
    python benchmarks/cord_segmentation.py --json out.json       the rows as JSON, too

Rows: path error (mm, distance of the path from the centre of the mask, mean and largest over slices), Dice, Hausdorff 95
(mm, surfaces), CSA error (%, mean over slices of area / manual area - 1, soft area, no angle correction), Dice of the
grey matter, seconds of one call (after a first one for the compiler) and peak memory of the process so far. Test-retest:
difference of the mean area between two runs of the same person, over the slices that both show.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from pathlib import Path

import nibabel
import numpy as np

from neuraxis.cord import segmentation, tissues
from neuraxis.cord.path import tubular
from neuraxis.cord.segmentation.graymatter import graymatter_small
from neuraxis.numerics.metrics import dice, hausdorff
from neuraxis.volume import Grid, Volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cord"
SCT, GM, LABELS = "sct-testing", "gm-challenge", "gm-challenge/derivatives/labels"
SUBJECTS = ("10062Ses1", "9418", "9604", "9669")
IMAGES = {  # name: image, cord mask, grey matter mask
    "t1": (f"{SCT}/t1/t1w", f"{SCT}/t1/t1w_seg-manual", None),
    "t2": (f"{SCT}/t2/t2", f"{SCT}/t2/t2_seg-manual", None),
    "t2-fake-lesion": (f"{SCT}/t2/t2_fake_lesion", f"{SCT}/t2/t2_fake_lesion_sc_seg", None),
    "t2s": (f"{SCT}/t2s/t2s", f"{SCT}/t2s/t2s_seg", f"{SCT}/t2s/t2s_gmseg_manual"),
    "t2s-uncropped": (f"{SCT}/t2s/t2s_uncropped", None, f"{SCT}/t2s/t2s_uncropped_gmseg_manual"),
    "mt0": (f"{SCT}/mt/mt0", f"{SCT}/mt/mt0_seg", None),
    "mt1": (f"{SCT}/mt/mt1", f"{SCT}/mt/mt1_seg", f"{SCT}/mt/mt1_gmseg_goldstandard"),
    "dwi-mean": (f"{SCT}/dmri/dwi_mean", None, None),
    "t2w-sub-11": (
        "t2w-bids/sub-11/anat/sub-11_T2w",
        "t2w-bids/derivatives/labels/sub-11/anat/sub-11_T2w_label-SC_seg",
        None,
    ),
    **{
        f"t2star-{s}": (
            f"{GM}/sub-{s}/anat/sub-{s}_run-1_T2starw",
            f"{LABELS}/sub-{s}/anat/sub-{s}_run-1_T2starw_seg-manual",
            f"{LABELS}/sub-{s}/anat/sub-{s}_run-1_T2starw_gmseg-manual",
        )
        for s in SUBJECTS
    },
}
CENTERLINES = {"dwi-mean": f"{SCT}/dmri/dwi_mean_centerline-optic"}
COLUMNS = ("path_mean", "path_max", "slices_missed", "dice", "hd95", "csa", "gm_dice", "seconds", "gib")


def load(name: str) -> Volume:
    image = nibabel.load(DATA / f"{name}.nii.gz")
    data = np.asarray(image.dataobj, np.float32)
    return Volume(data if data.ndim == 3 else data.mean(-1), Grid.of(data.shape, image.affine))


def timed(call, *args, **knobs):
    """What a call gives, its seconds, and what it warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        begin = time.perf_counter()
        found = call(*args, **knobs)
        return found, time.perf_counter() - begin, [str(one.message) for one in told]


def path_errors(path, truth: Volume) -> tuple[float, float, int]:
    """Mean and largest distance from the centres of the truth (mm), and its slices that the path leaves out."""
    upright = truth.oriented()
    x, y = upright.grid.voxel_size[:2]
    places = {int(z): (u, v) for z, u, v in zip(path["slice"], path["x"], path["y"], strict=True)}
    errors, missed = [], 0
    for z in np.flatnonzero((upright.data > 0.5).any((0, 1))):
        if int(z) not in places:
            missed += 1
            continue
        u, v = np.argwhere(upright.data[:, :, z] > 0.5).mean(0)
        errors.append(np.hypot((places[int(z)][0] - u) * x, (places[int(z)][1] - v) * y))
    return float(np.mean(errors)), float(np.max(errors)), missed


def overlap(found: Volume, truth: Volume) -> dict[str, float]:
    """Dice, Hausdorff 95 (mm) and mean error of the area (%) over the slices that the truth holds."""
    a, b = found.oriented(), truth.oriented()
    rows = np.flatnonzero((b.data > 0.5).any((0, 1)))
    soft, inside = a.data[:, :, rows], b.data[:, :, rows] > 0.5
    ratio = soft.sum((0, 1)) / inside.sum((0, 1))
    return {
        "dice": dice(soft > 0.5, inside),
        "hd95": hausdorff(soft > 0.5, inside, a.grid.voxel_size),
        "csa": 100 * (float(ratio.mean()) - 1),
    }


def segment(name: str, image: Volume, path, probabilities: Volume | None, knobs: dict):
    """One method's cord, or None where it cannot run."""
    if name in ("learned", "agreed"):
        if probabilities is None:
            return None
        return timed(getattr(segmentation, name), image, probabilities, path, **knobs)
    method = getattr(segmentation, name)
    try:
        return timed(method, image, path, **knobs)
    except ValueError as error:
        if "install" in str(error) or "fetch" in str(error):
            return None
        raise


def rows_of(name: str, methods: list[str], knobs: dict) -> list[dict]:
    image_file, cord_file, gray_file = IMAGES[name]
    image = load(image_file)
    row: dict = {"image": name, "method": "path"}
    try:
        path, seconds, told = timed(tubular, image)
    except ValueError as error:
        return [{**row, "error": str(error)}]
    truth = load(cord_file or CENTERLINES.get(name) or gray_file)
    mean, largest, missed = path_errors(path, truth)
    rows = [{**row, "path_mean": mean, "path_max": largest, "slices_missed": missed, "seconds": seconds}]
    probabilities, slow = None, 0.0
    if {"learned", "agreed"} & set(methods):
        try:
            probabilities, slow, _ = timed(tissues.METHODS[0], image, path)
        except (ValueError, OSError) as error:
            rows.append({"image": name, "method": "learned", "error": str(error)})
    for method in methods:
        try:
            done = segment(method, image, path, probabilities, knobs if method == methods[-1] else {})
        except ValueError as error:
            rows.append({"image": name, "method": method, "error": str(error)})
            continue
        if done is None:
            continue
        cord, seconds, told = done
        row = {
            "image": name,
            "method": method,
            "seconds": seconds + slow * (method in ("learned", "agreed")),
            "warnings": told,
        }
        if cord_file:
            row |= overlap(cord, truth)
        if probabilities is not None and gray_file and method in ("learned", "agreed"):
            row["gm_dice"] = overlap(graymatter_small(image, cord), load(gray_file))["dice"]
        rows.append(row)
    for row in rows:
        row["gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return rows


def retest(methods: list[str], knobs: dict) -> list[dict]:
    """Difference of the mean area between run 2 and run 1 of each person; %."""
    found = []
    for subject in SUBJECTS:
        for method in methods:
            areas = []
            for run in (1, 2):
                image = load(f"{GM}/sub-{subject}/anat/sub-{subject}_run-{run}_T2starw")
                path, _, _ = timed(tubular, image)
                probabilities = timed(tissues.METHODS[0], image, path)[0] if method in ("learned", "agreed") else None
                done = segment(method, image, path, probabilities, knobs)
                if done is not None:
                    areas.append(done[0].oriented().data.sum((0, 1)))
            if len(areas) == 2:
                both = (areas[0] > 0) & (areas[1] > 0)
                first, second = (float(one[both].mean()) for one in areas)
                found.append({"subject": subject, "method": method, "csa_change": 100 * (second / first - 1)})
    return found


def table(rows: list[dict], columns: tuple[str, ...], keys: tuple[str, ...]) -> str:
    lines = ["| " + " | ".join((*keys, *columns)) + " |", "|" + "---|" * (len(keys) + len(columns))]
    for row in rows:
        numbers = [f"{row[c]:.3g}" if isinstance(row.get(c), (int, float)) else "" for c in columns]
        lines.append("| " + " | ".join([*(str(row[k]) for k in keys), *numbers]) + " | " + row.get("error", ""))
    return "\n".join(lines)


def means(rows: list[dict]) -> list[dict]:
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = [row for row in rows if row["method"] == method]
        values = {c: [row[c] for row in chosen if isinstance(row.get(c), (int, float))] for c in COLUMNS}
        found.append({"image": "mean", "method": method, **{c: float(np.mean(v)) for c, v in values.items() if v}})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="images whose name holds one of these words")
    parser.add_argument("--method", nargs="+", default=[one.__name__ for one in segmentation.METHODS])
    parser.add_argument("--set", nargs="+", default=[], help="knob=value of the last method")
    parser.add_argument("--no-retest", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    knobs = {name: float(value) for name, value in (one.split("=") for one in args.set)}
    rows_of("t2s", args.method, knobs)  # the compiler's time
    chosen = [name for name in IMAGES if any(word in name for word in args.only)]
    rows = [row for name in chosen for row in rows_of(name, args.method, knobs)]
    print(table(rows + means(rows), COLUMNS, ("image", "method")))
    again = [] if args.no_retest else retest(args.method, knobs)
    if again:
        print("\n" + table(again, ("csa_change",), ("subject", "method")))
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "retest": again}, indent=1))


if __name__ == "__main__":
    main()
