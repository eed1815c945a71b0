"""Cord area as it would be in the average brain: normalisation by sex, brain volume and thalamus volume."""

from __future__ import annotations

import math

_MEANS = {"sex": 0.43657, "brain": 1_156_171.0, "thalamus": 15_265.6, "brain and sex": 530_335.0}
"""Of 804 adults of the UK Biobank: share of men, mm3, mm3, mm3 (Bedard 2022, doi:10.3389/fnimg.2022.1031253)."""

_WITH_THALAMUS = {"sex": -15.000, "brain": 2.4535e-6, "thalamus": 1.98004e-3, "brain and sex": 1.25536e-5}
_WITHOUT = {"sex": -15.00754, "brain": 2.37420e-5, "brain and sex": 1.23894e-5}
"""Slopes of the cord area: mm2 (man against woman), mm2 per mm3 (the same paper, as the Spinal Cord Toolbox holds them)."""


def normalise_area(area: float, sex: int, brain_volume: float, thalamus_volume: float | None = None) -> float:
    """Area of the cord at C2-C3 with the effect of sex and brain size taken out.

        area + sum_k slope_k (population mean_k - value_k),     k: sex, brain volume, brain volume * sex (, thalamus volume)

    Parameters
    ----------
    area
        Measured area; mm2.
    sex
        1 for men, 0 for women.
    brain_volume
        Without ventricles; mm3, above 0.
    thalamus_volume
        Of both sides; mm3, above 0. It removes more of the spread between people.

    Returns
    -------
    Area; mm2.

    Raises
    ------
    ValueError: sex is neither 0 nor 1, or a volume is not above 0.

    References
    ----------
    Bedard 2022, doi:10.3389/fnimg.2022.1031253
    """
    if sex not in (0, 1):
        raise ValueError(f"sex must be 0 (woman) or 1 (man), not {sex}")
    for name, volume in (("brain_volume", brain_volume), ("thalamus_volume", thalamus_volume)):
        if volume is not None and not 0 < volume < math.inf:
            raise ValueError(f"{name} must be above 0 mm3, not {volume}")
    values = {"sex": float(sex), "brain": brain_volume, "brain and sex": brain_volume * sex}
    slopes = _WITHOUT
    if thalamus_volume is not None:
        values["thalamus"], slopes = thalamus_volume, _WITH_THALAMUS
    return area + sum(slope * (_MEANS[name] - values[name]) for name, slope in slopes.items())
