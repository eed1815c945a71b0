"""How much the surroundings of a voxel look like a tube (Frangi 1998)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean
from neuraxis.volume import Tensor

torch = lazy.load("torch")

_ROUND = 0.5
"""Flat or round: how unlike a line the two steep directions may be, and how steep the third. Frangi's alpha and beta."""


def dark_vesselness(
    image: Tensor, mask: Tensor, voxel_size: tuple[float, float, float], scales: Sequence[float], contrast: float
) -> Tensor:
    """Frangi's vesselness of dark tubes, the largest over `scales` (mm); 0 to 1, (X, Y, Z), zero outside the mask.

    With the eigenvalues |l1| <= |l2| <= |l3| of the Hessian at a scale s, times s^2, and l2, l3 > 0 for dark tubes:

        V = (1 - exp(-2 (l2/l3)^2)) exp(-2 l1^2 / (l2 l3)) (1 - exp(-(l1^2 + l2^2 + l3^2) / (2 contrast^2)))

    The image, of which only what lies in the mask counts, is smoothed in mm and its slopes are per mm, so that a tube is
    found alike in any direction of anisotropic voxels. `contrast` is the size of the Hessian of a tube that is well seen.
    Frangi 1998, doi:10.1007/BFb0056195
    """
    found = torch.zeros_like(image)
    inside = torch.where(mask, image, 0.0)
    for scale in scales:
        smooth = gaussian_mean(inside, scale, voxel_size, mask)
        xx, yy, zz, xy, xz, yz = (part[mask].mul_(scale**2) for part in _second(smooth, voxel_size))
        values = torch.stack(_eigenvalues(xx, yy, zz, xy, xz, yz))
        first, second, third = values.gather(0, values.abs().argsort(0))
        tube = (second > 0) & (third > 0)
        plate = (second / third).square_().div_(-2 * _ROUND**2).exp_().neg_().add_(1.0)
        blob = (first.square() / (second * third)).div_(-2 * _ROUND**2).exp_()
        seen = values.square_().sum(0).div_(-2 * contrast**2).exp_().neg_().add_(1.0)
        found[mask] = torch.maximum(found[mask], torch.where(tube, plate.mul_(blob).mul_(seen), 0.0))
    return found


def _second(image: Tensor, voxel_size: tuple[float, float, float]) -> list[Tensor]:
    """Second derivatives xx, yy, zz, xy, xz, yz by central differences; per mm^2; the outermost voxels repeat."""
    padded = torch.nn.functional.pad(image[None, None], (1,) * 6, mode="replicate")[0, 0]

    def at(*shift: int) -> Tensor:
        return padded[tuple(slice(1 + s, 1 + s + n) for s, n in zip(shift, image.shape, strict=True))]

    units = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    out = [
        (at(*u) + at(*(-s for s in u))).sub_(image, alpha=2).div_(h**2) for u, h in zip(units, voxel_size, strict=True)
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        u, v = units[i], units[j]
        same = at(*(a + b for a, b in zip(u, v, strict=True))) + at(*(-a - b for a, b in zip(u, v, strict=True)))
        across = at(*(a - b for a, b in zip(u, v, strict=True))) + at(*(b - a for a, b in zip(u, v, strict=True)))
        out.append(same.sub_(across).div_(4 * voxel_size[i] * voxel_size[j]))
    return out


def _eigenvalues(
    xx: Tensor, yy: Tensor, zz: Tensor, xy: Tensor, xz: Tensor, yz: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues of symmetric 3 x 3 matrices, rising; by the cosine formula for the roots of a cubic."""
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    size = ((a.square() + b.square() + c.square()) / 6 + (xy.square() + xz.square() + yz.square()) / 3).sqrt_()
    determinant = a * (b * c - yz.square()) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = (determinant / (2 * size**3).clamp_min(1e-30)).clamp_(-1.0, 1.0).acos_().div_(3)
    high = mean + 2 * size * torch.cos(angle)
    low = mean + 2 * size * torch.cos(angle + 2 * math.pi / 3)
    return low, 3 * mean - low - high, high
