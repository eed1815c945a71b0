"""The field of a magnetic dipole, in Fourier space."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import Shape, frequencies, irfftn, padded_shape, rfftn
from neuraxis.volume import Tensor

torch = lazy.load("torch")


def dipole_kernel(
    shape: Shape,
    voxel_size: tuple[float, float, float],
    b0_direction: tuple[float, float, float],
    device: object = None,
) -> Tensor:
    """Dipole kernel on the half spectrum of a field of `shape`; field = kernel * chi, both in ppm.

        D(k) = 1/3 - (k.b)^2 / |k|^2,   D(0) = 0

    Departure from the papers: in (k.b)^2 the mixed terms 2 k_i k_j b_i b_j, which are there when the main field is tilted
    against the voxel axes, are tapered by cos(pi k_i h_i) cos(pi k_j h_j) with the voxel edges h. Else they jump from one
    sign to the other at the Nyquist frequency, and every edge rings across the whole field of view.

    Parameters
    ----------
    shape
        Number of voxels of the field along each axis.
    voxel_size
        Edge lengths of a voxel; mm.
    b0_direction
        Direction of the main field in voxel axes; any length but 0, its sign does not matter.
    device
        Where the kernel is made.

    Returns
    -------
    D; (X, Y, Z // 2 + 1), float32, -2/3..1/3.

    References
    ----------
    Salomir 2003, doi:10.1002/cmr.b.10083
    Marques 2005, doi:10.1002/cmr.b.20034
    """
    length = sum(b * b for b in b0_direction) ** 0.5
    if not length > 0:
        raise ValueError(f"the direction of the main field has no length: {b0_direction}")
    k = frequencies(shape, voxel_size, device)
    parts = [axis * (b / length) for axis, b in zip(k, b0_direction, strict=True)]
    # cos is 1 at k = 0 and 0 at the Nyquist frequency, where k and -k are one and a product k_i k_j has no sign
    mixed = [part * torch.cos(math.pi * h * axis) for part, h, axis in zip(parts, voxel_size, k, strict=True)]
    kernel = (mixed[0] + mixed[1] + mixed[2]).square_()
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    squared[0, 0, 0] = 1.0
    for part, other in zip(parts, mixed, strict=True):
        kernel += part**2 - other**2
    kernel = kernel.div_(squared).neg_().add_(1.0 / 3.0)
    kernel[0, 0, 0] = 0.0
    return kernel


def dipole_field(
    chi: Tensor, voxel_size: tuple[float, float, float], b0_direction: tuple[float, float, float]
) -> Tensor:
    """Field of a susceptibility that is zero outside its array, without wrap-around (twofold padding); ppm of B0."""
    x, y, z = chi.shape
    padded = padded_shape((x, y, z), (x, y, z))
    spectrum = rfftn(chi, padded)
    spectrum *= dipole_kernel(padded, voxel_size, b0_direction, chi.device)
    return irfftn(spectrum, padded, (x, y, z)).contiguous()
