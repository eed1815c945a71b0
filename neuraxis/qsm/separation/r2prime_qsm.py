"""Separation of susceptibility from QSM and R2', voxel by voxel."""

from __future__ import annotations

from neuraxis.qsm.separation.voxelwise import RELAXIVITY_3T, at_field, check_relaxivity, separated
from neuraxis.volume import Tensor


def r2prime_qsm(
    chi: Tensor,
    r2prime: Tensor,
    chi_mask: Tensor,
    field_strength: float,
    *,
    relaxivity_para: float = RELAXIVITY_3T,
    relaxivity_dia: float = RELAXIVITY_3T,
) -> tuple[Tensor, Tensor]:
    """Closed form from QSM and R2'.

    Susceptibilities of both signs add up in the field and take from each other; in R2' both dephase:

        chi = chi+ + chi-,   R2' = D+ chi+ - D- chi-,   D = relaxivity x B0 / 3 T

    Where R2' is too small for chi, the part of the wrong sign is zero and chi is kept. The zero of chi matters: reference it to a
    tissue that holds little of both, such as fluid.

    Parameters
    ----------
    chi
        Susceptibility, referenced; ppm, (X, Y, Z).
    r2prime
        Reversible relaxation rate; 1/s, (X, Y, Z), at least 0.
    chi_mask
        Where the susceptibility is known; (X, Y, Z).
    field_strength
        Main field; T.
    relaxivity_para
        R2' of 1 ppm of paramagnetic sources at 3 T; 1/s/ppm, above 0. 137 was measured in deep nuclei; larger gives less of both.
    relaxivity_dia
        The same for diamagnetic sources; not measured for myelin in the living brain, and taken alike.

    Returns
    -------
    Paramagnetic susceptibility (at least 0) and diamagnetic susceptibility (at most 0); ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range.

    References
    ----------
    Shin 2021, doi:10.1016/j.neuroimage.2021.118371
    """
    check_relaxivity(relaxivity_para=relaxivity_para, relaxivity_dia=relaxivity_dia)
    para, dia = at_field(relaxivity_para, field_strength), at_field(relaxivity_dia, field_strength)
    return separated(chi, r2prime, chi_mask, para, dia)
