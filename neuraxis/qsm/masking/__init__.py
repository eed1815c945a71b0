"""Masking: the voxels whose phase is used."""

from neuraxis.qsm.masking.bet import bet
from neuraxis.qsm.masking.bet_and_phase_quality import bet_and_phase_quality
from neuraxis.qsm.masking.combined import combined
from neuraxis.qsm.masking.deepbet import deepbet
from neuraxis.qsm.masking.deepbet_and_phase_quality import deepbet_and_phase_quality
from neuraxis.qsm.masking.hd_bet import hd_bet
from neuraxis.qsm.masking.magnitude_threshold import magnitude_threshold
from neuraxis.qsm.masking.phase_quality_threshold import phase_quality_threshold

METHODS = (
    deepbet_and_phase_quality,
    deepbet,
    phase_quality_threshold,
    magnitude_threshold,
    bet_and_phase_quality,
    bet,
    hd_bet,
    combined,
)
