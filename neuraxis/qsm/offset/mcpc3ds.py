"""Phase offset from the first two echoes."""

from __future__ import annotations

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.filters import gaussian_mean, gaussian_sum, wrap
from neuraxis.numerics.fourier import box_shape, mask_box, paste
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_SMALL_ISLANDS = 0.005
"""Islands beside the largest one change the offset only if they hold more than this share of the mask."""
_BLOCK = 2.0
"""Edge of the blocks of voxels in which offsets are averaged before they are smoothed; mm."""
_FAR = 1.0
"""Blocks whose offset lies farther than this from the smooth one are left out of further rounds; rad."""


def mcpc3ds(
    phase: Tensor,
    mask: Tensor,
    echo_times: Array,
    echo_spacing: Array,
    grid: Grid,
    magnitude: Tensor | None = None,
    *,
    smoothing: float = 7.0,
    rounds: int = 4,
) -> Tensor:
    """MCPC-3D-S, for monopolar read-outs.

    The phase between the first two echoes, h = arg(S2 conj(S1)), is unwrapped in space and followed back to time zero:

        offset = smooth(phase1 - TE1 / (TE2 - TE1) h)

    Smoothing averages exp(i offset) over a Gaussian inside the mask, weighted by |S1 S2|, so wraps do no harm.

    Departure from the paper: what the smoothing lost of the trend at the rim of the mask is smoothed again and added
    (`rounds`), without the voxels that lie far from the smooth estimate.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E), at least two echoes.
    mask
        Where the phase is used; (X, Y, Z).
    echo_times
        Rising, any spacing; s, (E,).
    echo_spacing
        Differences of the echo times; s, (E-1,).
    grid
        Grid of the images, for the voxel size.
    magnitude
        At least 0, (X, Y, Z, E).
    smoothing
        Standard deviation of the Gaussian; mm, > 0. Reduce it for a small field of view or a small object.
    rounds
        How often the estimate is smoothed, 1 to 10; 1 is the published method.

    Returns
    -------
    Phase at echo time zero; rad, (X, Y, Z), -pi to pi, zero outside the mask.

    Raises
    ------
    ValueError: fewer than two echoes, a knob out of range, or an empty mask.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963
    """
    if phase.shape[-1] < 2:
        raise ValueError(f"the phase offset needs at least two echoes, there is {phase.shape[-1]}")
    if not smoothing > 0:
        raise ValueError(f"smoothing must be above 0 mm, not {smoothing}")
    if not 1 <= rounds <= 10:
        raise ValueError(f"rounds must be 1 to 10, not {rounds}")
    edge = min(_BLOCK, 0.4 * smoothing)
    hx, hy, hz = grid.voxel_size
    blocks = max(1, int(edge / hx)), max(1, int(edge / hy)), max(1, int(edge / hz))
    box = mask_box(mask, blocks)
    shape = box_shape(box)
    inside = mask[box]
    first, second = phase[..., 0][box], phase[..., 1][box]
    weight = inside.to(first.dtype)
    if magnitude is not None:
        weight = magnitude[..., 0][box] * magnitude[..., 1][box] * weight
        weight /= weight.max().clamp_min(torch.finfo(weight.dtype).tiny)
    between = wrap(second - first)
    coarse, coherence = _block_mean(between, weight, blocks)
    coarse, islands = _unwrapped(coarse, coherence > 0, coherence.sqrt())
    between -= torch.round((between - _repeat(coarse, blocks, shape)) * (0.5 / torch.pi)) * (2 * torch.pi)
    ratio = float(echo_times[0] / echo_spacing[0])
    raw, weight = _block_mean(first - ratio * between, weight, blocks)

    voxel_size = hx * blocks[0], hy * blocks[1], hz * blocks[2]
    number = torch.bincount(islands.reshape(-1))
    number[0] = 0
    main = int(torch.argmax(number))
    aside = int(number.sum() - number[main])
    kept = weight * (islands == main)
    offset = _smooth(raw, kept, smoothing, voxel_size)
    if aside > _SMALL_ISLANDS * int(number.sum()):
        raw, kept = _same_branch(raw, offset, weight, islands, main, ratio), weight
        offset = _smooth(raw, kept, smoothing, voxel_size)
    for _ in range(rounds - 1):
        rest = wrap(raw - offset)
        offset = offset + gaussian_mean(rest, smoothing, voxel_size, kept * (rest.abs() < _FAR))
    return paste(_interpolated(offset, blocks, shape).mul_(inside), box, grid.shape)


