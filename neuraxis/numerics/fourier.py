"""Real Fourier transforms on fast sizes, and the box of a mask, where most of the work can be done."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")

Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]

_FAST_FACTORS = (2, 3, 5, 7)
"""Prime factors for which FFT libraries have their own butterflies."""


def fast_length(length: int) -> int:
    """Smallest number of at least `length` (and 1) whose prime factors are 2, 3, 5 and 7 alone."""
    number = max(int(length), 1)
    while True:
        rest = number
        for factor in _FAST_FACTORS:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return number
        number += 1


def padded_shape(shape: Shape, margin: float | tuple[float, float, float] = 0.0) -> Shape:
    """Fast shape that holds `shape` and, once per axis, at least `margin` voxels of zeros.

    Behind the data and before their periodic image there are then `margin` voxels.
    """
    margins = margin if isinstance(margin, tuple) else (margin,) * 3
    x, y, z = (fast_length(n + math.ceil(m)) for n, m in zip(shape, margins, strict=True))
    return x, y, z


def rfftn(field: Tensor, shape: Shape | None = None) -> Tensor:
    """Half spectrum of the last three axes of a real field, padded with zeros behind its end to `shape`."""
    return torch.fft.rfftn(field, s=shape, dim=(-3, -2, -1))


def irfftn(spectrum: Tensor, shape: Shape, keep: Shape | None = None) -> Tensor:
    """Real field of `shape` from its half spectrum; its first `keep` voxels (a view) if asked."""
    field = torch.fft.irfftn(spectrum, s=shape, dim=(-3, -2, -1))
    return field if keep is None else field[..., : keep[0], : keep[1], : keep[2]]


def frequencies(
    shape: Shape, voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0), device: object = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies of the half spectrum along each axis, shaped so that they broadcast; 1/mm (float32)."""
    x = torch.fft.fftfreq(shape[0], voxel_size[0], device=device, dtype=torch.float32)
    y = torch.fft.fftfreq(shape[1], voxel_size[1], device=device, dtype=torch.float32)
    z = torch.fft.rfftfreq(shape[2], voxel_size[2], device=device, dtype=torch.float32)
    return x[:, None, None], y[None, :, None], z[None, None, :]


def mask_box(mask: Tensor, margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """Smallest box that holds the mask, `margin` voxels larger on each side as far as the array goes.

    Raises
    ------
    ValueError: the mask is empty.
    """
    slices = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        inside = torch.nonzero(torch.amax(mask, dim=others))
        if inside.numel() == 0:
            raise ValueError("the mask is empty")
        low, high = int(inside[0]) - margin[axis], int(inside[-1]) + 1 + margin[axis]
        slices.append(slice(max(low, 0), min(high, mask.shape[axis])))
    return slices[0], slices[1], slices[2]


def box_shape(box: Box) -> Shape:
    """Number of voxels of a box along each axis."""
    return box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start


def paste(values: Tensor, box: Box, shape: Shape) -> Tensor:
    """A new array of `shape`: `values` in the box, zero outside."""
    whole = torch.zeros(shape, dtype=values.dtype, device=values.device)
    whole[box] = values
    return whole
