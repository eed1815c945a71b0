"""Unwrapping: the phase without its wraps, in space and across echoes."""

from neuraxis.qsm.unwrapping.laplacian import laplacian
from neuraxis.qsm.unwrapping.reliability_sorting import reliability_sorting
from neuraxis.qsm.unwrapping.romeo import romeo

METHODS = (romeo, laplacian, reliability_sorting)
