"""Cord segmentation: the outline of the cord, soft, on the image's grid."""

from neuraxis.cord.segmentation.agreed import agreed
from neuraxis.cord.segmentation.contrast_agnostic import contrast_agnostic
from neuraxis.cord.segmentation.learned import learned
from neuraxis.cord.segmentation.polar import polar

METHODS = (agreed, polar, learned, contrast_agnostic)
