"""Smoothing, Otsu's threshold and the wrapping of angles."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def wrap(angle: Tensor) -> Tensor:
    """`angle` brought to -pi..pi; rad."""
    turns = torch.round(angle * (0.5 / math.pi))
    return torch.sub(angle, turns, alpha=2 * math.pi)


def gaussian_matrix(length: int, sigma: float, device: object = None) -> Tensor:
    """Gaussian of `sigma` voxels around each of `length` voxels, as a matrix; not normalised; 0 < sigma."""
    position = torch.arange(length, device=device, dtype=torch.float32)
    return torch.exp(-0.5 * ((position[:, None] - position[None, :]) / sigma) ** 2)


def gaussian_sum(
    field: Tensor, sigma: float | tuple[float, float, float], voxel_size: tuple[float, float, float]
) -> Tensor:
    """Gaussian-weighted sum of the voxels around each voxel of (..., X, Y, Z), zero beyond the border; `sigma` in mm.

    Not normalised: a constant does not stay what it is. One matrix product per axis, exact, at the speed of the
    machine's matrix multiplication; sigma 0 leaves an axis alone.
    """
    sigmas = sigma if isinstance(sigma, tuple) else (sigma,) * 3
    x, y, z = field.shape[-3:]
    for axis, (n, s, h) in enumerate(zip((x, y, z), sigmas, voxel_size, strict=True)):
        if s <= 0 or n == 1:
            continue
        matrix = gaussian_matrix(n, s / h, field.device).to(field.dtype)
        if axis == 0:
            field = torch.matmul(matrix, field.reshape(*field.shape[:-3], x, y * z)).reshape(field.shape)
        elif axis == 1:
            field = torch.matmul(matrix, field)
        else:
            field = torch.matmul(field, matrix)
    return field


def gaussian_mean(
    field: Tensor,
    sigma: float | tuple[float, float, float],
    voxel_size: tuple[float, float, float],
    weight: Tensor | None = None,
) -> Tensor:
    """Gaussian-weighted mean of the voxels around each voxel, over the field of view or by `weight`; `sigma` in mm.

    A mask as `weight` keeps what lies outside it out. 0 where no weight is near.
    """
    weight = torch.ones_like(field) if weight is None else weight.to(field.dtype)
    below = gaussian_sum(weight, sigma, voxel_size)
    above = gaussian_sum(field * weight, sigma, voxel_size)
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), torch.zeros_like(above))


def box_sum(field: Tensor, radius: int = 1) -> Tensor:
    """Sum over the cube of 2 radius + 1 voxels around each voxel of (X, Y, Z), zero beyond the border."""
    for axis in range(3):
        n, total = field.shape[axis], field.clone()
        for step in range(1, min(radius, n - 1) + 1):
            total.narrow(axis, step, n - step).add_(field.narrow(axis, 0, n - step))
            total.narrow(axis, 0, n - step).add_(field.narrow(axis, step, n - step))
        field = total
    return field


def box_mean(field: Tensor, mask: Tensor, radius: int = 1) -> Tensor:
    """Mean over the voxels of the mask in the cube around each voxel; zero where there are none."""
    number = box_sum(mask.to(field.dtype), radius)
    return box_sum(field * mask, radius) / number.clamp_min(1)


def otsu_threshold(values: Tensor, bins: int = 256) -> float:
    """Threshold between two classes that leaves least variance within them (Otsu 1979, doi:10.1109/TSMC.1979.4310076).

    Raises
    ------
    ValueError: no values, or all are the same.
    """
    flat = values.reshape(-1).float()
    if flat.numel() == 0:
        raise ValueError("a threshold cannot be found: there are no values")
    low, high = float(flat.min()), float(flat.max())
    if not high > low:
        raise ValueError(f"a threshold cannot be found: all values are {low:g}")
    count = torch.histc(flat, bins, low, high).double().cpu()
    centre = low + (torch.arange(bins, dtype=torch.float64) + 0.5) * ((high - low) / bins)
    below, above = torch.cumsum(count, 0), torch.cumsum(count.flip(0), 0).flip(0)
    mean_below = torch.cumsum(count * centre, 0) / below.clamp_min(1)
    mean_above = torch.cumsum((count * centre).flip(0), 0).flip(0) / above.clamp_min(1)
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    best = int(torch.argmax(between))
    return float(low + (best + 1) * (high - low) / bins)


def sample_quantile(values: Tensor, fraction: float, limit: int = 1_000_000) -> float:
    """Quantile of at most about `limit` evenly spaced values: as good as of all, and quick; 0 of nothing."""
    flat = values.reshape(-1)
    if flat.numel() == 0:
        return 0.0
    flat = flat[:: max(1, flat.numel() // limit)].float()
    rank = min(flat.numel(), max(1, math.ceil(fraction * flat.numel())))
    return float(torch.kthvalue(flat, rank).values)
