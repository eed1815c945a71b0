"""Reliability: the part of the mask where the field can be trusted."""

from neuraxis.qsm.reliability.consistency import consistency
from neuraxis.qsm.reliability.everywhere import everywhere

METHODS = (consistency, everywhere)
