"""Trains the small network of cord, canal and grey matter on synthetic slices; see README.md.

python train_cord.py PAM50_FOLDER OUT_FOLDER [--minutes 90] [--fine-tune]
Run again to go on from OUT_FOLDER/checkpoint.pt.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from cord_slices import CLASSES, VIEWS, CordSlices, read_fields
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


def network() -> Any:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return get_network_from_plans(
        ARCHITECTURE["network_class_name"],
        ARCHITECTURE["arch_kwargs"],
        ARCHITECTURE["_kw_requires_import"],
        1,
        len(CLASSES),
        allow_init=True,
        deep_supervision=False,
    )


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


def save(path: Path, state: dict) -> None:
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def average(net: nn.Module) -> None:
    """Mean of the gradients of all workers; they wait for each other without burning time."""
    flat = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for p in net.parameters():
        if p.grad is not None:
            p.grad.copy_(flat[start : start + p.numel()].view_as(p))
            start += p.numel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pam50", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--view", choices=list(VIEWS), default="cord", help="the model to train")
    parser.add_argument("--minutes", type=float, default=90, help="length of the whole run; sets the learning rate")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each, side by side")
    parser.add_argument("--batch", type=int, default=8, help="slices per worker and step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="packaged model whose weights to begin with, where OUT has no checkpoint")
    parser.add_argument("--fine-tune", action="store_true", help="keep the weights, start the clock anew")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train, (options, f"{folder}/meeting"), nprocs=options.workers)


def train(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """One worker: makes slices, learns, and (the first) looks at the held-out ones and saves."""
    torch.set_num_threads(1)  # threads that wait for each other at every layer are slow on a busy machine
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=options.workers)
    torch.manual_seed(options.seed)
    path = options.out / "checkpoint.pt"

    net = network()
    nn.init.constant_(net.decoder.seg_layers[-1].bias, -3.0)  # most pixels are background
    mean = copy.deepcopy(net)  # moving average of the weights: the model that is kept
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=1e-3)
    step, spent = 0, 0.0  # minutes
    if path.exists():
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], 0.0 if options.fine_tune else state["spent"]
    elif options.start:
        packaged = torch.load(options.start / "fold_0" / "checkpoint_final.pth", weights_only=True)
        net.load_state_dict(packaged["network_weights"])
        mean.load_state_dict(packaged["network_weights"])
        step = packaged["current_epoch"]
    fields = read_fields(options.pam50)
    view = VIEWS[options.view]
    held_out = CordSlices(fields, view, seed=10**6)
    examples = [held_out.batch(32) for _ in range(4 if rank == 0 else 0)]
    source = CordSlices(fields, view, seed=options.seed + step + 10**8 * (rank + 1))

    start, saved, losses = time.monotonic() - spent * 60, time.monotonic(), []
    clock = torch.tensor([spent])
    while clock.item() < options.minutes:
        image, labels, weight = source.batch(options.batch)
        rate = 0.5 * (1 + math.cos(math.pi * clock.item() / options.minutes)) * options.rate + 1e-5
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100)
        net.train()
        overlap = max(0.0, 1 - 2 * clock.item() / options.minutes)
        loss = loss_of(net(image), labels, weight, overlap, view.share)
        optimizer.zero_grad()
        loss.backward()
        average(net)
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step += 1
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)
        losses.append(loss.item())
        clock[0] = (time.monotonic() - start) / 60
        dist.broadcast(clock, 0)  # one clock, so that all stop together
        spent = clock.item()
        if rank == 0 and (time.monotonic() - saved > (60 if step < 300 else 240) or spent >= options.minutes):
            line = {"step": step, "minutes": round(spent, 1), "loss": round(sum(losses) / len(losses), 4)}
            print(json.dumps(line | examine(mean, examples)), flush=True)
            states = {"net": net.state_dict(), "mean": mean.state_dict(), "optimizer": optimizer.state_dict()}
            save(path, states | {"step": step, "spent": spent, "view": options.view})
            saved, losses = time.monotonic(), []


if __name__ == "__main__":
    main()
