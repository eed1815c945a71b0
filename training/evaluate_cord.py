"""Dice and area error of a packaged model on real images with manual masks, crops around the manual cord.

python evaluate_cord.py ../neuraxis/data/models/cord-small DATA_FOLDER [--view graymatter] [--save PICTURES]

DATA_FOLDER holds sct-testing, gm-challenge and t2w-bids. None of these images is used in training. The middle of each
crop is the centre of the manual mask, moved by a random error of up to 3 mm along each axis.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from cord_slices import CLASSES, VIEWS, View
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

GM = "gm-challenge/{0}/anat/{0}_run-1_T2starw.nii.gz", "gm-challenge/derivatives/labels/{0}/anat/{0}_run-1_T2starw_"


def cases(data: Path) -> list[tuple[str, Path, Path, Path | None]]:
    """Name, image, manual cord, manual grey matter."""
    sct = data / "sct-testing"
    out: list[tuple[str, Path, Path, Path | None]] = [
        ("T1w", sct / "t1/t1w.nii.gz", sct / "t1/t1w_seg-manual.nii.gz", None),
        ("T2w", sct / "t2/t2.nii.gz", sct / "t2/t2_seg-manual.nii.gz", None),
        ("T2*w", sct / "t2s/t2s.nii.gz", sct / "t2s/t2s_seg.nii.gz", sct / "t2s/t2s_gmseg_manual.nii.gz"),
        ("MT off", sct / "mt/mt0.nii.gz", sct / "mt/mt0_seg.nii.gz", None),
        ("MT on", sct / "mt/mt1.nii.gz", sct / "mt/mt1_seg.nii.gz", sct / "mt/mt1_gmseg.nii.gz"),
    ]
    for folder in sorted((data / "gm-challenge").glob("sub-*")):
        sub = folder.name
        image, labels = (data / part.format(sub) for part in GM)
        cord, gm = (labels.with_name(labels.name + f"{k}-manual.nii.gz") for k in ("seg", "gmseg"))
        out.append((f"T2*w {sub}", image, cord, gm))
    manual = sorted((data / "t2w-bids").rglob("sub-11*seg*.nii.gz"))
    images = sorted((data / "t2w-bids" / "sub-11").rglob("*T2w.nii.gz"))
    if manual and images:
        out.append(("T2w sub-11", images[0], manual[0], None))
    return out


def upright(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image: Any = nib.load(path)
    image = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt("LAS")))
    return np.asarray(image.dataobj, np.float32).squeeze(), np.array(image.header.get_zooms()[:3])


def cut(plane: np.ndarray, middle: np.ndarray, voxel: np.ndarray, view: View) -> np.ndarray:
    """Crop (A-P, R-L) of one plane (R-L, A-P), linear, zero outside the image."""
    at = (np.arange(view.size) - (view.size - 1) / 2) * view.step
    x, y = middle[0] + at / voxel[0], middle[1] + at / voxel[1]
    where = np.stack(np.meshgrid(y, x, indexing="ij"))[::-1]
    return ndimage.map_coordinates(plane, where, order=1)


def standard(stack: np.ndarray) -> np.ndarray:
    """Each slice by itself: mean 0, SD 1."""
    deviation = stack.std((1, 2), keepdims=True)
    return (stack - stack.mean((1, 2), keepdims=True)) / np.where(deviation > 0, deviation, 1)


def predictor(folder: Path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
        made.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    return made.network.eval()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def percent(a: np.ndarray, b: np.ndarray) -> float:
    return round(100 * float(a.sum() / b.sum() - 1), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--view", choices=list(VIEWS), default="cord")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", type=Path, help="folder for one picture per image")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    view = VIEWS[options.view]
    net = predictor(options.model)
    for name, image_path, cord_path, gm_path in cases(options.data):
        if not (image_path.exists() and cord_path.exists()):
            print(json.dumps({"image": name, "missing": str(image_path)}))
            continue
        image, voxel = upright(image_path)
        cord, _ = upright(cord_path)
        gm = upright(gm_path)[0] if gm_path is not None and gm_path.exists() else None
        wrong = min(3.0, view.off)  # mm, of the middle of the crop
        random = np.random.default_rng(0)
        slices = np.flatnonzero((cord > 0.5).sum((0, 1)) > 4)
        slices = slices[:: max(1, len(slices) // 80)]
        stacks = []
        for z in slices:
            middle = np.argwhere(cord[..., z] > 0.5).mean(0) + random.uniform(-wrong, wrong, 2) / voxel[:2]
            planes = [image[..., z], cord[..., z]] + ([gm[..., z]] if gm is not None else [])
            stacks.append([cut(p, middle, voxel, view) for p in planes])
        stack = np.array(stacks)
        start = time.monotonic()
        with torch.no_grad():
            given = torch.from_numpy(standard(stack[:, 0])).float()[:, None]
            part = torch.sigmoid(torch.cat([net(some) for some in given.split(32)])).numpy()
        spent = time.monotonic() - start
        row: dict[str, object] = {"image": name, "slices": len(slices)}
        row |= {"dice cord": round(dice(part[:, 1] > 0.5, stack[:, 1] > 0.5), 3)}
        row |= {
            "worst slice": round(min(dice(p > 0.5, m > 0.5) for p, m in zip(part[:, 1], stack[:, 1], strict=True)), 3)
        }
        row |= {"area error cord %": percent(part[:, 1], stack[:, 1])}
        row |= {"canal mm2": round(float(part[:, 0].sum((1, 2)).mean()) * view.step**2, 1)}
        if gm is not None:
            marked = stack[:, 2].sum((1, 2)) > 4
            a, b = part[marked, 2], stack[marked, 2]
            row |= {"dice gray": round(dice(a > 0.5, b > 0.5), 3)}
            row |= {"area error gray %": percent(a, b)}
        print(json.dumps(row | {"ms per slice": round(1000 * spent / len(slices), 1)}), flush=True)
        if options.save:
            picture(options.save / f"{name.replace(' ', '_').replace('*', 's')}.png", stack, part)


def picture(path: Path, stack: np.ndarray, part: np.ndarray) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.linspace(0, len(stack) - 1, min(8, len(stack))).astype(int)
    figure, rows = plt.subplots(2, len(shown), figsize=(2 * len(shown), 4), squeeze=False)
    for k, z in enumerate(shown):
        for row in rows:
            row[k].imshow(stack[z, 0], origin="lower", cmap="gray")
            row[k].axis("off")
        for c, colour in enumerate(("cyan", "red", "yellow")[: len(CLASSES)]):
            rows[1, k].contour(part[z, c], [0.5], colors=colour, linewidths=0.8)
        rows[0, k].contour(stack[z, 1], [0.5], colors="lime", linewidths=0.8)
        if stack.shape[1] > 2:
            rows[0, k].contour(stack[z, 2], [0.5], colors="orange", linewidths=0.8)
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    figure.savefig(path, dpi=60)
    plt.close(figure)


if __name__ == "__main__":
    main()
