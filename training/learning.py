"""How the small networks are trained: two processes of one thread each, a clock instead of a number of steps, checkpoints."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Task:
    """What is learned."""

    name: str
    network: Callable[[], Any]
    source: Callable[[int], Any]
    """Seed -> what makes batches."""
    loss: Callable[[torch.Tensor, Any, float], torch.Tensor]
    """Of the network's output, a batch and the part of the time that is over."""
    examine: Callable[[nn.Module, list], dict[str, float]]
    """Figures of the network on batches that it has not learned from."""
    examined: int = 32
    """Pictures in each of these batches."""
    short_floats: bool = False
    """Convolutions in bfloat16."""


def unet(architecture: dict, classes: int) -> Any:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        classes,
        allow_init=True,
        deep_supervision=False,
    )


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


def options_of(text: str | None) -> argparse.ArgumentParser:
    """The options that all trainings have."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=90, help="length of the whole run; sets the learning rate")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each, side by side")
    parser.add_argument("--batch", type=int, default=8, help="pictures per worker and step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, help="packaged model whose weights to begin with, where OUT has no checkpoint"
    )
    parser.add_argument("--fine-tune", action="store_true", help="keep the weights, start the clock anew")
    return parser


def learn(options: argparse.Namespace, task_of: Callable[[argparse.Namespace], Task]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train, (options, task_of, f"{folder}/meeting"), nprocs=options.workers)


def train(rank: int, options: argparse.Namespace, task_of: Callable[[argparse.Namespace], Task], meeting: str) -> None:
    """One worker: makes pictures, learns, and (the first) looks at the held-out ones and saves."""
    torch.set_num_threads(1)  # threads that wait for each other at every layer are slow on a busy machine
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=options.workers)
    torch.manual_seed(options.seed)
    path = options.out / "checkpoint.pt"

    task = task_of(options)
    net = task.network()
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
    held_out = task.source(10**6)
    examples = [held_out.batch(task.examined) for _ in range(4 if rank == 0 else 0)]
    source = task.source(options.seed + step + 10**8 * (rank + 1))

    start, saved, losses = time.monotonic() - spent * 60, time.monotonic(), []
    clock = torch.tensor([spent])
    while clock.item() < options.minutes:
        batch = source.batch(options.batch)
        rate = 0.5 * (1 + math.cos(math.pi * clock.item() / options.minutes)) * options.rate + 1e-5
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100)
        net.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=task.short_floats):
            found = net(batch[0])
        loss = task.loss(found, batch, clock.item() / options.minutes)
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
            print(json.dumps(line | task.examine(mean, examples)), flush=True)
            states = {"net": net.state_dict(), "mean": mean.state_dict(), "optimizer": optimizer.state_dict()}
            save(path, states | {"step": step, "spent": spent, "view": task.name})
            saved, losses = time.monotonic(), []
