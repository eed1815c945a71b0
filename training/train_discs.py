"""Trains the small network of numbered discs on synthetic straightened pictures; see README.md.

python train_discs.py PAM50_FOLDER OUT_FOLDER [--minutes 40] [--fine-tune]
Run again to go on from OUT_FOLDER/checkpoint.pt.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from disc_pictures import C2, FIRST, LAST, DiscPictures, Shapes
from learning import Task, learn, options_of, unet
from torch import nn
from train_cord import ARCHITECTURE as SLICES

STAGES = 6
ARCHITECTURE = SLICES | {
    "arch_kwargs": SLICES["arch_kwargs"]
    | {
        "n_stages": STAGES,
        "features_per_stage": [12, 24, 48, 80, 96, 96],
        "kernel_sizes": [[3, 3]] * STAGES,
        "strides": [[1, 1]] + [[2, 2]] * 4 + [[2, 1]],
        "n_conv_per_stage": [1, 2, 2, 2, 2, 2],
        "n_conv_per_stage_decoder": [1] * (STAGES - 1),
    }
}
NUMBERS = LAST - FIRST + 1
WEIGHTS = [1.0, 1.0, 2.0] + [4.0] * NUMBERS  # background, bodies, C2, discs


def network() -> Any:
    return unet(ARCHITECTURE, len(WEIGHTS))


def loss_of(logits: torch.Tensor, labels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the classes where something is seen; and, on discs, of their numbers, which are learned last."""
    weight = logits.new_tensor(WEIGHTS)
    all_classes = (F.cross_entropy(logits, labels, weight=weight, reduction="none") * seen).sum()
    on = (labels >= FIRST) & (seen > 0)
    number = F.cross_entropy(logits[:, FIRST:].permute(0, 2, 3, 1)[on], labels[on] - FIRST)
    return all_classes / (weight[labels] * seen).sum().clamp_min(1) + 0.4 * number


@torch.no_grad()
def examine(net: nn.Module, batches: list) -> dict[str, float]:
    """Dice of discs and of C2; on discs, how often the number is right, or one off, and its mean log-loss."""
    net.eval()
    out: dict[str, list[torch.Tensor]] = {}
    for image, labels, seen in batches:
        part = net(image).softmax(1)
        for name, found, true in (
            ("dice discs", part[:, FIRST:].sum(1) > 0.5, labels >= FIRST),
            ("dice C2", part.argmax(1) == C2, labels == C2),
        ):
            found, true = found & (seen > 0), true & (seen > 0)
            out.setdefault(name, []).append(2 * (found & true).sum() / (found.sum() + true.sum()).clamp_min(1))
        on = (labels >= FIRST) & (seen > 0)
        number, true = part[:, FIRST:].permute(0, 2, 3, 1)[on], labels[on] - FIRST
        off = (number.argmax(1) - true).abs()
        out.setdefault("number right", []).append((off == 0).float().mean())
        out.setdefault("at most one off", []).append((off < 2).float().mean())
        chance = (number / number.sum(1, keepdim=True).clamp_min(1e-6)).gather(1, true[:, None])
        out.setdefault("log-loss of the number", []).append(-chance.clamp_min(1e-6).log().mean())
    return {name: round(float(torch.stack(x).mean()), 4) for name, x in out.items()}


def task(options: argparse.Namespace) -> Task:
    shapes = Shapes.read(options.data)
    return Task(
        "discs",
        network,
        lambda seed: DiscPictures(shapes, seed),
        lambda logits, batch, _: loss_of(logits, *batch[1:]),
        examine,
    )


if __name__ == "__main__":
    learn(options_of(__doc__).parse_args(), task)
