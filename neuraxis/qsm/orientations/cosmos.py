"""Susceptibility from several head orientations."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.orientations.directions import distinct, field_directions, worst_frequency
from neuraxis.qsm.orientations.stack import check_knobs, stacked
from neuraxis.qsm.reference.mean import mean
from neuraxis.table import Table
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_FLOOR = 1e-3
"""Least value of sum_i D_i^2 that the start and the preconditioner divide by."""

_MEAN_SQUARE = 4 / 45
"""Mean of D^2 over all directions."""


def cosmos(
    oriented_fields: Tensor,
    oriented_masks: Tensor,
    head_positions: Table,
    grid: Grid,
    oriented_noise: Tensor | None = None,
    *,
    alpha: float = 1e-3,
    conditioning: float = 0.04,
    harmonics: int = 4,
    iterations: int = 50,
    tolerance: float = 1e-2,
    padding: float = 20.0,
) -> Tensor:
    """Susceptibility from several head orientations (COSMOS).

    The dipole kernel is zero on a cone around the main field. When the head turns, the cone turns with it, and from three
    orientations on that are not too close to each other every frequency is seen by one of them:

        min sum_i ||W_i M_i (D_i chi + h_i - field_i)||^2 + alpha ||chi||^2,   chi = 0 outside all masks M_i

    with the weights W_i = 1 / noise_i (W_i^2 at most ten times its median; without the noise, 1) and harmonic polynomials h_i of
    low degree, which take what the removal of the background has left. Conjugate gradients start from
    chi(k) = sum_i D_i field_i / sum_i D_i^2, which is also what preconditions them. Departures from the paper: masks, h_i and
    the small penalty.

    Parameters
    ----------
    oriented_fields
        Local field of each orientation; ppm of B0, (X, Y, Z, O), positive where the field is stronger.
    oriented_masks
        Where each is known; bool, (X, Y, Z, O), at least one voxel each.
    head_positions
        Direction of the main field in the world of the grid (b0_x, b0_y, b0_z), one row per orientation.
    grid
        Place of the arrays; gives voxel size and axes.
    oriented_noise
        Standard deviation of each field; ppm, (X, Y, Z, O), above 0 in the mask (a voxel where it is not weighs nothing).
    alpha
        Weight of the penalty on the susceptibility; 0 or above. Larger is smoother and darker.
    conditioning
        Least sqrt(sum_i D_i^2) of the worst-conditioned frequency, at which noise grows by 1 / this; 0 or above. Smaller takes
        smaller turns of the head. 0 takes any, two orientations as well, and wants an alpha above 0.
    harmonics
        Highest degree of the harmonic polynomials that background removal may have left in each field; 0 (a constant) to 8. More take
        away more of it, and with it what is smooth in the susceptibility.
    iterations
        Most iterations; 0 gives the start, in the masks.
    tolerance
        Stop when the residual is so small against that of the start; 0 or above.
    padding
        Zeros behind the box of the masks, against wrap-around; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), mean 0 where most orientations are known, and zero elsewhere.

    Raises
    ------
    ValueError: a knob is outside its range, there are too few orientations or they lie too close to each other, a mask is
    empty, or the noise is nowhere above 0.

    References
    ----------
    Liu 2009, doi:10.1002/mrm.21828
    """
    check_knobs(conditioning, alpha, harmonics, iterations, tolerance, padding)
    directions = field_directions(head_positions, oriented_fields.shape[-1], grid)
    number, worst = distinct(directions), worst_frequency(directions)
    if number < (3 if conditioning > 0 else 2):
        raise ValueError(
            f"COSMOS needs at least 3 head orientations, and {number} of the {len(directions)} given differ by more than 3 degrees: "
            f"the dipole kernels of two orientations still have zeros in common"
        )
    if worst < conditioning:
        raise ValueError(
            f"the head turned too little between the orientations: sqrt(sum of D^2) is only {worst:.3f} at the worst-conditioned "
            f"frequency, and conditioning asks for {conditioning}"
        )
    data = stacked(oriented_fields, oriented_masks, oriented_noise, grid, harmonics, padding)
    kernels = [dipole_kernel(data.padded, grid.voxel_size, tuple(b), data.fields.device) for b in directions.tolist()]
    strength = torch.stack(kernels).square_().sum(0).add_(alpha)
    strength.clamp_min_(_FLOOR)[0, 0, 0] = _MEAN_SQUARE * len(kernels)  # of the mean, masks tell a little

    def adjoint(fields: list[Tensor]) -> Tensor:
        """sum_i D_i field_i, as a spectrum."""
        total = torch.zeros_like(kernels[0], dtype=torch.complex64)
        for kernel, field in zip(kernels, fields, strict=True):
            total += rfftn(field, data.padded).mul_(kernel)
        return total

    def inside(spectrum: Tensor) -> Tensor:
        return irfftn(spectrum, data.padded, data.size) * data.anywhere

    def weighted(chi: Tensor) -> list[Tensor]:
        spectrum = rfftn(chi, data.padded)
        return [data.weighted(irfftn(spectrum * kernel, data.padded, data.size), one) for one, kernel in enumerate(kernels)]

    def normal(chi: Tensor) -> Tensor:
        return inside(adjoint(weighted(chi))).add_(chi, alpha=alpha)

    chi = inside(adjoint(list(data.fields)).div_(strength))
    rest = inside(adjoint(list(data.fields * data.weights))) - normal(chi)
    step, _ = conjugate_gradients(
        normal,
        rest,
        precondition=lambda residual: inside(rfftn(residual, data.padded).div_(strength)),
        iterations=iterations,
        tolerance=tolerance,
    )
    return mean(data.whole(chi + step), data.mask)


