"""Unwrapping: the phase without its wraps, in space and across echoes."""

from neuraxis.qsm.unwrapping.laplacian import laplacian
from neuraxis.qsm.unwrapping.romeo import romeo

METHODS = (romeo, laplacian)
