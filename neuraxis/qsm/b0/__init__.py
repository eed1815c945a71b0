"""Total field: from the unwrapped phase, with its noise."""

from neuraxis.qsm.b0.linear_fit import linear_fit
from neuraxis.qsm.b0.nonlinear_fit import nonlinear_fit
from neuraxis.qsm.b0.weighted_average import weighted_average

METHODS = (weighted_average, linear_fit, nonlinear_fit)