def _block_mean(angle: Tensor, weight: Tensor, blocks: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean direction of the angles in each block of voxels, and the length of the mean vector."""
    pad = [n for size, block in zip(reversed(angle.shape), reversed(blocks), strict=True) for n in (0, -size % block)]
    parts = []
    for part in (torch.cos(angle), torch.sin(angle)):
        padded = torch.nn.functional.pad(part.mul_(weight), pad)
        parts.append(torch.nn.functional.avg_pool3d(padded[None, None], blocks)[0, 0])
    return torch.atan2(parts[1], parts[0]), torch.hypot(*parts)


def _repeat(coarse: Tensor, blocks: tuple[int, ...], shape: tuple[int, int, int]) -> Tensor:
    for axis, block in enumerate(blocks):
        coarse = coarse.repeat_interleave(block, axis) if block > 1 else coarse
    return coarse[: shape[0], : shape[1], : shape[2]]


def _interpolated(angle: Tensor, blocks: tuple[int, ...], shape: tuple[int, int, int]) -> Tensor:
    """Angle of each voxel from that of the blocks."""
    if max(blocks) == 1:
        return wrap(angle)
    parts = torch.stack([torch.cos(angle), torch.sin(angle)])[None]
    whole = [n * block for n, block in zip(angle.shape, blocks, strict=True)]
    real, imaginary = torch.nn.functional.interpolate(parts, size=whole, mode="trilinear", align_corners=False)[0]
    return torch.atan2(imaginary, real)[: shape[0], : shape[1], : shape[2]].contiguous()


def _unwrapped(phase: Tensor, mask: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Phase unwrapped in space with its largest island around zero, and the islands."""
    from neuraxis.numerics.region_growing import edge_weights, grow

    wrapped, where = phase.cpu().numpy(), mask.cpu().numpy()
    unwrapped, islands = grow(wrapped, edge_weights(wrapped, where, magnitude.cpu().numpy()), where)
    middle = np.median(unwrapped[islands == np.argmax(np.bincount(islands[where]))])
    turns = np.float32(2 * np.pi * np.round(middle / (2 * np.pi)))
    return torch.from_numpy(unwrapped - turns).to(phase.device), torch.from_numpy(islands).to(phase.device)


def _smooth(angle: Tensor, weight: Tensor, sigma: float, voxel_size: tuple[float, float, float]) -> Tensor:
    real = gaussian_sum(torch.cos(angle).mul_(weight), sigma, voxel_size)
    imaginary = gaussian_sum(torch.sin(angle).mul_(weight), sigma, voxel_size)
    return torch.atan2(imaginary, real)


def _same_branch(raw: Tensor, offset: Tensor, weight: Tensor, islands: Tensor, main: int, ratio: float) -> Tensor:
    """Moves each island beside the main one to the branch of its phase difference that fits the main one's offset."""
    number = int(islands.max()) + 1
    rest, which = (raw - offset).reshape(-1), islands.reshape(-1).long()
    real = torch.bincount(which, torch.cos(rest) * weight.reshape(-1), number)
    imaginary = torch.bincount(which, torch.sin(rest) * weight.reshape(-1), number)
    turns = torch.tensor([0, 1, -1, 2, -2, 3, -3], device=raw.device)
    shift = 2 * torch.pi * ratio * turns[:, None]
    fit = real * torch.cos(shift) - imaginary * torch.sin(shift)
    best = shift[torch.argmax(fit - 1e-6 * fit.abs() * turns[:, None].abs(), dim=0), 0]
    best[main] = 0
    return raw + best[islands.long()].to(raw.dtype)
