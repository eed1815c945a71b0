"""What background removal has left in a field: a harmonic polynomial, fitted and taken away."""

from __future__ import annotations

import itertools

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.fourier import Shape
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")

_RANK = 1e-7
"""Directions of the fit that the weights determine less than this, relative to the best, are left alone."""


class Harmonics:
    """Least squares fits of harmonic polynomials up to a degree, one weight for each orientation.

    Sums over voxels and values at voxels are products along one axis after the other, so that no polynomial is ever stored.

    Parameters
    ----------
    weights
        Of the fits; (O, X, Y, Z), at least 0.
    voxel_size
        Edge lengths of a voxel; mm.
    degree
        Highest degree; 0 is a constant.
    """

    def __init__(self, weights: Tensor, voxel_size: tuple[float, float, float], degree: int) -> None:
        x, y, z = weights.shape[1:]
        self.size: Shape = (x, y, z)
        places = [(torch.arange(n, device=weights.device) - (n - 1) / 2) * h for n, h in zip(self.size, voxel_size, strict=True)]
        extent = max(float(place.abs().max()) for place in places) or 1.0
        powers = [torch.stack([(place / extent) ** p for p in range(2 * degree + 1)], dim=-1).float() for place in places]
        exponents, basis = harmonic_polynomials(degree)
        self.basis = torch.from_numpy(basis)
        self.exponents = torch.from_numpy(exponents)
        self.powers = [power[:, : degree + 1].contiguous() for power in powers]
        both = self.exponents[:, None] + self.exponents[None]
        self.inverses = []
        for weight in weights:
            gram = _moments(weight, powers)[both[..., 0], both[..., 1], both[..., 2]]
            self.inverses.append(torch.linalg.pinv(self.basis @ gram @ self.basis.T, hermitian=True, rtol=_RANK))
        self.weights = weights

    def without(self, field: Tensor, orientation: int) -> Tensor:
        """The field less the polynomial that fits it best."""
        i, j, k = self.exponents.T
        moments = _moments(field * self.weights[orientation], self.powers)[i, j, k]
        factors = self.basis.T @ (self.inverses[orientation] @ (self.basis @ moments))
        table = torch.zeros([power.shape[1] for power in self.powers], dtype=torch.float64)
        table[i, j, k] = factors
        a, b, c = self.powers
        values = torch.tensordot(table.float().to(field.device), c, dims=([2], [1]))  # (i, j, z)
        values = torch.tensordot(b, values, dims=([1], [1]))  # (y, i, z)
        return field - torch.tensordot(a, values, dims=([1], [1]))


def harmonic_polynomials(degree: int) -> tuple[Array, Array]:
    """Exponents of the monomials of x, y and z up to `degree`, (M, 3), and the harmonic ones among their sums; (K, M)."""
    exponents = np.array([one for one in itertools.product(range(degree + 1), repeat=3) if sum(one) <= degree])
    number = {tuple(one): n for n, one in enumerate(exponents.tolist())}
    laplacian = np.zeros((len(exponents), len(exponents)))
    for n, one in enumerate(exponents):
        for axis in range(3):
            if one[axis] >= 2:
                lower = one.copy()
                lower[axis] -= 2
                laplacian[number[tuple(lower.tolist())], n] += one[axis] * (one[axis] - 1)
    _, values, rows = np.linalg.svd(laplacian)
    return exponents, rows[values < 1e-9]


def _moments(field: Tensor, powers: list[Tensor]) -> Tensor:
    """Sums of the field times x^i y^j z^k; (I, J, K), float64, on the CPU."""
    a, b, c = powers
    found = torch.tensordot(torch.tensordot(field, c, dims=([2], [0])), b, dims=([1], [0]))  # (x, k, j)
    return torch.tensordot(a, found, dims=([0], [0])).permute(0, 2, 1).double().cpu()
