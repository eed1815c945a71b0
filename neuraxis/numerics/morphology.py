"""Binary masks: grow, shrink, fill, and keep the largest part. Masks are bool tensors, (X, Y, Z)."""

from __future__ import annotations

import math

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.fourier import mask_box, paste
from neuraxis.volume import Tensor

scipy = lazy.load("scipy")
torch = lazy.load("torch")


def dilate(mask: Tensor, steps: int = 1) -> Tensor:
    """Adds `steps` layers of face neighbours."""
    for _ in range(steps):
        grown = mask.clone()
        for axis in range(3):
            n = mask.shape[axis]
            grown.narrow(axis, 1, n - 1).logical_or_(mask.narrow(axis, 0, n - 1))
            grown.narrow(axis, 0, n - 1).logical_or_(mask.narrow(axis, 1, n - 1))
        mask = grown
    return mask


def erode(mask: Tensor, steps: int = 1) -> Tensor:
    """Takes away `steps` layers of voxels with a face on the outside; beyond the field of view counts as inside."""
    return dilate(mask.logical_not(), steps).logical_not() if steps > 0 else mask


def label(mask: Tensor) -> tuple[Tensor, int]:
    """Number of the 6-connected part of each voxel, from 1 (0 outside); how many there are."""
    parts, number = scipy.ndimage.label(mask.cpu().numpy())
    return torch.from_numpy(parts).to(mask.device), int(number)


def largest_component(mask: Tensor) -> Tensor:
    """The largest 6-connected part of the mask; an empty mask stays empty."""
    parts, number = label(mask)
    if number <= 1:
        return mask.clone()
    sizes = torch.bincount(parts.reshape(-1), minlength=number + 1)
    sizes[0] = 0
    return parts == torch.argmax(sizes)


def fill_holes(mask: Tensor, largest: int | None = None) -> Tensor:
    """The mask with its enclosed holes (no 6-connected way out of the field of view) filled.

    `largest`: only holes of at most this many voxels.
    """
    outside = np.pad(~mask.cpu().numpy(), 1, constant_values=True)
    parts, _ = scipy.ndimage.label(outside)
    holes = outside & (parts != parts[0, 0, 0])
    if largest is not None:
        holes &= np.bincount(parts.ravel())[parts] <= largest
    inner = np.ascontiguousarray(holes[1:-1, 1:-1, 1:-1])
    return torch.from_numpy(inner).to(mask.device) | mask


def without_rim(mask: Tensor, rim: float, voxel_size: tuple[float, float, float]) -> Tensor:
    """The voxels of the mask that are farther than `rim` mm from the outside.

    Outside is what a sphere of that radius fits into: a vein or a lone bad voxel that the mask leaves out has no rim.
    Beyond the field of view things go on as at its edge.

    Raises
    ------
    ValueError: the mask is empty, or nothing of it is deeper than the rim.
    """
    if rim == 0:
        return mask.clone()
    x, y, z = (math.ceil(rim / h) + 1 for h in voxel_size)
    box = mask_box(mask, (x, y, z))
    inside = mask[box].cpu().numpy()
    beyond = np.pad(~inside, [(x, x), (y, y), (z, z)], mode="edge")
    if beyond.all() or not beyond.any():
        return mask.clone()
    thick = scipy.ndimage.distance_transform_edt(beyond, sampling=voxel_size) > rim
    if not thick.any():
        return mask.clone()
    near = scipy.ndimage.distance_transform_edt(~thick, sampling=voxel_size)
    outside = beyond & (near <= rim)
    depth = scipy.ndimage.distance_transform_edt(~outside, sampling=voxel_size)[x:-x, y:-y, z:-z]
    kept = torch.from_numpy((depth > rim) & inside).to(mask.device)
    if not bool(kept.any()):
        raise ValueError(f"nothing of the mask is deeper than the rim of {rim} mm")
    return paste(kept, box, (mask.shape[0], mask.shape[1], mask.shape[2]))
