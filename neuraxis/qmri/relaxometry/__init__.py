"""Relaxation rate, relaxation time and initial signal from the decay over echoes."""

from neuraxis.qmri.relaxometry.arlo import arlo
from neuraxis.qmri.relaxometry.loglinear import loglinear

METHODS = (loglinear, arlo)
