"""Diffusion tensor: fractional anisotropy, diffusivities and main direction."""

from neuraxis.qmri.tensor.ordinary import ordinary
from neuraxis.qmri.tensor.restore import restore
from neuraxis.qmri.tensor.weighted import weighted

METHODS = (weighted, ordinary, restore)
