"""Quantitative susceptibility mapping: from the phase of gradient echoes to magnetic susceptibility."""
