"""Trains the small network of cord, canal and grey matter on synthetic slices; see README.md.

python train_cord.py PAM50_FOLDER OUT_FOLDER [--minutes 90] [--fine-tune]
Run again to go on from OUT_FOLDER/checkpoint.pt.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from cord_slices import CLASSES, VIEWS, CordSlices, read_fields
from learning import Task, learn, options_of, unet
from torch import nn

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 5,
        "features_per_stage": [12, 24, 48, 96, 128],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * 5,
        "strides": [[1, 1]] + [[2, 2]] * 4,
        "n_conv_per_stage": [1, 2, 2, 2, 2],
        "n_conv_per_stage_decoder": [1] * 4,
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}


def loss_of(
    logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, overlap: float, share: tuple[float, ...]
) -> torch.Tensor:
    """Cross-entropy (`share`: of each class), and in the first half of the training (`overlap` from 1 to 0) Dice.

    Dice finds small things quickly, but under uncertainty it is best at p = (expected coverage) / Dice, so that areas
    come out too large. Cross-entropy is least at p = expected coverage: the sum of p is the area.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean((2, 3))
    part = torch.sigmoid(logits)
    both = (weight * (part * labels).sum((2, 3))).sum(0)
    size = (weight * (part.square() + labels.square()).sum((2, 3))).sum(0)
    dice = (2 * both + 1) / (size + 1)
    return 6 * (weight * entropy * entropy.new_tensor(share)).mean() + overlap * (1 - dice).mean()


@torch.no_grad()
def examine(net: nn.Module, batches: list) -> dict[str, float]:
    """Median Dice of the thresholded maps and error of the area (percent); grey matter where it can be seen."""
    net.eval()
    out: dict[str, list[float]] = {}
    for image, labels, weight in batches:
        part = torch.sigmoid(net(image))
        a, b = part > 0.5, labels > 0.5
        dice = 2 * (a & b).sum((2, 3)) / (a.sum((2, 3)) + b.sum((2, 3))).clamp_min(1)
        area = 100 * (part.sum((2, 3)) / labels.sum((2, 3)).clamp_min(1) - 1)
        use = (labels.sum((2, 3)) > 8) & (weight > 0.5)
        for k, name in enumerate(CLASSES):
            out.setdefault(f"dice {name}", []).extend(dice[:, k][use[:, k]].tolist())
            out.setdefault(f"area error {name}", []).extend(area[:, k][use[:, k]].tolist())
    return {name: round(statistics.median(x), 4) for name, x in out.items()}


def network() -> Any:
    net = unet(ARCHITECTURE, len(CLASSES))
    nn.init.constant_(net.decoder.seg_layers[-1].bias, -3.0)  # most pixels are background
    return net


def task(options: argparse.Namespace) -> Task:
    fields, view = read_fields(options.data), VIEWS[options.view]
    return Task(
        options.view,
        network,
        lambda seed: CordSlices(fields, view, seed=seed),
        lambda logits, batch, over: loss_of(logits, *batch[1:], max(0.0, 1 - 2 * over), view.share),
        examine,
    )


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--view", choices=list(VIEWS), default="cord", help="the model to train")
    learn(parser.parse_args(), task)


if __name__ == "__main__":
    main()
