"""The nonlinear data term: a field compared as the phase that it makes; and the splitting that minimises with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.filters import sample_quantile
from neuraxis.numerics.fourier import Box, Shape, box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

_WITHIN = 0.999
"""Share of the voxels of the mask whose phase stays in the range where the data term is convex."""

_MOST_WEIGHT = 10.0
"""Weight of the quietest voxels, in weights of the median voxel: none may rule the fit alone."""

_NEWTON_STEPS = 1
"""Steps of Newton's method from the value before: the splitting goes on from there."""


def check_knobs(
    *,
    above_zero: Mapping[str, float] | None = None,
    at_least_zero: Mapping[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
) -> None:
    """ValueError with name and value of a knob that is not above 0, not at least 0, or not at least 1; all finite."""
    for name, value in (above_zero or {}).items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value}")
    for name, value in (at_least_zero or {}).items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value}")
    for name, value in (counts or {}).items():
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


@dataclass(frozen=True)
class FieldData:
    """The field in the box of its mask, its weight there, and the dipole kernel on a padded grid.

    `scale` is the phase in rad that a field of 1 ppm makes: sin(scale (D chi - field)) is how far both are apart.
    `noise` is that of a voxel of weight 1, in ppm; 0 where it is not known.
    """

    field: Tensor
    mask: Tensor
    weight: Tensor
    kernel: Tensor
    scale: float
    noise: float
    box: Box
    padded: Shape
    grid: Grid

    @property
    def size(self) -> Shape:
        return box_shape(self.box)

    def crop(self, padded: Tensor) -> Tensor:
        """The box of the mask (a view) out of a padded array."""
        x, y, z = self.size
        return padded[:x, :y, :z]

    def whole(self, padded: Tensor) -> Tensor:
        """The result on the grid of the scan, zero outside the mask."""
        return paste(self.crop(padded) * self.mask, self.box, self.grid.shape)


def field_data(
    local_field: Tensor,
    local_mask: Tensor,
    grid: Grid,
    field_noise: Tensor | None,
    field_strength: float | None,
    echo_times: Array | None,
    *,
    padding: float,
    power: int = 2,
) -> FieldData:
    """Field, weight (1 / noise to `power`, mean 1 over the mask) and kernel with `padding` mm of zeros behind the box."""
    box = mask_box(local_mask)
    mask = local_mask[box]
    field = torch.where(mask, local_field[box], 0.0)
    x, y, z = (padding / h for h in grid.voxel_size)
    padded = padded_shape(box_shape(box), (x, y, z))
    kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, field.device)
    weight = data_weight(mask, None if field_noise is None else field_noise[box], power)
    noise = 0.0 if field_noise is None else typical_noise(mask, field_noise[box])
    scale = phase_scale(field[mask], field_strength, echo_times)
    return FieldData(field, mask, weight, kernel, scale, noise, box, padded, grid)


def data_weight(mask: Tensor, noise: Tensor | None, power: int) -> Tensor:
    """1 / noise to `power`, at most ten times its median, scaled to mean 1 over the mask; zero outside it.

    A voxel whose noise is not above 0 weighs nothing. Without noise, all voxels weigh the same.
    """
    if noise is None:
        return mask.float()
    known = mask & (noise > 0) & torch.isfinite(noise)
    if not bool(known.any()):
        raise ValueError("the noise of the field is nowhere above 0 in the mask")
    middle = torch.median(noise[known])
    weight = torch.where(known, (middle / noise.clamp_min(1e-30)) ** power, 0.0).clamp_max_(_MOST_WEIGHT)
    return weight.mul_(mask.sum() / weight.sum(dtype=torch.float64).float())


def typical_noise(mask: Tensor, noise: Tensor) -> float:
    """Noise of which the inverse square is the mean inverse square over the voxels of the mask where it is above 0."""
    known = noise[mask & (noise > 0) & torch.isfinite(noise)]
    return float((1 / known.double() ** 2).mean() ** -0.5)


def phase_scale(field: Tensor, field_strength: float | None, echo_times: Array | None) -> float:
    """Phase in rad that a field of 1 ppm makes at the first echo; less, if `field` would leave the convex range.

    The data term 1 - cos is convex while the phase of what is left over is within pi / 2. The scale is lowered until
    99.9 % of the field lies there, even for chi = 0; without field strength and echo times it is that limit.
    """
    largest = sample_quantile(field.abs(), _WITHIN)
    limit = math.pi / 2 / largest if largest > 0 else 1.0
    if field_strength is None or echo_times is None:
        return limit
    return min(limit, radians_per_ppm_second(field_strength) * float(min(echo_times)))


def smooth_places(data: FieldData, magnitude: Tensor | None, edges: float) -> Tensor:
    """Where the susceptibility should be smooth, for each direction; bool, (3, ...) on the padded grid.

    Not across the border of the mask, and not where the magnitude changes most.
    """
    inside = torch.zeros(data.padded, dtype=torch.bool, device=data.mask.device)
    data.crop(inside).copy_(data.mask)
    both = torch.stack([inside & torch.roll(inside, -1, axis) for axis in range(3)])
    smooth = torch.stack([~(inside ^ torch.roll(inside, -1, axis)) for axis in range(3)])
    if magnitude is None or edges == 0 or not bool(both.any()):
        return smooth
    image = data.field.new_zeros(data.padded)
    data.crop(image).copy_(torch.where(data.mask, magnitude, 0.0))
    steps = torch.stack([difference(image, axis, h).abs_() for axis, h in enumerate(data.grid.voxel_size)])
    steps.mul_(both)
    return smooth & (steps <= sample_quantile(steps[both], 1 - edges))


Proximal = Callable[[Tensor, Tensor], Tensor]
"""(x, start) -> z, the minimum of the data term plus mu / 2 ||z - x||^2, both less the field."""


