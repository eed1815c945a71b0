"""Susceptibility-weighted imaging: a magnitude that is darkened where the phase tells of venous blood, iron or calcium."""

from neuraxis.qsm.swi.clear_swi import clear_swi
from neuraxis.qsm.swi.haacke import haacke

METHODS = (clear_swi, haacke)
