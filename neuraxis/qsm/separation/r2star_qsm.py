"""Separation of susceptibility from gradient echoes alone, voxel by voxel."""

from __future__ import annotations

from neuraxis.qsm.separation.voxelwise import RELAXIVITY_3T, at_field, check_relaxivity, separated
from neuraxis.volume import Tensor

_R2STAR_OVER_R2PRIME = 2.0
"""R2* in brain tissue is about twice R2'. With it the relaxivity is that of the QSM-CI benchmark, 274 1/s/ppm at 3 T."""


def r2star_qsm(
    chi: Tensor,
    r2star: Tensor,
    chi_mask: Tensor,
    field_strength: float,
    *,
    relaxivity: float = _R2STAR_OVER_R2PRIME * RELAXIVITY_3T,
    baseline: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Closed form from QSM and R2*, without spin echoes.

    As in the closed form from R2', with R2* above a baseline in its place:

        chi = chi+ + chi-,   R2* - baseline = D (chi+ - chi-),   D = relaxivity x B0 / 3 T

    What relaxes irreversibly (R2) is not told apart, so the parts are only as good as its proportion to R2' is constant; where
    R2* is too small for chi, the part of the wrong sign is zero and chi is kept.

    Parameters
    ----------
    chi
        Susceptibility, referenced; ppm, (X, Y, Z).
    r2star
        Relaxation rate of the gradient echoes; 1/s, (X, Y, Z), at least 0.
    chi_mask
        Where the susceptibility is known; (X, Y, Z).
    field_strength
        Main field; T.
    relaxivity
        R2* of 1 ppm at 3 T; 1/s/ppm, above 0. 274 is twice that of R2', as R2 makes about half of R2*; larger gives less of both.
    baseline
        R2* of tissue without susceptibility, taken off; 1/s, at least 0.

    Returns
    -------
    Paramagnetic susceptibility (at least 0) and diamagnetic susceptibility (at most 0); ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range.

    References
    ----------
    Dimov 2022, doi:10.3390/tomography8030127
    """
    check_relaxivity(relaxivity=relaxivity)
    if not 0 <= baseline < float("inf"):
        raise ValueError(f"baseline must be at least 0 1/s, not {baseline}")
    both = at_field(relaxivity, field_strength)
    return separated(chi, (r2star - baseline).clamp_min(0), chi_mask, both, both)
