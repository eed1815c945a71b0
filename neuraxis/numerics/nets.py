"""Trained nnU-Net v2 models: a volume in, probabilities of the classes on its own grid out.

Any trained folder runs: 2d, 3d_lowres, 3d_fullres, one fold or many, classes or overlapping regions. Preprocessing, network
and sliding window are those of `nnunetv2` (Isensee 2021, doi:10.1038/s41592-020-01008-z), in this process, with nothing
written and nothing printed. Checkpoints are read as numbers only: one that holds program code is refused.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Volume

torch = lazy.load("torch")

Box = tuple[slice, slice, slice]
Blend = Literal["probabilities", "logits"]

_device: ContextVar[str] = ContextVar("device", default="cpu")
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


@contextlib.contextmanager
def running_on(device: str) -> Iterator[None]:
    """Networks run on this device ("cpu", "cuda", "cuda:1") inside the block; on the CPU without it."""
    token = _device.set(device)
    try:
        yield
    finally:
        _device.reset(token)


@dataclass(frozen=True)
class Classes:
    """What the channels of a model mean.

    Parameters
    ----------
    names
        Name of each channel; the first is the background, unless the model has regions.
    values
        Label of each channel in a label map, in the order of painting.
    regions
        Whether the channels are sets that may overlap (sigmoid) instead of classes that exclude each other (softmax).
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    regions: bool

    def channel(self, *names: str) -> int:
        """Number of the first of these channels that the model has; ValueError if it has none."""
        for name in names:
            if name in self.names:
                return self.names.index(name)
        raise ValueError(f"the model has no class {' or '.join(names)}; it has {', '.join(self.names)}")


def trained_folders(model: Path) -> tuple[Path, ...]:
    """The trained folders (plans.json, dataset.json, fold_*) in `model`: one, or several that are one ensemble."""
    if not model.is_dir():
        raise ValueError(f"there is no model folder {model}")
    found = sorted({one.parent for one in [model / "plans.json", *model.rglob("plans.json")] if one.is_file()})
    found = [one for one in found if (one / "dataset.json").is_file() and _fold_names(one)]
    if not found:
        raise ValueError(f"{model} holds no trained nnU-Net: plans.json, dataset.json and fold_* with a checkpoint")
    if len({_labels_text(one) for one in found}) > 1:
        raise ValueError(
            f"{model} holds models of different classes ({', '.join(one.name for one in found)}): choose one"
        )
    return tuple(found)


def classes(model: Path) -> Classes:
    """What the channels of a trained model mean; read from its dataset.json alone."""
    dataset = _dataset(trained_folders(model)[0])
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    if any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        inner = [name for name, value in labels.items() if value not in (0, [0])]
        return Classes(tuple(inner), tuple(int(v) for v in dataset["regions_class_order"]), True)
    single = {name: int(value[0] if isinstance(value, list) else value) for name, value in labels.items()}
    ordered = sorted(single, key=lambda name: single[name])
    return Classes(tuple(ordered), tuple(single[name] for name in ordered), False)


def trained_orientation(model: Path, default: str = "LPI") -> str:
    """Where the voxel axes of the training images came from: `image_orientation` of dataset.json, or `default`."""
    return str(_dataset(trained_folders(model)[0]).get("image_orientation") or default or "LPI")


def predict(
    volume: Volume,
    model: Path,
    *,
    folds: Literal["all"] | tuple[int, ...] | None = None,
    checkpoint: Literal["final", "best"] | None = None,
    mirroring: bool = False,
    step: float = 0.5,
    orientation: str | None = None,
    box: Box | None = None,
    blend: Blend = "probabilities",
    device: str | None = None,
    trust: bool = False,
) -> Volume:
    """Probabilities of the classes, (X, Y, Z, C) float32, on the grid of `volume`.

    Parameters
    ----------
    volume
        Image, (X, Y, Z), or (X, Y, Z, channels) for a model of several channels; finite, any orientation.
    model
        A trained folder, or one that holds it.
    folds
        Folds whose probabilities are averaged; None is all that there are, "all" the one trained on all data.
    checkpoint
        "final" or "best"; None is the final one, or the best where it is missing.
    mirroring
        Average over mirrored images, as far as the model allows; 2 to 8 times slower.
    step
        Step of the sliding window in windows; over 0, to 1. Smaller is smoother and slower.
    orientation
        Where the voxel axes of the training images came from, in the letters of the Spinal Cord Toolbox ("LPI" is nibabel's
        RAS); None is that of `trained_orientation`.
    box
        Voxels of `volume` that are looked at; outside is background.
    blend
        What is brought back from the model's voxels to those of the volume: "probabilities" (averaged into coarser voxels,
        so that partial volume is kept) or "logits" (nnU-Net's own way).
    device
        "cpu" or "cuda"; None is that of `running_on`.
    trust
        Load checkpoints that hold more than numbers. They can run any program: only for files of your own.
    """
    folders = trained_folders(model)
    if not 0 < step <= 1:
        raise ValueError(f"the step of the sliding window must be over 0 and at most 1, not {step}")
    if blend not in ("probabilities", "logits"):
        raise ValueError(f"blend must be probabilities or logits, not {blend}")
    if not np.isfinite(volume.data).all():
        raise ValueError("the image holds values that are not finite")
    found: Array | None = None
    runs = [(one, fold) for one in folders for fold in _chosen_folds(one, folds)]
    if box is not None:
        box = _whole(box, volume.grid.shape)
    for folder, fold in runs:
        network = _network(folder, _checkpoint(folder, fold, checkpoint), mirroring, float(step), trust)
        upright = volume.oriented(axes(orientation or trained_orientation(folder)))
        part = _box_onto(box, volume, upright)
        one = network.probabilities(upright.data[part], upright.grid.voxel_size, blend, device or _device.get())
        whole = np.zeros((*upright.grid.shape, one.shape[-1]), np.float32)
        if not network.regions:
            whole[..., 0] = 1
        whole[part] = one
        back = Volume(whole, upright.grid).onto(volume.grid).data
        found = np.array(back, np.float32, order="C") if found is None else np.add(found, back, out=found)
    assert found is not None
    return Volume(found if len(runs) == 1 else found / len(runs), volume.grid)


