"""Path of the cord: where it runs, roughly, slice by slice."""

from neuraxis.cord.path.along import along
from neuraxis.cord.path.tubular import tubular

METHODS = (along, tubular)
