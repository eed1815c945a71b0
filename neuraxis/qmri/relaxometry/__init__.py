"""Relaxometry: relaxation rate and time and initial signal from the decay over echoes."""

from neuraxis.qmri.relaxometry.arlo import arlo
from neuraxis.qmri.relaxometry.loglinear import loglinear
from neuraxis.qmri.relaxometry.nonlinear import nonlinear

METHODS = (loglinear, arlo, nonlinear)
