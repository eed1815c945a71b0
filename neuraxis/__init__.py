"""Neuraxis: quantitative MRI of brain and spinal cord, from BIDS to maps, tables and reports."""

__version__ = "0.1.0"
