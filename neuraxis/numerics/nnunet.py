"""One nnU-Net v2 network with its preprocessing, and the way back to the voxels that it was given."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


class Network:
    """One fold, ready to run. Its checkpoint is read as numbers only unless `trust`."""

    def __init__(self, folder: Path, checkpoint: Path, mirroring: bool, step: float, trust: bool) -> None:
        try:
            with quiet():
                from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
                from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
        except ImportError as error:
            raise ValueError(
                f"nnU-Net models need the package nnunetv2 ({error}); `pip install nnunetv2` brings it"
            ) from error
        plans = json.loads((folder / "plans.json").read_text("utf-8"))
        dataset = json.loads((folder / "dataset.json").read_text("utf-8"))
        saved = read_checkpoint(checkpoint, trust)
        try:
            with quiet():
                self._plans = PlansManager(plans)
                self._setup = self._plans.get_configuration(saved["init_args"]["configuration"])
                self._labels = self._plans.get_label_manager(dataset)
                benchmark = torch.backends.cudnn.benchmark
                self._predictor = nnUNetPredictor(
                    tile_step_size=step, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False
                )
                torch.backends.cudnn.benchmark = benchmark
        except (KeyError, AssertionError, RuntimeError) as error:
            raise ValueError(
                f"{folder} is not a model that nnU-Net v2 can read ({type(error).__name__}: {error})"
            ) from error
        if self._setup.previous_stage_name is not None:
            raise ValueError(f"{folder} is the second stage of a cascade, which cannot be run alone")
        self._dataset, self.regions = dataset, bool(self._labels.has_regions)
        self.channels = len(dataset.get("channel_names", dataset.get("modality", {"0": ""})))
        weights = {_plain(name): value for name, value in saved["network_weights"].items()}
        with quiet():
            network = self._build(str(saved.get("trainer_name", "nnUNetTrainer")), weights, folder)
            axes = saved.get("inference_allowed_mirroring_axes")
            if mirroring and not axes:  # a model may have been trained so that left is not right
                self._predictor.use_mirroring = False
            self._predictor.manual_initialization(
                network, self._plans, self._setup, [weights], dataset, "nnUNetTrainer", tuple(axes) if axes else None
            )
        self._predictor.network = network.eval()  # never compiled, whatever the environment says

    def _build(self, trainer: str, weights: dict[str, Tensor], folder: Path) -> Any:
        """The network of the plans; where the weights do not fit, the one of the trainer, if nnU-Net knows it."""
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        setup, heads = self._setup, self._labels.num_segmentation_heads
        network = get_network_from_plans(
            setup.network_arch_class_name,
            setup.network_arch_init_kwargs,
            setup.network_arch_init_kwargs_req_import,
            self.channels,
            heads,
            allow_init=False,
            deep_supervision=False,
        )
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

            try:
                known = recursive_find_trainer_class_by_name(trainer)
                network = known.build_network_architecture(self._plans, setup, self.channels, heads, False)
                network.load_state_dict(weights)
            except Exception:
                first = " ".join(str(error).split())[:300]
                raise ValueError(f"the weights in {folder} do not fit the network of its plans: {first}") from error
        return network

    def probabilities(self, data: Array, voxel_size: tuple[float, ...], blend: str, device: str) -> Array:
        """(X, Y, Z, C) float32 of an image (X, Y, Z) or (X, Y, Z, channels) in the orientation of the training images."""
        image = data[..., None] if data.ndim == 3 else data
        if image.shape[-1] != self.channels:
            raise ValueError(f"the model takes {self.channels} channel(s), the image has {image.shape[-1]}")
        stacked = np.ascontiguousarray(np.transpose(image, (3, 2, 1, 0)), np.float32)  # nnU-Net's axes are z, y, x
        if not stacked.any():
            raise ValueError("the image is zero everywhere")
        about: dict[str, Any] = {"spacing": list(voxel_size)[::-1]}
        with quiet():
            preprocessor = self._setup.preprocessor_class(verbose=False)
            made, _, about = preprocessor.run_case_npy(stacked, None, about, self._plans, self._setup, self._dataset)
        logits = self._run(torch.from_numpy(np.ascontiguousarray(made, np.float32)), device)
        with quiet():
            found = self._back(logits, about, blend)
            whole = self._labels.revert_cropping_on_probabilities(
                found, about["bbox_used_for_cropping"], about["shape_before_cropping"]
            )
        turned = whole.permute(0, *(i + 1 for i in self._plans.transpose_backward))
        return np.ascontiguousarray(turned.permute(3, 2, 1, 0).numpy(), np.float32)

    def _run(self, image: Tensor, device: str) -> Tensor:
        """Logits on the CPU; what does not fit onto the GPU is computed on the CPU."""
        predictor = self._predictor
        predictor.device = torch.device(device)
        predictor.perform_everything_on_device = device.startswith("cuda")
        try:
            with quiet():
                return predictor.predict_sliding_window_return_logits(image).to("cpu", torch.float32)
        except RuntimeError as error:
            if not device.startswith("cuda") or "out of memory" not in str(error).lower():
                raise
            warnings.warn("the network needs more GPU memory than there is; it ran on the CPU", stacklevel=2)
            return self._run(image, "cpu")

    def _back(self, logits: Tensor, about: dict[str, Any], blend: str) -> Tensor:
        """Probabilities on the voxels before resampling."""
        shape = tuple(int(n) for n in about["shape_after_cropping_and_before_resampling"])
        if blend == "logits":
            spacing = [about["spacing"][i] for i in self._plans.transpose_forward]
            target = list(self._setup.spacing)
            target = target if len(target) == 3 else [spacing[0], *target]
            resampled = self._setup.resampling_fn_probabilities(logits, shape, target, spacing)
            return self._labels.apply_inference_nonlin(resampled)
        return resized(self._labels.apply_inference_nonlin(logits), shape)


def resized(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`data` (C, ...) on `shape` voxels of the same field of view: linear into finer voxels, the mean over coarser ones."""
    for axis, n in enumerate(shape):
        if data.shape[axis + 1] != n:
            weights = torch.from_numpy(_weights(data.shape[axis + 1], n))
            data = torch.tensordot(data, weights, dims=([axis + 1], [1])).movedim(-1, axis + 1)
    return data.contiguous()


