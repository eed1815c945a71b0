"""Phantoms with a known answer, written as BIDS data sets: a head built at run time, and what a scanner sees of it."""
