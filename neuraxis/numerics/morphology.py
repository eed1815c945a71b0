"""Binary masks: grow, shrink, fill, and keep the largest part. Masks are bool tensors, (X, Y, Z)."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

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
