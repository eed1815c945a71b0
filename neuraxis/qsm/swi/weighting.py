"""From a high-passed phase to a weight between 0 and 1, in five ways."""

from __future__ import annotations

import math
from typing import Literal

import lazy_loader as lazy

from neuraxis.numerics.filters import sample_quantile
from neuraxis.volume import Tensor

torch = lazy.load("torch")

Weighting = Literal["tanh", "negative_tanh", "positive", "negative", "triangular"]
KINDS = ("tanh", "negative_tanh", "positive", "negative", "triangular")


def check_weighting(weighting: str, strength: float) -> None:
    """ValueError names a knob out of range."""
    if weighting not in KINDS:
        raise ValueError(f"weighting must be one of {', '.join(KINDS)}, not {weighting!r}")
    if not 0 < strength < math.inf:
        raise ValueError(f"strength must be above 0, not {strength}")


def phase_weight(phase: Tensor, mask: Tensor, weighting: Weighting, strength: float) -> Tensor:
    """Weight of each voxel of a high-passed `phase` (rad), 0 to 1; `strength` above 0.

        tanh             (1 + tanh(1 - phase / scale)) / 2,  scale = 10 / strength x median of the positive phase
        negative_tanh    the same of minus the phase
        positive         (1 - phase / pi) ^ strength where the phase is above 0, else 1
        negative         the same of minus the phase
        triangular       (1 - |phase| / pi) ^ strength

    Positive phase is a stronger field: tanh and positive darken what is paramagnetic, the negative ones what is diamagnetic.
    """
    signed = -phase if weighting.startswith("negative") else phase
    if weighting.endswith("tanh"):
        scale = sample_quantile(signed[mask & (signed > 0)], 0.5) * 10 / strength
        if not scale > 0:
            return torch.ones_like(phase)
        return torch.tanh(1 - signed / scale).add_(1).mul_(0.5)
    side = signed.abs() if weighting == "triangular" else signed
    return (1 - side / math.pi).clamp_(0, 1).pow_(strength)
