"""Centerline: the smooth curve through the centres of the cord, and its direction in every slice."""

from neuraxis.cord.centerline.bspline import bspline
from neuraxis.cord.centerline.linear import linear
from neuraxis.cord.centerline.nurbs import nurbs
from neuraxis.cord.centerline.polyfit import polyfit

METHODS = (bspline, linear, polyfit, nurbs)
