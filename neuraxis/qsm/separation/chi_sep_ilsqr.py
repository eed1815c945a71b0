"""Separation of susceptibility from local field and R2', started from iLSQR, with edges of the magnitude and of R2'."""

from __future__ import annotations

from collections.abc import Sequence

import lazy_loader as lazy

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import Shape, box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.numerics.solvers import Operator
from neuraxis.qsm.inversion.ilsqr import ilsqr
from neuraxis.qsm.inversion.nonlinear_data import check_knobs
from neuraxis.qsm.separation.edges import steepest, within
from neuraxis.qsm.separation.voxelwise import RELAXIVITY_3T, at_field, check_relaxivity, separated
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_TRUSTED = (1.0, 30.0)
"""R2' below or above which it weighs a tenth; 1/s at 3 T. Shin 2021."""

_DOUBTED = 0.1
"""Weight of R2' there. Shin 2021."""

_SMALLEST_GRADIENT = 1e-3
"""Below this gradient, in ppm per mm, the absolute value is rounded off, so that its slope is known everywhere."""

_MOST_WEIGHT = 2.0
"""Weight of the brightest voxels, in weights of the mean voxel: a coil nearby shall not rule the fit."""


def chi_sep_ilsqr(
    local_field: Tensor,
    r2prime: Tensor,
    combined_magnitude: Tensor,
    local_mask: Tensor,
    field_strength: float,
    grid: Grid,
    *,
    relaxivity_para: float = RELAXIVITY_3T,
    relaxivity_dia: float = RELAXIVITY_3T,
    regularisation: float = 2e-4,
    r2prime_weight: float = 0.03,
    edges: float = 0.1,
    iterations: int = 5,
    inner_iterations: int = 8,
    tolerance: float = 0.01,
    padding: float = 20.0,
) -> tuple[Tensor, Tensor]:
    """Chi-separation started from iLSQR, weighted by the signal, with the edges of magnitude and R2'.

    Both parts are found at once; their sum is smooth where the magnitude is, and each of them where R2' is:

        min 1/2 ||W (field - D (chi+ + chi-))||^2 + w/2 ||W V (R2'/D_r - (a chi+ - b chi-))||^2
            + regularisation (2 ||M grad (chi+ + chi-)||_1 + ||N grad chi+||_1 + ||N grad chi-||_1)
        chi+ >= 0,  chi- <= 0,   a, b = D+/D_r, D-/D_r,   D_r = (D+ + D-)/2

    W is the magnitude over its mean; V is 1, and 1/10 where R2' is below 1/s or above 30/s (at 3 T); M and N are 0 at the
    steepest voxels of the magnitude and of R2'. The start is the closed form of R2' and the map of iLSQR. Gauss-Newton steps
    by conjugate gradients, preconditioned in Fourier space. Departures from the paper: a voxel that its sign holds at zero
    is left out of the step, so that clipping afterwards does not spoil it, and W is at most 2.
    The sum of the parts is referenced by R2' (zero where there is none), not by a tissue.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z).
    r2prime
        Reversible relaxation rate; 1/s, (X, Y, Z), at least 0.
    combined_magnitude
        Root sum of squares of the echoes, for its edges and as a weight; (X, Y, Z), at least 0.
    local_mask
        Where the local field is known; (X, Y, Z).
    field_strength
        Main field; T.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    relaxivity_para
        R2' of 1 ppm of paramagnetic sources at 3 T; 1/s/ppm, above 0.
    relaxivity_dia
        The same for diamagnetic sources.
    regularisation
        Weight of the gradients; ppm mm, above 0. Larger is smoother.
    r2prime_weight
        w, weight of R2' beside the field; above 0. Larger trusts R2' more. 0.03 is the paper's: both as rates in 1/s.
    edges
        Share of the neighbours, along each axis, that differ most: no smoothness is asked there; 0 to below 1.
    iterations
        Most Gauss-Newton steps; at least 1.
    inner_iterations
        Iterations of conjugate gradients in each; at least 1.
    tolerance
        Stop when the sum of the parts changes by less than this share of itself; at least 0.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Paramagnetic susceptibility (at least 0) and diamagnetic susceptibility (at most 0); ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob out of range, or the mask is empty.

    References
    ----------
    Shin 2021, doi:10.1016/j.neuroimage.2021.118371
    Li 2015, doi:10.1016/j.neuroimage.2014.12.043
    """
    check_relaxivity(relaxivity_para=relaxivity_para, relaxivity_dia=relaxivity_dia)
    check_knobs(
        above_zero={"regularisation": regularisation, "r2prime_weight": r2prime_weight},
        at_least_zero={"tolerance": tolerance, "padding": padding},
        counts={"iterations": iterations, "inner_iterations": inner_iterations},
    )
    if not 0 <= edges < 1:
        raise ValueError(f"edges must be 0 to below 1, not {edges}")
    box = mask_box(local_mask)
    mask, size = local_mask[box], box_shape(box)
    x, y, z = (padding / h for h in grid.voxel_size)
    mean = at_field((relaxivity_para + relaxivity_dia) / 2, field_strength)
    a, b = (one * 2 / (relaxivity_para + relaxivity_dia) for one in (relaxivity_para, relaxivity_dia))
    rate = torch.where(mask, r2prime[box], 0.0)
    magnitude = torch.where(mask, combined_magnitude[box], 0.0)
    weight = (magnitude / (magnitude.sum() / mask.sum()).clamp_min(1e-30)).clamp_max_(_MOST_WEIGHT).square_()
    low, high = (at_field(one, field_strength) for one in _TRUSTED)
    trust = torch.where((rate >= low) & (rate <= high), 1.0, _DOUBTED**2).mul_(weight).mul_(r2prime_weight)
    chi = ilsqr(local_field, local_mask, grid)[box]
    plus, minus = separated(chi, rate / mean, mask, a, b)
    problem = _Problem(
        torch.where(mask, local_field[box], 0.0),
        rate / mean,
        weight,
        trust,
        (a, b),
        mask,
        padded_shape(size, (x, y, z)),
        grid,
    )
    smooth = [
        torch.stack([within(mask, axis) & ~steep for axis, steep in enumerate(steepest(image, mask, edges))])
        for image in (magnitude, rate)
    ]
    for _ in range(iterations):
        before = plus + minus
        plus, minus = problem.step(plus, minus, smooth, regularisation, inner_iterations)
        change = float(torch.linalg.vector_norm(before.sub_(plus).sub_(minus)))
        if change <= tolerance * float(torch.linalg.vector_norm(plus + minus)):
            break
    return paste(plus, box, grid.shape), paste(minus, box, grid.shape)


