"""A smooth deformation within the sections that makes shares of tissue or contrasts alike; it has an inverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.volume import Array, Tensor

scipy = lazy.load("scipy")
torch = lazy.load("torch")

_SQUARINGS = 6
"""The velocity is halved so many times before it is put together again."""

_LONGEST = 0.5
"""Longest step of one round; pixels."""


@dataclass(frozen=True, eq=False)
class Deformed:
    """Displacements on pixels of the sections, (2, N, W, W) in mm, from the template's place (`outward`) and from the image's (`inward`)."""

    outward: Array
    inward: Array
    pixel: float

    def there(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        return self._moved(self.outward, number, left, front)

    def back(self, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        return self._moved(self.inward, number, left, front)

    def _moved(self, field: Array, number: Array, left: Array, front: Array) -> tuple[Array, Array]:
        middle = (field.shape[-1] - 1) / 2
        at = np.stack([number, left / self.pixel + middle, front / self.pixel + middle])
        x, y = (scipy.ndimage.map_coordinates(one, at, order=1, mode="constant") for one in field)
        return left + x, front + y


def deformed(
    fixed: Sequence[Array], moving: Sequence[Array], pixel: float, along: Array, *, rounds: int, update: float, whole: float
) -> Deformed:
    """The deformation from `fixed` to `moving` sections, by demons with a stationary velocity.

    In each round the velocity v gains the sum of the forces of all channels, d = f - m(exp v), g the mean of both gradients,

        u = d g / (|g|^2 + d^2),   v <- G_whole (v + G_update u)

    no longer than half a pixel,
    and the deformation is exp v, its inverse exp -v.

    Parameters
    ----------
    fixed, moving
        Channels; (N, W, W) each, about 0 to 1.
    pixel
        Width of a pixel; mm.
    along
        Weights of every section for every section, by which the velocity is smoothed along the cord.
    rounds
        How often.
    update, whole
        Standard deviations of the two Gaussians; mm.

    References
    ----------
    Vercauteren 2009, doi:10.1016/j.neuroimage.2008.10.040
    """
    f, m = (torch.from_numpy(np.stack(ones, axis=1).astype(np.float32)) for ones in (fixed, moving))
    velocity = torch.zeros((f.shape[0], 2, *f.shape[2:]))
    weights = torch.from_numpy(along.astype(np.float32))
    for _ in range(rounds):
        here = _warped(m, _exponential(velocity))
        gradient = torch.stack(torch.gradient(here, dim=(2, 3)), dim=2) + torch.stack(torch.gradient(f, dim=(2, 3)), dim=2)
        gradient = gradient / 2
        away = (f - here)[:, :, None]
        force = (away * gradient / (gradient.square().sum(dim=2, keepdim=True) + away.square() + 1e-4)).sum(dim=1)
        length = force.norm(dim=1, keepdim=True)
        force = force * (_LONGEST / length.clamp(min=_LONGEST))
        velocity = _blurred(velocity + _blurred(force, update / pixel), whole / pixel)
        velocity = torch.einsum("ij,jcab->icab", weights, velocity)
    outward, inward = (_exponential(sign * velocity).permute(1, 0, 2, 3).numpy() * pixel for sign in (1, -1))
    return Deformed(outward, inward, pixel)


def _exponential(velocity: Tensor) -> Tensor:
    """Displacement (pixels) of the flow along a velocity for one unit of time."""
    found = velocity / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        found = found + _warped(found, found)
    return found


def _warped(values: Tensor, displacement: Tensor) -> Tensor:
    """(N, C, W, W) at displaced pixels; the border goes on."""
    size = values.shape[-1]
    steps = torch.arange(size, dtype=torch.float32)
    a, b = torch.meshgrid(steps, steps, indexing="ij")
    at = torch.stack([b + displacement[:, 1], a + displacement[:, 0]], dim=-1) * (2 / (size - 1)) - 1
    return torch.nn.functional.grid_sample(values, at, mode="bilinear", padding_mode="border", align_corners=True)


def _blurred(field: Tensor, sigma: float) -> Tensor:
    if sigma <= 0:
        return field
    reach = int(np.ceil(3 * sigma))
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weight = (weight / weight.sum()).to(field.dtype)
    n, c, w, h = field.shape
    flat = field.reshape(n * c, 1, w, h)
    flat = torch.nn.functional.conv2d(flat, weight[None, None, :, None], padding=(reach, 0))
    flat = torch.nn.functional.conv2d(flat, weight[None, None, None, :], padding=(0, reach))
    return flat.reshape(n, c, w, h)
