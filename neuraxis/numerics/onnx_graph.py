"""Trained networks from image to image as ONNX graphs: whole, or in tiles that overlap.

An ONNX graph is a list of operators and numbers and cannot run a program, as TorchScript or a pickled model can: it is the
one form that is read here. Its numbers must lie in the graph itself. Nothing is sent anywhere: see `_runtime`.
"""

from __future__ import annotations

import functools
import itertools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array

torch = lazy.load("torch")

Sizes = tuple[int, int, int]

_CHANNELS = 4
"""An axis of at most this many entries, next to the batch or at the end, is that of the channels."""

_NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Graph:
    """One graph, ready to run. `images`: how many it takes; `fixed`: its number of voxels along each axis, 0 where it is free."""

    def __init__(self, path: Path, device: str = "cpu", threads: int = 1) -> None:
        self.name = path.name
        self._session = _session(path, device, threads)
        self._inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [list(one.shape or ()) for one in self._inputs]
        if (
            not shapes
            or len(outputs) != 1
            or any(len(one) != 5 or one[0] not in (1, None) and isinstance(one[0], int) for one in shapes)
        ):
            raise ValueError(
                f"{self.name} is no network from image to image: its inputs have the shapes {shapes}, its outputs are {len(outputs)}"
            )
        if any(one.type not in _NUMBERS for one in self._inputs):
            raise ValueError(
                f"{self.name} takes {', '.join(one.type for one in self._inputs)}, not floating-point numbers"
            )
        if any(one != shapes[0] for one in shapes):
            raise ValueError(f"the inputs of {self.name} have different shapes: {shapes}")
        free = [one if isinstance(one, int) and one > 0 else 0 for one in shapes[0]]
        self._last = 0 < free[4] <= _CHANNELS and not 0 < free[1] <= _CHANNELS
        space = free[1:4] if self._last else free[2:5]
        self.fixed: Sizes = (space[0], space[1], space[2])
        self._channels = max(free[4] if self._last else free[1], 1)
        self.images = self._channels * len(self._inputs)

    def __call__(self, images: Sequence[Array]) -> Array:
        """What the network makes of images (X, Y, Z) of a size that it takes; float32, (X, Y, Z)."""
        if len(images) != self.images:
            raise ValueError(f"{self.name} takes {self.images} image(s), not {len(images)}")
        axis, given = (-1 if self._last else 0), {}
        for number, one in enumerate(self._inputs):
            part = images[number * self._channels : (number + 1) * self._channels]
            given[one.name] = np.stack(part, axis)[None].astype(_NUMBERS[one.type], copy=False)
        try:
            found = self._session.run(None, given)[0]
        except Exception as error:  # the runtime's own classes share no other base
            raise ValueError(f"{self.name} cannot be run on {images[0].shape} voxels ({_first_line(error)})") from error
        size = images[0].shape
        if found.shape != ((1, *size, 1) if self._last else (1, 1, *size)):
            raise ValueError(
                f"{self.name} gives an output of shape {found.shape} for an image of {size} voxels: it is none of equal size"
            )
        return np.asarray(found, np.float32).reshape(size)


