"""Motion correction of a series of the cord: every axial slice of every volume is moved in its plane."""

from neuraxis.cord.motion.slicewise import slicewise

METHODS = (slicewise,)
