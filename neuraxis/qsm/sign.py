"""Whether veins and iron come out paramagnetic: if not, the phase was stored with the opposite sign."""

from __future__ import annotations

from dataclasses import dataclass

import lazy_loader as lazy

from neuraxis.numerics.filters import gaussian_mean, sample_quantile
from neuraxis.numerics.fourier import mask_box
from neuraxis.numerics.morphology import erode
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_RIM = 4.0
"""What lies so near to the edge of the map is not looked at; mm."""
_SURROUNDINGS = 6.0
"""Gaussian of the surroundings that a voxel is compared with; mm."""
_TAIL = 0.001
_DARKEST = 0.02
"""Shares of the voxels that are the tails of the map, and its quickest decay."""
_LEAST_SKEWNESS = 0.1
_LEAST_CONTRAST = 0.2
"""What both figures must be below zero by before the map is called turned round."""


@dataclass(frozen=True)
class SignEvidence:
    """What tells the sign of a susceptibility map; above zero is as it should be.

    skewness: (high + low tail) / (high - low tail) about the median, -1 to 1. contrast: susceptibility of the voxels with
    the quickest decay over their surroundings, in standard deviations of the map; None without two magnitudes.
    """

    skewness: float
    contrast: float | None

    @property
    def turned(self) -> bool:
        """Whether the map looks turned round."""
        if self.contrast is None:
            return self.skewness < -2 * _LEAST_SKEWNESS
        return self.skewness < -_LEAST_SKEWNESS and self.contrast < -_LEAST_CONTRAST

    @property
    def clear(self) -> bool:
        """Whether the map looks as it should."""
        mirrored = SignEvidence(-self.skewness, None if self.contrast is None else -self.contrast)
        return mirrored.turned


def sign_evidence(chi: Tensor, mask: Tensor, grid: Grid, magnitude: Tensor | None = None) -> SignEvidence | None:
    """Which sign of the phase makes veins and iron paramagnetic.

    Veins and deep nuclei are the extremes of a brain's susceptibility, on the paramagnetic side; and where the signal
    decays quicker than around (log of the first over the last magnitude), there is iron or deoxygenated blood. A
    convention of this program. None where hardly anything is left inside the rim.

    Parameters
    ----------
    chi
        Susceptibility; ppm, (X, Y, Z).
    mask
        Where it is known; (X, Y, Z).
    grid
        Grid of the images, for the voxel size.
    magnitude
        At least 0, (X, Y, Z, E).
    """
    box = mask_box(mask, (1, 1, 1))
    inside = mask[box]
    inner = erode(inside, max(1, round(_RIM / max(grid.voxel_size))))
    if int(inner.sum()) < 1000:
        return None
    found = torch.where(inside, chi[box], 0.0)
    values = found[inner]
    low, middle, high = (sample_quantile(values, share) for share in (_TAIL, 0.5, 1 - _TAIL))
    skewness = (high + low - 2 * middle) / (high - low) if high > low else 0.0
    contrast = None
    if magnitude is not None and magnitude.shape[-1] > 1:
        first, last = (torch.where(inside, magnitude[..., echo][box], 1.0) for echo in (0, -1))
        least = 1e-3 * sample_quantile(first[inner], 0.5)
        decay = torch.log(first.clamp_min(least) / last.clamp_min(least)) if least > 0 else torch.zeros_like(found)
        for part in (decay, found):
            part -= gaussian_mean(part * inner, _SURROUNDINGS, grid.voxel_size, inner)
        dark = inner & (decay > sample_quantile(decay[inner], 1 - _DARKEST))
        spread = float(found[inner].std())
        contrast = float(found[dark].mean()) / spread if spread > 0 and bool(dark.any()) else None
    return SignEvidence(skewness, contrast)
