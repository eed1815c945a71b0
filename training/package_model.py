"""Turns a checkpoint of one of the trainings into an nnU-Net v2 model folder with a manifest of sha256 sums.

python package_model.py OUT_FOLDER/checkpoint.pt ../neuraxis/data/models/cord-small
The checkpoint knows what it was trained for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from brain_heads import CLASSES, PATCH, STEP
from cord_slices import VIEWS
from disc_pictures import COLUMNS, FIRST, LAST
from train_brain import ARCHITECTURE as BRAIN_ARCHITECTURE
from train_cord import ARCHITECTURE
from train_discs import ARCHITECTURE as DISCS_ARCHITECTURE

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


@dataclass(frozen=True)
class About:
    """What nnU-Net has to know of one of the models."""

    name: str
    description: str
    labels: dict
    step: tuple[float, ...]  # mm; of slices in plane, of volumes in nnU-Net's order of axes
    size: tuple[int, ...]
    architecture: dict = field(default_factory=lambda: ARCHITECTURE)
    orientation: str = "RPI"
    half: bool = False  # weights kept as float16
    mirrored: tuple[int, ...] | None = (1,)  # the body is alike left and right only
    licence: str = "MIT (PAM50, whose shapes it learned)"

    @property
    def flat(self) -> bool:
        return len(self.size) == 2

    @property
    def configuration(self) -> str:
        return "2d" if self.flat else "3d_fullres"

    def dataset(self) -> dict:
        return {
            "name": self.name,
            "description": self.description,
            "licence": self.licence,
            "image_orientation": self.orientation,
            "channel_names": {"0": "MRI"},
            "labels": self.labels,
            **({"regions_class_order": [1, 2, 3]} if isinstance(list(self.labels.values())[-1], list) else {}),
            "numTraining": 0,
            "file_ending": ".nii.gz",
        }


def slices(name: str, kind: str) -> About:
    step, size = VIEWS[kind].step, VIEWS[kind].size
    return About(
        name,
        "Spinal canal, cord and grey matter on axial slices of any contrast. Trained on synthetic slices "
        "made from the PAM50 template's label maps. Input (slice, A-P, R-L), indices growing up, to the front, to the "
        f"left; slices of {step} x {step} mm, {size} x {size} pixels around the cord.",
        {"background": 0, "canal": [1, 2, 3], "cord": [2, 3], "gray_matter": [3]},
        (step, step),
        (size, size),
    )


MODELS = {
    "cord": slices("Dataset501_CordSmall", "cord"),
    "graymatter": slices("Dataset502_CordGrayMatter", "graymatter"),
    "discs": About(
        "Dataset503_CordDiscs",
        "Vertebral bodies, C2 and numbered discs (disc n lies above vertebra n: 3 is C2/C3) on sagittal pictures of any contrast, "
        "straightened along the cord. Trained on synthetic pictures made from the PAM50 template's label maps. Input "
        "(1, along the cord upwards, to the front) at (1, 2) mm, from 28 mm behind the cord's centre.",
        {"background": 0, "body": 1, "C2": 2} | {f"disc_{n}": n for n in range(FIRST, LAST + 1)},
        (1.0, 2.0),
        (320, COLUMNS),
        DISCS_ARCHITECTURE,
        "LPI",
        half=True,
        mirrored=None,
    ),
    "brain": About(
        "Dataset504_BrainSmall",
        "Structures of the brain, left and right as one, on images of any contrast, zero outside the brain. Trained on synthetic images "
        "made from label maps of heads and the deep nuclei of CIT168.",
        {"background": 0} | {one.name: n for n, one in enumerate(CLASSES, 1)},
        (STEP,) * 3,
        PATCH[::-1],
        BRAIN_ARCHITECTURE,
        "LPI",
        half=True,
        mirrored=(2,),
        licence="Apache-2.0 (label maps of SynthSeg) and CC BY 4.0 (CIT168), whose shapes it learned",
    ),
}


def plans(about: About) -> dict:
    return {
        "dataset_name": about.name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [*([3.0] if about.flat else []), *about.step],
        "original_median_shape_after_transp": [*([20] if about.flat else []), *about.size],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "none: written by package_model.py",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"max": 1.0, "mean": 0.0, "median": 0.0, "min": -1.0, "percentile_00_5": -1.0, "percentile_99_5": 1.0}
            | {"std": 1.0}
        },
        "configurations": {
            about.configuration: {
                "data_identifier": f"nnUNetPlans_{about.configuration}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 16,
                "patch_size": list(about.size),
                "median_image_size_in_voxels": [float(size) for size in about.size],
                "spacing": list(about.step),
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [not about.flat],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": RESAMPLING,
                "resampling_fn_seg_kwargs": RESAMPLING | {"is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": RESAMPLING | {"order": 1},
                "architecture": about.architecture,
                "batch_dice": True,
            }
        },
    }


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """In float16; what has several names stays one."""
    made: dict[int, torch.Tensor] = {}
    return {name: made.setdefault(one.data_ptr(), one.half()) for name, one in weights.items()}


def package(checkpoint: Path, folder: Path) -> None:
    """Writes beside `folder` and then swaps, so that a reader always finds a whole model."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    about = MODELS[state.get("view", "cord")]
    fresh = folder.with_name(folder.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "fold_0").mkdir(parents=True)
    (fresh / "plans.json").write_text(json.dumps(plans(about), indent=1) + "\n")
    (fresh / "dataset.json").write_text(json.dumps(about.dataset(), indent=1) + "\n")
    torch.save(
        {
            "network_weights": halved(state["mean"]) if about.half else dict(state["mean"]),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": about.configuration},
            "inference_allowed_mirroring_axes": about.mirrored,
            "current_epoch": state["step"],
        },
        fresh / "fold_0" / "checkpoint_final.pth",
    )
    files = sorted(p for p in fresh.rglob("*") if p.is_file())
    sums = {str(p.relative_to(fresh)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    (fresh / "sha256.json").write_text(json.dumps(sums, indent=1) + "\n")
    if folder.exists():
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
        os.replace(fresh, folder)
        shutil.rmtree(old)
    else:
        os.replace(fresh, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    package(options.checkpoint, options.folder)
    print(f"{sum(p.stat().st_size for p in options.folder.rglob('*')) / 1e6:.1f} MB in {options.folder}")


if __name__ == "__main__":
    main()