def segment(volume: Volume, model: Path, **options: Any) -> Volume:
    """The label map (int16) of a trained model on the grid of `volume`; `options` as in `predict`."""
    return Volume(label_map(predict(volume, model, **options).data, classes(model)), volume.grid)


def label_map(probabilities: Array, meaning: Classes) -> Array:
    """Label of each voxel: the likeliest class; of regions, each that is over 0.5, painted in the model's order."""
    values = np.array(meaning.values, np.int16)
    if not meaning.regions:
        return values[probabilities.argmax(axis=-1)]
    painted = np.zeros(probabilities.shape[:-1], np.int16)
    for number, value in enumerate(values):
        painted[probabilities[..., number] > 0.5] = value
    return painted


def axes(orientation: str) -> str:
    """nibabel's codes (where the axes point to) of the toolbox's (where they come from)."""
    if len(orientation) != 3 or len({"LRAPSI".find(c) // 2 for c in orientation} - {-1}) != 3:
        raise ValueError(f"{orientation!r} is no orientation; it takes three letters such as RPI")
    return "".join(_OPPOSITE[code] for code in orientation)


def _whole(box: Box, shape: Sequence[int]) -> Box:
    ranges = [range(n)[one] for one, n in zip(box, shape, strict=True)]
    if any(len(one) == 0 or one.step != 1 for one in ranges):
        raise ValueError(f"the box {box} holds no voxel of an image of {tuple(shape)}")
    x, y, z = (slice(one.start, one.stop) for one in ranges)
    return x, y, z


def _box_onto(box: Box | None, volume: Volume, upright: Volume) -> Box:
    """The same voxels in the turned volume."""
    if box is None:
        return slice(None), slice(None), slice(None)
    corners = np.array([[s.start for s in box] + [1], [s.stop - 1 for s in box] + [1]], float).T
    there = np.rint(np.linalg.solve(upright.grid.matrix, volume.grid.matrix @ corners))[:3].astype(int)
    x, y, z = (slice(int(low), int(high) + 1) for low, high in np.sort(there, axis=1))
    return x, y, z


@functools.lru_cache(maxsize=64)
def _read_json(path: Path, stamp: tuple[int, int]) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from error


def _dataset(folder: Path) -> Mapping[str, Any]:
    path = folder / "dataset.json"
    found = _read_json(path, _stamp(path))
    if "labels" not in found:
        raise ValueError(f"{path} names no labels")
    return found


def _labels_text(folder: Path) -> str:
    return json.dumps(_dataset(folder)["labels"], sort_keys=True)


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _fold_names(folder: Path) -> list[str]:
    return sorted(one.parent.name[5:] for one in folder.glob("fold_*/checkpoint_*.pth") if one.is_file())


def _chosen_folds(folder: Path, folds: Literal["all"] | tuple[int, ...] | None) -> tuple[str, ...]:
    there = list(dict.fromkeys(_fold_names(folder)))
    numbered = [one for one in there if one != "all"]
    asked = (numbered or there) if folds is None else [folds] if isinstance(folds, str) else [str(one) for one in folds]
    absent = [one for one in asked if one not in there]
    if absent or not asked:
        raise ValueError(f"{folder} has no fold {', '.join(absent)}; it has {', '.join(there)}")
    return tuple(asked)


def _checkpoint(folder: Path, fold: str, kind: str | None) -> Path:
    for one in ("final", "best") if kind is None else (kind,):
        path = folder / f"fold_{fold}" / f"checkpoint_{one}.pth"
        if path.is_file():
            return path
    raise ValueError(f"{folder / f'fold_{fold}'} has no checkpoint {kind or 'final or best'}")


def _network(folder: Path, checkpoint: Path, mirroring: bool, step: float, trust: bool) -> Any:
    stamps = tuple(_stamp(one) for one in (folder / "plans.json", folder / "dataset.json", checkpoint))
    return _cached_network(folder, checkpoint, mirroring, step, trust, stamps)


@functools.lru_cache(maxsize=6)  # an ensemble has five folds
def _cached_network(folder: Path, checkpoint: Path, mirroring: bool, step: float, trust: bool, stamps: object) -> Any:
    from neuraxis.numerics.nnunet import Network

    return Network(folder, checkpoint, mirroring, step, trust)
