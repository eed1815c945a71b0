"""Phase offset: the phase at echo time zero."""

from neuraxis.qsm.offset.mcpc3ds import mcpc3ds

METHODS = (mcpc3ds,)
