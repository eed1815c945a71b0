"""BIDS: what a data set holds, what its sidecars say, how its images are read, and how derivatives are named and written."""
