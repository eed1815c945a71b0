"""Magnetisation transfer: images laid on each other, the ratio (MTR), and the saturation (MTsat) with T1."""
