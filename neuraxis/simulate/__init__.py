"""Phantoms with a known answer, written as BIDS data sets: a head built at run time, and what a scanner sees of it."""

from neuraxis.simulate.dataset import simulate
from neuraxis.simulate.options import Phantom

__all__ = ["Phantom", "simulate"]
