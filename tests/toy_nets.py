"""Trained nnU-Net folders whose networks compute a known function of the image: a threshold of a shifted voxel."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

STEEPNESS = 40.0
REGIONS = {"background": 0, "low": [1, 2], "high": 2}
CLASSES = {"background": 0, "low": 1, "high": 2}


def toy_net(
    folder: Path,
    *,
    dimensions: int = 3,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    patch: tuple[int, ...] = (16, 16, 16),
    thresholds: tuple[float, ...] = (0.5, 1.5),
    labels: dict | None = None,
    order: tuple[int, ...] | None = None,
    folds: dict[str, float] | None = None,
    shift: tuple[int, ...] | None = None,
    checkpoint: str = "final",
    normalisation: str = "NoNormalization",
    extra: dict | None = None,
    configuration: str | None = None,
    transpose: tuple[int, int, int] = (0, 1, 2),
    poison: object = None,
    mirror: tuple[int, ...] | None = None,
    steepness: float = STEEPNESS,
) -> Path:
    """A folder as nnU-Net's trainer leaves it. Channel c is sure where the image is over thresholds[c].

    `folds`: fold -> what is added to its thresholds. `shift`: -1, 0 or 1 along each axis of the network (z, y, x): it
    looks at the voxel that lies there. Without regions, the classes are the intervals between the thresholds.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    labels = labels or REGIONS
    regions = any(isinstance(v, list) and len(v) > 1 for v in labels.values())
    configuration = configuration or ("2d" if dimensions == 2 else "3d_fullres")
    conv = f"torch.nn.modules.conv.Conv{dimensions}d"
    kernel = [3] * dimensions
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    plans = {
        "dataset_name": "Dataset999_Toy",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [transpose.index(i) for i in range(3)],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 0.0, "std": 1.0}},
        "configurations": {
            configuration: {
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch[-dimensions:]),
                "spacing": list(spacing[-dimensions:]),
                "normalization_schemes": [normalisation],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": resampling | {"is_seg": True},
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": 2,
                        "features_per_stage": [2, 2],
                        "conv_op": conv,
                        "kernel_sizes": [kernel, kernel],
                        "strides": [[1] * dimensions, [2] * dimensions],
                        "n_conv_per_stage": [1, 1],
                        "n_conv_per_stage_decoder": [1],
                        "conv_bias": True,
                        "norm_op": None,
                        "norm_op_kwargs": {},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                **(extra or {}),
            }
        },
    }
    dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    if regions:
        dataset["regions_class_order"] = list(order or range(1, len(labels)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    manager = PlansManager(plans)
    for fold, added in (folds or {"0": 0.0}).items():
        moved = [one + added for one in thresholds]
        weights = _weights(manager, configuration, moved, regions, shift or (0,) * dimensions, steepness)
        saved = {
            "network_weights": weights,
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.6)], "lrs": [np.int64(3)]},
            "_best_ema": np.float64(0.7),
            "current_epoch": 1,
            "init_args": {
                "plans": plans,
                "configuration": configuration,
                "fold": 0,
                "dataset_json": dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirror,
        }
        if poison is not None:
            saved["logging"] = poison
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(saved, folder / f"fold_{fold}" / f"checkpoint_{checkpoint}.pth")
    return folder


def manifest(folder: Path) -> None:
    """Writes the sha256.json of a model of the package."""
    files = [one for one in sorted(folder.rglob("*")) if one.is_file() and one.name != "sha256.json"]
    sums = {one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}
    (folder / "sha256.json").write_text(json.dumps(sums))


def _weights(manager, configuration, thresholds, regions, shift, steepness):
    """All zero, save a way through the first skip connection that keeps the sign: lrelu(x) - lrelu(-x) is 1.01 x."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    setup = manager.get_configuration(configuration)
    heads = len(thresholds) + (not regions)
    network = get_network_from_plans(
        setup.network_arch_class_name,
        setup.network_arch_init_kwargs,
        setup.network_arch_init_kwargs_req_import,
        1,
        heads,
        allow_init=False,
        deep_supervision=False,
    )
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    centre = tuple(1 + s for s in shift)
    middle = (1,) * len(shift)
    for name in state:
        if "encoder.stages.0" in name and name.endswith("weight"):  # one layer has several names
            state[name][(0, 0, *centre)], state[name][(1, 0, *centre)] = 1, -1
        if name.startswith("decoder.stages.0") and name.endswith("weight"):
            for row, sign in ((0, 1), (1, -1)):  # its inputs are 2 from below, then the 2 of the skip connection
                state[name][(row, 2, *middle)], state[name][(row, 3, *middle)] = sign, -sign
        if name.startswith("decoder.seg_layers.0") and name.endswith("weight"):
            for head in range(heads):
                steps = 1 if regions else head
                state[name][head, 0], state[name][head, 1] = steepness * steps / 1.01**2, -steepness * steps / 1.01**2
        if name.startswith("decoder.seg_layers.0") and name.endswith("bias"):
            for head in range(heads):
                below = thresholds[head] if regions else sum(thresholds[:head])
                state[name][head] = -steepness * below
    network.load_state_dict(state)
    return {name: value.clone() for name, value in network.state_dict().items()}