def _weights(n_in: int, n_out: int) -> Array:
    """Rows of weights that sum to one, (n_out, n_in): shares of overlap, or linear weights where voxels get finer."""
    if n_out < n_in:
        edges = np.arange(n_out + 1) * (n_in / n_out)
        low, high = edges[:-1, None], edges[1:, None]
        cell = np.arange(n_in)[None]
        shares = np.clip(np.minimum(high, cell + 1) - np.maximum(low, cell), 0, None)
    else:
        place = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)[:, None]
        shares = np.clip(1 - np.abs(place - np.arange(n_in)[None]), 0, None)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def read_checkpoint(path: Path, trust: bool = False) -> dict[str, Any]:
    """A checkpoint of nnU-Net, as numbers, texts and containers only; ValueError if it holds anything else."""
    try:
        with quiet(), torch.serialization.safe_globals(_harmless()):
            saved = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        lines = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
        what = (lines or [str(error).splitlines()[0]])[0][:200]
        raise ValueError(
            f"{path} holds more than numbers, and could run a program when it is loaded; it is not used ({what})"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read; it may be cut off ({str(error).splitlines()[0][:200]})") from error
    if not isinstance(saved, dict) or not {"network_weights", "init_args"} <= saved.keys():
        raise ValueError(f"{path} is no checkpoint of nnU-Net: it has no network_weights or init_args")
    return {name: value for name, value in saved.items() if name not in ("optimizer_state", "grad_scaler_state")}


def _harmless() -> list[Any]:
    """What nnU-Net writes beside tensors: numpy's scalars (old and new names) and small arrays, and plain containers."""
    core = np._core.multiarray  # type: ignore[attr-defined]
    kinds = [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]
    found: list[Any] = [np.dtype, np.ndarray, OrderedDict, defaultdict, *kinds]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found += [(core.scalar, f"{module}.scalar"), (core._reconstruct, f"{module}._reconstruct")]
    return found


def _plain(name: str) -> str:
    return name.removeprefix("_orig_mod.").removeprefix("module.")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither prints nor warns: nnU-Net does both, of things that the user cannot change."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
