"""The image as a stack of axial slices with pixels of 1 mm, and where the body lies in them."""

from __future__ import annotations

from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Volume

scipy = lazy.load("scipy")

_BLUR = 0.7
"""Standard deviation of the filter before resampling to 1 mm; mm."""

_BODY = 0.12
"""A pixel is body above this share of its slice's 95th percentile."""

_WIDE = 60.0
"""Only a body of at least this width and depth (mm) tells where its surface is; a crop does not."""


@dataclass(frozen=True)
class Stack:
    """Axial slices, upright: `slices` (Z, X, Y) at 1 mm; `z` the place of each on the image's slice axis."""

    slices: Array
    z: Array
    spacing: float
    voxel_size: tuple[float, float, float]
    shape: tuple[int, int, int]

    def voxels(self, path: Array) -> Array:
        """Pixel places of 1 mm, (Z, 2), as voxel indices of the upright image."""
        return path / np.array(self.voxel_size[:2])


def stack(image: Volume, thickness: float) -> Stack:
    """Averages slices to about `thickness` mm and resamples them in plane to 1 mm; negative values become 0."""
    upright = image.oriented()
    dx, dy, dz = upright.grid.voxel_size
    slices = np.moveaxis(np.asarray(upright.data, np.float32), 2, 0)
    each = max(1, round(thickness / dz))
    number = max(1, len(slices) // each)
    ends = [*(n * each for n in range(number)), len(slices)]
    mean = np.stack([slices[a:b].mean(0) for a, b in zip(ends, ends[1:], strict=False)])
    z = np.array([(a + b - 1) / 2 for a, b in zip(ends, ends[1:], strict=False)])
    mean = scipy.ndimage.gaussian_filter(mean, (0, _BLUR / dx, _BLUR / dy))
    size = [int((n - 1) * d + 1e-6) + 1 for n, d in zip(mean.shape[1:], (dx, dy), strict=True)]
    at = np.meshgrid(np.arange(size[0]) / dx, np.arange(size[1]) / dy, indexing="ij")
    fine = np.stack([scipy.ndimage.map_coordinates(one, at, order=1, mode="nearest") for one in mean])
    return Stack(np.maximum(fine, 0), z, dz * each, upright.grid.voxel_size, upright.data.shape[:3])


def body(slices: Array) -> tuple[Array, Array]:
    """How deep each pixel lies under the body's surface (mm, (Z, X, Y)) and the body's middle from side to side (Z,).

    The body is what lies between signal on both sides, from right to left and from front to back. Where it is too
    small to be a body, or fills the view, every pixel lies deep: the edge of the view is no surface.
    """
    smooth = scipy.ndimage.gaussian_filter(slices, (0, 2, 2))
    on = smooth > _BODY * np.percentile(smooth, 95, axis=(1, 2), keepdims=True)
    on = scipy.ndimage.binary_opening(on, np.ones((1, 5, 5)))
    hull = _between(on, 1) & _between(on, 2)
    wide, high = hull.any(2).sum(1), hull.any(1).sum(1)
    depth = np.full(slices.shape, np.inf, np.float32)
    middle = np.full(len(slices), (slices.shape[1] - 1) / 2)
    for z, inside in enumerate(hull):
        if inside.any():
            middle[z] = np.average(np.arange(len(inside)), weights=inside.sum(1))
        if not inside.all() and ((wide[z] > _WIDE and high[z] > _WIDE) or high[z] > 2 * _WIDE):
            padded = np.pad(inside, 1, mode="edge")
            depth[z] = scipy.ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
    return depth, middle


def _between(on: Array, axis: int) -> Array:
    after = np.maximum.accumulate(on, axis)
    before = np.flip(np.maximum.accumulate(np.flip(on, axis), axis), axis)
    return after & before
