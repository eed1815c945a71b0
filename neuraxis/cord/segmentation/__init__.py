"""Cord segmentation: from the image and a rough path to the share of every voxel that is cord."""

from neuraxis.cord.segmentation.contrast_agnostic import contrast_agnostic
from neuraxis.cord.segmentation.learned import learned
from neuraxis.cord.segmentation.polar import polar

METHODS = (learned, polar, contrast_agnostic)
