"""Intervertebral discs: where they lie along the cord and which is which."""

from neuraxis.cord.discs.matching import matching
from neuraxis.cord.discs.recognised import recognised
from neuraxis.cord.discs.session import session
from neuraxis.cord.discs.spine import spine

METHODS = (session, recognised, matching, spine)
