"""The weight of a penalty by itself: where what is left over equals the noise, or else by the L-curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import lazy_loader as lazy

from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.operators import difference
from neuraxis.qsm.inversion.nonlinear_data import FieldData
from neuraxis.volume import Tensor

torch = lazy.load("torch")

Weight = float | Literal["auto"]

Measure = Callable[[float], tuple[float, float]]
"""weight -> (size of what is left over, size of what is penalised); the first rises with the weight, the second falls."""

VARIATION_LIMITS = (1e-6, 3e-3)
"""Between these lies a weight of the total variation that is chosen; ppm mm."""

_STEPS = 8
"""Most evaluations in the search for the weight at which the residual equals the noise."""

_CLOSE = 0.03
"""Share of the noise to which the residual must come: finer differences cannot be seen in the map."""

_CURVE_WEIGHTS = 9
"""Weights on the L-curve, evenly spaced in their logarithm."""


def check_weight(name: str, weight: Weight) -> None:
    """ValueError with name and value of a weight that is neither "auto" nor a number above 0."""
    if weight != "auto" and (isinstance(weight, str) or not 0 < weight < math.inf):
        raise ValueError(f"{name} must be auto or a number above 0, not {weight}")


def chosen_weight(measure: Measure, limits: tuple[float, float], noise: float | None) -> float:
    """The weight between `limits` by the discrepancy principle when the noise is known, else by the L-curve."""
    return inflection_weight(measure, limits) if noise is None else discrepancy_weight(measure, limits, noise)


def discrepancy_weight(measure: Measure, limits: tuple[float, float], noise: float) -> float:
    """The weight between `limits` at which what is left over equals the noise (Morozov's discrepancy principle).

    Regula falsi (Illinois) on the logarithms of weight and residual. Where no weight fits the nearer limit is taken: the
    lower one when the model leaves more than the noise at any weight, the upper one when the data are all noise.
    """
    goal = math.log(noise)

    def excess(position: float) -> float:
        return math.log(max(measure(math.exp(position))[0], 1e-30)) - goal

    low, high = math.log(limits[0]), math.log(limits[1])
    below, above = excess(low), excess(high)
    if below >= 0 or above <= 0:
        return limits[0] if below >= 0 else limits[1]
    middle = low
    for _ in range(_STEPS):
        share = min(max(below / (below - above), 0.1), 0.9)  # the curve is bent: never a step that is next to none
        middle = low + share * (high - low)
        found = excess(middle)
        if abs(found) < _CLOSE:
            break
        if found < 0:
            low, below, above = middle, found, above / 2
        else:
            high, above, below = middle, found, below / 2
    return math.exp(middle)


def inflection_weight(measure: Measure, limits: tuple[float, float]) -> float:
    """The weight between `limits` at the inflection of the L-curve, log residual against log penalty.

    The penalty falls steeply while noise is smoothed away, then less and less, and steeply again where the object itself
    is lost. Where it falls least with the residual the curvature is zero. The corner before that, where the curve turns
    most, lies where noise still rules the map (on phantoms its error is two to three times as large).
    """
    step = (math.log(limits[1]) - math.log(limits[0])) / (_CURVE_WEIGHTS - 1)
    positions = [math.log(limits[0]) + n * step for n in range(_CURVE_WEIGHTS)]
    points = [tuple(math.log(max(size, 1e-30)) for size in measure(math.exp(position))) for position in positions]
    best, least = positions[0], math.inf
    for position, (x, y), (x_next, y_next) in zip(positions, points, points[1:], strict=False):
        slope = (y - y_next) / (x_next - x) if x_next > x else math.inf
        if slope < least:
            best, least = position + step / 2, slope
    return math.exp(best)


def variation_weight(data: FieldData, solved: Callable[[float], Tensor], field_noise: Tensor | None) -> float:
    """The weight of a total variation: `solved` gives the padded chi of a weight."""

    def measured(weight: float) -> tuple[float, float]:
        chi = solved(weight)
        return residual(data, chi), mean_variation(data, chi)

    return chosen_weight(measured, VARIATION_LIMITS, noise_in_field(data, field_noise))


def noise_in_field(data: FieldData, field_noise: Tensor | None) -> float | None:
    """What the noise alone leaves in the weighted residual: root mean square over the mask, ppm; None when not known."""
    if field_noise is None:
        return None
    noise = torch.where(data.weight > 0, field_noise[data.box], 0.0)
    return root_mean_square(noise.mul_(torch.sqrt(data.weight)), data.mask)


def residual(data: FieldData, chi: Tensor) -> float:
    """Weighted residual of a padded chi: root mean square over the mask; ppm."""
    made = irfftn(rfftn(chi).mul_(data.kernel), data.padded, data.size)
    return root_mean_square(made.sub_(data.field).mul_(torch.sqrt(data.weight)), data.mask)


def mean_variation(data: FieldData, chi: Tensor) -> float:
    """Total variation of a padded chi, per voxel of the mask; ppm/mm."""
    total = sum(float(difference(chi, axis, h).abs().sum()) for axis, h in enumerate(data.grid.voxel_size))
    return total / int(data.mask.sum())


def root_mean_square(values: Tensor, mask: Tensor) -> float:
    """Of the values in the mask."""
    return math.sqrt(float((values * mask).square().sum(dtype=torch.float64)) / int(mask.sum()))
