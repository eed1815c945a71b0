"""Arrays in, arrays out: the mathematics that no organ owns (Fourier, dipole, operators, solvers, filters, metrics)."""
