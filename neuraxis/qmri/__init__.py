"""Quantitative MRI that belongs to no organ."""
