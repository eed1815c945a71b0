"""BIDS: data sets, sidecars, images and derivatives."""