def least_squares_step(weight: Tensor, scale: float, mu: float) -> Proximal:
    """Minimum of W (1 - cos(s z)) / s^2 + mu / 2 (z - x)^2: Newton's method on W sin(s z) / s + mu (z - x) = 0."""

    def step(x: Tensor, start: Tensor) -> Tensor:
        z = start
        for _ in range(_NEWTON_STEPS):
            angle = z * scale
            slope = torch.cos(angle).clamp_min_(0.0).mul_(weight).add_(mu)  # never below mu: always a way down
            rest = angle.sin_().mul_(weight).div_(scale).add_(z, alpha=mu).sub_(x, alpha=mu)
            z = z - rest.div_(slope)
        return z

    return step


def absolute_step(weight: Tensor, scale: float, mu: float) -> Proximal:
    """Minimum of W |exp(i s z) - 1| / s + mu / 2 (z - x)^2, the L1 norm of the difference of two signals.

    |exp(i s z) - 1| = 2 |sin(s z / 2)|, so z = 0 where |x| <= W / mu, and z = x - W / mu cos(s z / 2) sign(x) elsewhere.
    """
    threshold = weight / mu

    def step(x: Tensor, start: Tensor) -> Tensor:
        size = x.abs()
        z = (size - threshold).clamp_min_(0.0)
        if scale > 0:
            z = torch.where(z > 0, size - threshold * torch.cos((z * (scale / 2)).clamp_max_(math.pi / 2)), z)
        return z.mul_(torch.sign(x))

    return step


class Regulariser(Protocol):
    """Solves for chi with what its penalty asks for."""

    def solve(self, chi: Tensor, data: Tensor, fidelity: Tensor) -> Tensor:
        """Spectrum of the next chi, from chi and mu D F(target), with fidelity mu D^2; both spectra are used up."""


class TotalVariation:
    """alpha ||grad chi||_1, split with the penalty rho; holds the dual of g = grad chi.

    With v = grad chi + u, the shrinkage g = v - clamp(v) makes the new dual u = clamp(v): g needs no memory of its own.
    `smooth`: the differences that cost something, bool, (3, ...) on the padded grid; without it, all.
    """

    def __init__(self, data: FieldData, alpha: float, rho: float, smooth: Tensor | None = None) -> None:
        self.smooth = smooth
        self.voxel_size, self.limit, self.rho = data.grid.voxel_size, alpha / rho, rho
        self.eigenvalues = laplacian_eigenvalues(data.padded, self.voxel_size, data.field.device).mul_(rho)
        self.dual = data.field.new_zeros((3, *data.padded))

    def solve(self, chi: Tensor, data: Tensor, fidelity: Tensor) -> Tensor:
        image, work = torch.zeros_like(chi), torch.empty_like(chi)
        for axis, spacing in enumerate(self.voxel_size):
            dual = self.dual[axis]
            difference(chi, axis, spacing, work).add_(dual)
            torch.clamp(work, -self.limit, self.limit, out=dual)
            if self.smooth is not None:
                dual.mul_(self.smooth[axis])
            work.sub_(dual, alpha=2)  # g - u
            add_adjoint_difference(image, work, axis, spacing)
        spectrum = rfftn(image).mul_(self.rho).add_(data)
        weight = self.eigenvalues + fidelity
        weight[0, 0, 0] = 1.0  # neither the data nor a gradient knows the mean
        return spectrum.div_(weight)


class Background(Protocol):
    """A field besides that of the dipoles, solved for together with chi: what one takes, the other need not explain."""

    share: Tensor
    """Of what the background leaves unexplained, for each frequency: 0 (all is background) to 1 (none is)."""

    def expected(self) -> Tensor:
        """Spectrum of the background if nothing asked for more."""

    def update(self, spectrum: Tensor) -> None:
        """Takes note of the background that was found; its spectrum is used up."""


def split_minimum(
    data: FieldData,
    regulariser: Regulariser,
    proximal: Callable[[Tensor, float, float], Proximal],
    *,
    mu: float,
    iterations: int,
    tolerance: float,
    background: Background | None = None,
) -> Tensor:
    """Minimises the data term of `proximal` at D chi (+ background) plus the regulariser, by ADMM; the padded chi.

    The field z of the data is split from D chi with the penalty mu; where the weight is 0, both are the same.
    Ends when chi changes by less than `tolerance` of itself.
    """
    step = proximal(data.weight, data.scale, mu)
    fidelity = data.kernel**2 * mu
    if background is not None:
        fidelity *= background.share
    chi = data.field.new_zeros(data.padded)
    dual, start = torch.zeros_like(data.field), torch.zeros_like(data.field)
    made = torch.zeros_like(chi)
    data.crop(made).copy_(data.field)
    for _ in range(iterations):
        target = rfftn(made)
        pull = target * mu
        if background is not None:
            expected = background.expected()
            pull.mul_(background.share).sub_(expected, alpha=mu)
        spectrum = regulariser.solve(chi, pull.mul_(data.kernel), fidelity)
        before, chi = chi, irfftn(spectrum, data.padded)
        change = float(torch.linalg.vector_norm(before.sub_(chi)))
        spectrum.mul_(data.kernel)
        if background is not None:
            rest = target.sub_(spectrum).mul_(1 - background.share).add_(expected)
            spectrum += rest
            background.update(rest)
        made = irfftn(spectrum, data.padded)
        inside = data.crop(made)
        x = torch.sub(inside, data.field).add_(dual)
        start = step(x, start)
        dual = x.sub_(start)
        torch.sub(start, dual, out=inside).add_(data.field)
        if change <= tolerance * float(torch.linalg.vector_norm(chi)):
            break
    return chi
