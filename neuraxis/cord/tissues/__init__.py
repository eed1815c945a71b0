"""Tissue probabilities: cord, canal and grey matter by a learned model."""

from neuraxis.cord.tissues.small import small

METHODS = (small,)
