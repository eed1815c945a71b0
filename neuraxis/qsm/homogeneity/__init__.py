"""Homogeneity: magnitude without the receive field of the coils."""

from neuraxis.qsm.homogeneity.box import box
from neuraxis.qsm.homogeneity.n4 import n4
from neuraxis.qsm.homogeneity.none import none

METHODS = (n4, box, none)
