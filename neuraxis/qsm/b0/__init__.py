"""Total field: from the unwrapped phase, with its noise."""

from neuraxis.qsm.b0.weighted_average import weighted_average

METHODS = (weighted_average,)
