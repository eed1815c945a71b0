"""Several head orientations: one susceptibility, or a susceptibility tensor, that explains the fields of all of them."""
