"""Two equations with two unknowns in each voxel, with their signs."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.units import R2PRIME_PER_PPM_TESLA
from neuraxis.volume import Tensor

torch = lazy.load("torch")

RELAXIVITY_3T = R2PRIME_PER_PPM_TESLA * 3.0
"""R2' of one ppm at 3 T; 1/s/ppm."""


def at_field(relaxivity: float, field_strength: float) -> float:
    """A relaxivity (1/s/ppm) given for 3 T, at `field_strength` in T: static dephasing is proportional to the field."""
    return relaxivity * float(field_strength) / 3.0


def check_relaxivity(**knobs: float) -> None:
    """ValueError names a knob that is not above 0."""
    for name, value in knobs.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0 1/s/ppm, not {value}")


def separated(chi: Tensor, rate: Tensor, mask: Tensor, para: float, dia: float) -> tuple[Tensor, Tensor]:
    """Paramagnetic (at least 0) and diamagnetic (at most 0) part of `chi` (ppm), which relax by `para` and `dia` (1/s/ppm).

        chi = plus + minus,  rate = para plus - dia minus

    Where these two would give a part the wrong sign, `rate` is too small for `chi`: the part is zero and `chi` is the other.
    """
    plus = (rate + dia * chi) / (para + dia)
    plus = torch.maximum(plus, chi).clamp_min_(0)
    plus = torch.where(mask & (plus > 0), plus, 0.0)
    minus = torch.where(mask, chi - plus, 0.0).clamp_max_(0)
    return plus, minus