def load(path: Path, device: str = "cpu") -> Graph:
    """The graph of a file, kept for the next call; ValueError when it cannot be run."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    about = path.stat()
    return _cached(path, device, torch.get_num_threads(), (about.st_size, about.st_mtime_ns))


@functools.lru_cache(maxsize=2)
def _cached(path: Path, device: str, threads: int, stamp: object) -> Graph:
    return Graph(path, device, threads)


def run(
    graph: Graph, images: Sequence[Array], wanted: Array, *, multiple: int = 1, tile: int = 0, halo: int = 16
) -> Array:
    """What the network makes of images of any size; float32, (X, Y, Z), zero in tiles where nothing is wanted.

    Of each tile the outermost `halo` voxels are thrown away and the next `halo` voxels are blended with the neighbour's, save
    at the border of the image: where the network sees no farther than `halo`, tiles make no difference.

    Parameters
    ----------
    images
        What the network takes; each (X, Y, Z), float32. Zeros stand around them.
    wanted
        Where the result is used; bool, (X, Y, Z).
    multiple
        Number of voxels that the network's sizes are a multiple of; at least 1.
    tile
        Edge of a tile; voxels, at least three halos and `multiple`; 0 for none. A graph of fixed size has its own.
    halo
        Depth of a tile's rim that is not trusted; voxels, at least 0.
    """
    size = images[0].shape
    plans, befores, padded = [], [], []
    for n, fixed in zip(size, graph.fixed, strict=True):
        whole = -(-n // multiple) * multiple
        length = fixed or min(whole, max(tile // multiple, 1) * multiple if tile else whole)
        whole = max(whole, length)
        befores.append((whole - n) // 2)
        padded.append(whole)
        plans.append(_windows(whole, length, halo, 1 if fixed else multiple))
    total = np.zeros(size, np.float32)
    for chosen in itertools.product(*plans):
        inner, outer = [], []
        for (start, weights), before, n in zip(chosen, befores, size, strict=True):
            low, high = max(start, before), min(start + len(weights), before + n)
            inner.append(slice(low - start, max(high - start, low - start)))
            outer.append(slice(low - before, max(high, low) - before))
        here, there = tuple(inner), tuple(outer)
        if not wanted[there].any():
            continue
        window = tuple(len(weights) for _, weights in chosen)
        parts = []
        for one in images:
            part = np.zeros(window, np.float32)
            part[here] = one[there]
            parts.append(part)
        made = graph(parts)
        for axis, (_, weights) in enumerate(chosen):
            made *= weights.reshape([-1 if a == axis else 1 for a in range(3)])
        total[there] += made[here]
    return total


def _windows(n: int, length: int, halo: int, multiple: int) -> list[tuple[int, Array]]:
    """Where the windows start that cover `n` voxels, and their weights, which sum to one in every voxel."""
    if length >= n:
        return [(0, np.ones(length, np.float32))]
    if length < 3 * halo + multiple:
        more = f" and {multiple} voxels on top" if multiple > 1 else ""
        raise ValueError(f"a tile of {length} voxels must be more than three halos{more}, not {halo} voxels each")
    step = (length - 3 * halo) // multiple * multiple
    starts = [*range(0, n - length, step), n - length]
    place = np.arange(length) + 0.5
    weights, sums = [], np.zeros(n)
    for start in starts:
        depth = np.minimum(place if start else np.inf, place[::-1] if start + length < n else np.inf)
        weights.append(np.clip((depth - halo) / halo, 0, 1) if halo else np.ones(length))
        sums[start : start + length] += weights[-1]
    return [(s, (w / sums[s : s + length]).astype(np.float32)) for s, w in zip(starts, weights, strict=True)]


def _runtime() -> Any:
    """onnxruntime, told to send nothing: from 1.29 on, its makers' builds report models and machine unless this is set first."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f"ONNX models need the package onnxruntime ({error}); `pip install onnxruntime` brings it"
        ) from error
    onnxruntime.disable_telemetry_events()  # for a runtime that someone else has loaded before
    return onnxruntime


def _session(path: Path, device: str, threads: int) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # what a tile took is given back
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # units side by side would spin against each other
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        if "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": torch.device(device).index or 0}))
        else:
            warnings.warn("this onnxruntime has no CUDA; the network ran on the CPU", stacklevel=2)
    try:
        return runtime.InferenceSession(path.read_bytes(), options, providers=providers)
    except Exception as error:  # the runtime's own classes share no other base
        if "external data" in str(error).lower():
            raise ValueError(
                f"{path.name} keeps its numbers in other files; only a graph that holds them itself is used"
            ) from error
        raise ValueError(
            f"{path.name} is no ONNX graph that can be run; it may be cut off ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
