"""Dipole inversion: from the local field to the susceptibility that makes it."""

from neuraxis.qsm.inversion.rts import rts
from neuraxis.qsm.inversion.tikhonov import tikhonov
from neuraxis.qsm.inversion.tkd import tkd

METHODS = (rts, tkd, tikhonov)
