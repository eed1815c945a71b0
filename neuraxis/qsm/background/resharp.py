"""Spherical means with Tikhonov regularisation."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.qsm.background.spherical_mean import SphericalMean, without_mean
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def resharp(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    *,
    radius: float = 6.0,
    regularisation: float = 1e-4,
    iterations: int = 30,
    tolerance: float = 1e-4,
) -> tuple[Tensor, Tensor]:
    """Background removal by spherical means with Tikhonov regularisation (RESHARP).

    Of all fields with the same difference from their spherical means S, the smallest one is taken for the local field:

        min over x ||M (1 - S) * (x - field)||^2 + regularisation ||x||^2,   M: where a sphere fits into the mask

    Solved by conjugate gradients from x = 0. Departure from the paper: they are preconditioned by
    1 / ((1 - S)^2 + regularisation) in Fourier space, the inverse of the operator without the mask, so that a few
    iterations do. The direction of the main field is not needed.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one sphere must fit into it.
    grid
        Place of the arrays; gives the voxel size.
    radius
        Radius of the sphere, and so about the depth of the rim that is lost; mm, above 0, and raised to 0.9 of the longest
        voxel edge where it is below. Larger is more accurate, on a smaller mask.
    regularisation
        Weight of the size of the local field; above 0. Larger suppresses more of what varies slowly.
    iterations
        Most iterations; at least 1.
    tolerance
        Stop when the residual of the normal equations is at most this share of their right side; 0 or above.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the voxels around which a sphere fits into the mask.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or no sphere fits into it.

    References
    ----------
    Sun 2014, doi:10.1002/mrm.24765
    Hestenes 1952, doi:10.6028/jres.049.044
    """
    if not 0 < regularisation < math.inf:
        raise ValueError(f"regularisation must be above 0, not {regularisation}")
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    means = SphericalMean(field_mask, grid, radius)
    padded, spectrum = means.padded, means.spectrum
    inverse = torch.square(spectrum).add_(regularisation).reciprocal_()

    def adjoint(high: Tensor) -> Tensor:
        return irfftn(rfftn(high, padded).mul_(spectrum), padded)

    local, _ = conjugate_gradients(
        lambda x: adjoint(means.high(x)).add_(x, alpha=regularisation),
        adjoint(means.high(without_mean(total_field, means.mask, means.box))),
        precondition=lambda residual: irfftn(rfftn(residual).mul_(inverse), padded),
        iterations=iterations,
        tolerance=tolerance,
    )
    x, y, z = means.size
    return means.result(local[:x, :y, :z])
