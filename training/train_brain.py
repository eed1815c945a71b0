"""Trains the small network of the brain's regions on synthetic images; see README.md.

python train_brain.py DATA_FOLDER OUT_FOLDER [--minutes 90] [--fine-tune]
Run again to go on from OUT_FOLDER/checkpoint.pt.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from brain_heads import CLASSES, HEADS, SMALL, BrainHeads, heads
from learning import Task, learn, options_of, unet
from torch import nn
from train_cord import ARCHITECTURE as SLICES

STAGES = 5
ARCHITECTURE = SLICES | {
    "arch_kwargs": SLICES["arch_kwargs"]
    | {
        "features_per_stage": [12, 24, 48, 96, 128],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * STAGES,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (STAGES - 1),
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    }
}
SHARE = [4.0 if number in SMALL else 1.0 for number in range(len(CLASSES) + 1)]
"""Of the classes in the cross-entropy: the deep nuclei would be learned last."""
EXAMINED = (13,)
"""Heads whose synthetic images are looked at on the way, and never learned from."""


def network() -> Any:
    return unet(ARCHITECTURE, len(CLASSES) + 1)


def loss_of(logits: torch.Tensor, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and Dice of the classes that are there; where the mask shows nothing, nothing is asked for."""
    seen = (image[:, 0] != 0).float()
    logits = logits.float()
    weight = logits.new_tensor(SHARE)
    entropy = (F.cross_entropy(logits, labels, weight=weight, reduction="none") * seen).sum() / (weight[labels] * seen).sum().clamp_min(1)
    part = logits.softmax(1) * seen[:, None]
    true = F.one_hot(labels, part.shape[1]).movedim(-1, 1) * seen[:, None]
    both, size = (part * true).sum((0, 2, 3, 4)), (part + true).sum((0, 2, 3, 4))
    there = true.sum((0, 2, 3, 4)) > 20
    dice = ((2 * both + 1) / (size + 1))[there]
    return entropy + 1 - dice.mean()


@torch.no_grad()
def examine(net: nn.Module, batches: list) -> dict[str, float]:
    """Median Dice of the classes, and of the deep nuclei one by one."""
    net.eval()
    out: dict[str, list[float]] = {}
    for image, labels in batches:
        for one, true, shown in zip(image, labels, image[:, 0] != 0, strict=True):
            found = net(one[None])[0].argmax(0)
            for number, structure in enumerate(CLASSES, 1):
                a, b = (found == number) & shown, (true == number) & shown
                if b.sum() > 60:
                    name = structure.short if number in SMALL else "other"
                    out.setdefault(name, []).append(float(2 * (a & b).sum() / (a.sum() + b.sum())))
    return {name: round(statistics.median(x), 3) for name, x in sorted(out.items())}


def task(options: argparse.Namespace) -> Task:
    learned = heads(options.data, options.out / "heads")
    others = heads(options.data, options.out / "heads", EXAMINED)
    return Task(
        "brain",
        network,
        lambda seed: BrainHeads(others if seed == 10**6 else learned, seed=seed),
        lambda logits, batch, over: loss_of(logits, *batch),
        examine,
        examined=4,
        short_floats=options.bfloat16,
    )


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--bfloat16", action="store_true", help="half the digits in the convolutions: faster where the processor has them")
    options = parser.parse_args()
    heads(options.data, options.out / "heads", HEADS + EXAMINED)  # before the workers start
    learn(options, task)


if __name__ == "__main__":
    main()
