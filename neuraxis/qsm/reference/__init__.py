"""Reference: the susceptibility that is called zero."""

from neuraxis.qsm.reference.csf import csf
from neuraxis.qsm.reference.mean import mean
from neuraxis.qsm.reference.none import none

METHODS = (mean, csf, none)
