"""Magnitudes weighted by the susceptibility itself: where it is, not where its field reaches."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.volume import Tensor

torch = lazy.load("torch")


def _ramp(chi: Tensor, low: float, high: float, power: float) -> Tensor:
    """1 up to `low`, falling in a straight line to 0 at `high`, to the `power`."""
    return ((high - chi) / (high - low)).clamp_(0, 1).pow_(power)


def _check(power: float) -> None:
    if not 0 < power < math.inf:
        raise ValueError(f"power must be above 0, not {power}")


def true_swi(
    chi: Tensor, combined_magnitude: Tensor, chi_mask: Tensor, *, low: float = 0.0, high: float = 0.45, power: float = 2.0
) -> Tensor:
    """Susceptibility-weighted image from the susceptibility (true SWI).

    No dipole pattern, no dependence on the direction of a vein:

        true_swi = magnitude x ((high - chi) / (high - low))^power between low and high, 1 below, 0 above

    Parameters
    ----------
    chi
        Susceptibility, referenced; ppm, (X, Y, Z).
    combined_magnitude
        Root sum of squares of the echoes; (X, Y, Z), at least 0.
    chi_mask
        Where the susceptibility is known; (X, Y, Z).
    low
        Susceptibility up to which nothing is darkened; ppm, below high.
    high
        Susceptibility that is black; ppm, above low. 0.45 is venous blood.
    power
        How often the weight is multiplied, above 0; larger is darker.

    Returns
    -------
    Weighted magnitude; unit of the magnitude, (X, Y, Z), at least 0, zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range.

    References
    ----------
    Liu 2014, doi:10.1002/jmri.24413
    """
    _check(power)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low must be below high, and {low} ppm is not below {high} ppm")
    return torch.where(chi_mask, combined_magnitude * _ramp(chi, low, high, power), 0.0)


def smwi(
    chi: Tensor, combined_magnitude: Tensor, chi_mask: Tensor, *, threshold: float = 1.0, power: float = 4.0
) -> tuple[Tensor, Tensor]:
    """Susceptibility-map weighted images.

        paramagnetic = magnitude x (1 - chi / threshold)^power where chi is above 0
        diamagnetic  = magnitude x (1 + chi / threshold)^power where chi is below 0

    Parameters
    ----------
    chi
        Susceptibility, referenced; ppm, (X, Y, Z).
    combined_magnitude
        Root sum of squares of the echoes; (X, Y, Z), at least 0.
    chi_mask
        Where the susceptibility is known; (X, Y, Z).
    threshold
        Absolute susceptibility that is black; ppm, above 0. Smaller is darker.
    power
        How often the weight is multiplied, above 0; larger is darker.

    Returns
    -------
    Magnitude with the paramagnetic dark, and with the diamagnetic dark; unit of the magnitude, (X, Y, Z), at least 0, zero
    outside the mask.

    Raises
    ------
    ValueError: a knob out of range.

    References
    ----------
    Gho 2014, doi:10.1002/mrm.24920
    """
    _check(power)
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold must be above 0 ppm, not {threshold}")
    para, dia = (
        torch.where(chi_mask, combined_magnitude * _ramp(one, 0.0, threshold, power), 0.0) for one in (chi, -chi)
    )
    return para, dia