class _Problem:
    """The cost in the box of the mask, and its Gauss-Newton step."""

    def __init__(
        self, field: Tensor, rate: Tensor, weight: Tensor, trust: Tensor, shares: tuple[float, float], mask: Tensor,
        padded: Shape, grid: Grid,
    ) -> None:  # fmt: skip
        self.field, self.rate, self.weight, self.trust, self.shares, self.mask = (
            field,
            rate,
            weight,
            trust,
            shares,
            mask,
        )
        self.padded, self.voxel_size = padded, grid.voxel_size
        self.size: Shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        self.kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, field.device)
        self.eigenvalues = laplacian_eigenvalues(padded, grid.voxel_size, field.device)
        number = mask.sum()
        self.mean_weight, self.mean_trust = float(weight.sum() / number), float(trust.sum() / number)

    def dipoles(self, chi: Tensor) -> Tensor:
        return irfftn(rfftn(chi, self.padded).mul_(self.kernel), self.padded, self.size)

    def step(
        self, plus: Tensor, minus: Tensor, smooth: Sequence[Tensor], regularisation: float, iterations: int
    ) -> tuple[Tensor, Tensor]:
        """The next parts: |g| is replaced by g^2 / |g| at the gradients g of these."""
        a, b = self.shares
        stiffness = [
            self._stiffness(image, where, factor * regularisation)
            for image, where, factor in ((plus + minus, smooth[0], 2), (plus, smooth[1], 1), (minus, smooth[1], 1))
        ]

        def pulled(parts: Tensor, field: Tensor | float = 0.0, rate: Tensor | float = 0.0) -> Tensor:
            total = parts[0] + parts[1]
            common = self.dipoles((self.dipoles(total) - field).mul_(self.weight)).contiguous()
            self._add_smoothness(common, total, stiffness[0])
            relaxed = (parts[0] * a).sub_(parts[1], alpha=b).sub_(rate).mul_(self.trust)
            out = torch.stack((common + a * relaxed, common - b * relaxed))
            for one in range(2):
                self._add_smoothness(out[one], parts[one], stiffness[1 + one])
            return out

        parts = torch.stack((plus, minus))
        downhill = pulled(parts, self.field, self.rate).neg_()
        # what lies at zero and would leave its sign stays there
        free = torch.stack(((plus > 0) | (downhill[0] > 0), (minus < 0) | (downhill[1] < 0))).logical_and_(self.mask)
        precondition = self._preconditioner(stiffness, free)
        found, _ = conjugate_gradients(
            lambda parts: pulled(parts).mul_(free),
            downhill.mul_(free),
            precondition=precondition,
            iterations=iterations,
            tolerance=1e-3,
        )
        parts += found
        return parts[0].clamp_min_(0.0), parts[1].clamp_max_(0.0)

    def _stiffness(self, image: Tensor, where: Tensor, factor: float) -> Tensor:
        out = image.new_empty((3, *self.size))
        for axis, h in enumerate(self.voxel_size):
            difference(image, axis, h, out[axis])
        return out.square_().add_(_SMALLEST_GRADIENT**2).rsqrt_().mul_(factor).mul_(where)

    def _add_smoothness(self, total: Tensor, image: Tensor, stiffness: Tensor) -> None:
        for axis, h in enumerate(self.voxel_size):
            add_adjoint_difference(total, difference(image, axis, h).mul_(stiffness[axis]), axis, h)

    def _preconditioner(self, stiffness: list[Tensor], free: Tensor) -> Operator:
        """Inverse of the cost with all weights at their mean: a 2 x 2 system per frequency."""
        (a, b), square = self.shares, self.kernel**2 * self.mean_weight
        both, *each = (float(one.sum() / (3 * self.mask.sum())) for one in stiffness)
        square.add_(self.eigenvalues, alpha=both)
        pp = (square + self.mean_trust * a * a).add_(self.eigenvalues, alpha=each[0])
        nn = (square + self.mean_trust * b * b).add_(self.eigenvalues, alpha=each[1])
        pn = square - self.mean_trust * a * b
        bottom = (pp * nn).sub_(pn**2).clamp_min_(1e-12)

        def precondition(parts: Tensor) -> Tensor:
            p, n = (rfftn(one, self.padded) for one in parts)
            new = ((nn * p - pn * n).div_(bottom), (pp * n - pn * p).div_(bottom))
            return torch.stack([irfftn(one, self.padded, self.size) for one in new]).mul_(free)

        return precondition
