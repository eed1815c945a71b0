"""Susceptibility tensor imaging."""

from __future__ import annotations

import math

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.conjugate_gradients import conjugate_gradients
from neuraxis.numerics.fourier import Shape, frequencies, irfftn, rfftn
from neuraxis.qsm.orientations.directions import distinct, field_directions, products, worst_tensor
from neuraxis.qsm.orientations.stack import Stack, check_knobs, stacked
from neuraxis.qsm.reference.mean import mean
from neuraxis.table import Table
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_ROOT = math.sqrt(2)
_PLACE = ((0, 3, 4), (3, 1, 5), (4, 5, 2))
"""Which of the six components stands where in the tensor: xx, yy, zz, and the root of 2 times xy, xz, yz."""


def sti(
    oriented_fields: Tensor,
    oriented_masks: Tensor,
    head_positions: Table,
    grid: Grid,
    oriented_noise: Tensor | None = None,
    *,
    alpha: float = 0.01,
    conditioning: float = 0.008,
    harmonics: int = 4,
    iterations: int = 30,
    tolerance: float = 1e-2,
    padding: float = 20.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Susceptibility tensor imaging (STI).

    Where the susceptibility is a symmetric tensor T, the field along the main field's direction b_i in the head is

        field_i(k) = b_i' T b_i / 3 - (k.b_i) k' T b_i / |k|^2 = b_i' (L_k T) b_i,   L_k T = T / 3 - (P T + T P) / 2,   P = k k' / |k|^2

    so that six orientations or more determine the six components:

        min sum_i ||W_i M_i (b_i' F^-1 L F T b_i + h_i - field_i)||^2 + alpha ||T - trace(T) I / 3||^2,   T = 0 outside all masks M_i

    by conjugate gradients from the closed form for one common mask, which is also what preconditions them. Departures from the
    paper: masks, weights and harmonic polynomials h_i as for COSMOS, and a penalty on anisotropy.

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
        Weight of the penalty on anisotropy; 0 or above. Larger is less noisy and less anisotropic.
    conditioning
        Least singular value of the map from tensors to fields, at which noise grows by 1 / this; 0 or above. Smaller takes smaller
        turns of the head. 0 takes any turns of six orientations, and wants an alpha above 0.
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
    Tensor, along the world axes of the grid (xx, xy, xz, yy, yz, zz); ppm, (X, Y, Z, 6). Mean susceptibility, a third of its
    trace; ppm, (X, Y, Z), mean 0 where most orientations are known. Anisotropy, the largest eigenvalue less the mean of the
    other two; ppm, (X, Y, Z), at least 0. All zero where fewer than most orientations are known.

    Raises
    ------
    ValueError: a knob is outside its range, there are too few orientations or they lie too close to each other, a mask is
    empty, or the noise is nowhere above 0.

    References
    ----------
    Liu 2010, doi:10.1002/mrm.22482
    """
    check_knobs(conditioning, alpha, harmonics, iterations, tolerance, padding)
    directions = field_directions(head_positions, oriented_fields.shape[-1], grid)
    number, worst = distinct(directions), worst_tensor(directions)
    if number < 6:
        raise ValueError(
            f"a susceptibility tensor has 6 components and needs at least 6 head orientations, and {number} of the "
            f"{len(directions)} given differ by more than 3 degrees"
        )
    if worst < conditioning:
        raise ValueError(
            f"the head turned too little between the orientations: the smallest singular value of the map from tensors to fields "
            f"is only {worst:.4f}, and conditioning asks for {conditioning}"
        )
    data = stacked(oriented_fields, oriented_masks, oriented_noise, grid, harmonics, padding)
    device = data.fields.device
    rows = torch.from_numpy(products(directions)).float().to(device)
    inverse = torch.from_numpy(np.linalg.inv(products(directions).T @ products(directions) + 36 * alpha * np.eye(6)))
    inverse = inverse.float().to(device)
    share = _projection(data.padded, grid.voxel_size, device)

    def inside(spectra: Tensor) -> Tensor:
        return irfftn(spectra, data.padded, data.size) * data.anywhere

    def sources(tensors: Tensor) -> Tensor:
        """L T of tensors in the box; its own adjoint."""
        return inside(_reduced(rfftn(tensors, data.padded), share))

    def fields_of(reduced: Tensor) -> Tensor:
        return torch.einsum("oc,cxyz->oxyz", rows, reduced)

    def gathered(fields: Tensor) -> Tensor:
        return torch.einsum("oc,oxyz->cxyz", rows, fields)

    def normal(tensors: Tensor) -> Tensor:
        fields = fields_of(sources(tensors))
        for one, field in enumerate(fields):
            fields[one] = data.weighted(field, one)
        found = sources(gathered(fields))
        return found.add_(_deviator(tensors), alpha=alpha) if alpha else found

    def undone(tensors: Tensor) -> Tensor:
        """The inverse of `normal` for one common mask and equal weights."""
        spectra = _restored(rfftn(tensors, data.padded), share)
        spectra = torch.einsum("ab,bxyz->axyz", inverse.to(spectra.dtype), spectra)
        return inside(_restored(spectra, share))

    right = sources(gathered(data.fields * data.weights))
    spectra = rfftn(torch.einsum("ab,bxyz->axyz", inverse, gathered(data.fields)), data.padded)
    spectra[:, 0, 0, 0] = 0.0  # fields do not know the mean
    start = inside(_restored(spectra, share))
    step, _ = conjugate_gradients(normal, right - normal(start), precondition=undone, iterations=iterations, tolerance=tolerance)
    return _told(start.add_(step), data, grid)


def _told(tensors: Tensor, data: Stack, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """The tensor in world axes, its mean and its anisotropy, on the grid of the scan."""
    axes = torch.from_numpy(np.asarray(grid.matrix[:3, :3] / np.array(grid.voxel_size), np.float32)).to(tensors.device)
    mask = data.mask
    average = mean(data.whole(tensors[:3].sum(dim=0) / 3), mask)
    whole = tensors.new_zeros((*grid.shape, 6))
    inner = tensors[:, data.mostly]
    matrix = torch.stack([inner[_PLACE[i][j]] / (1.0 if i == j else _ROOT) for i in range(3) for j in range(3)], dim=-1)
    matrix = axes @ matrix.view(-1, 3, 3) @ axes.T
    centre = matrix.diagonal(dim1=-2, dim2=-1).mean(dim=-1) - average[mask]
    matrix -= centre[:, None, None] * torch.eye(3, device=tensors.device)
    values = torch.linalg.eigvalsh(matrix)
    anisotropy = torch.zeros_like(average)
    anisotropy[mask] = values[:, 2] - (values[:, 0] + values[:, 1]) / 2
    whole[mask] = torch.stack([matrix[:, i, j] for i in range(3) for j in range(i, 3)], dim=-1)
    return whole, average, anisotropy


def _projection(shape: Shape, voxel_size: tuple[float, float, float], device: object) -> list[Tensor]:
    """P = k k' / |k|^2 on the half spectrum, by component; a third of the identity at k = 0, where L then is zero.

    The mixed terms are tapered as those of the dipole kernel are (`neuraxis.numerics.dipole`).
    """
    k = frequencies(shape, voxel_size, device)
    tapered = [axis * torch.cos(math.pi * h * axis) for axis, h in zip(k, voxel_size, strict=True)]
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    squared[0, 0, 0] = 1.0
    found = [axis**2 / squared for axis in k] + [tapered[i] * tapered[j] / squared for i, j in ((0, 1), (0, 2), (1, 2))]
    for one in found[:3]:
        one[0, 0, 0] = 1 / 3
    return found


def _mixed(tensors: Tensor, share: list[Tensor]) -> Tensor:
    """(P T + T P) / 2 of tensors of six components."""
    found = torch.empty_like(tensors)
    for i in range(3):
        for j in range(i, 3):
            total = torch.zeros_like(tensors[0])
            for m in range(3):
                for one, other in ((i, j), (j, i)):
                    factor = (1.0 if m == other else 1 / _ROOT) * (1.0 if i == j else _ROOT) / 2
                    total.add_(tensors[_PLACE[m][other]] * share[_PLACE[one][m]], alpha=factor)
            found[_PLACE[i][j]] = total
    return found


def _reduced(tensors: Tensor, share: list[Tensor]) -> Tensor:
    """L T = T / 3 - (P T + T P) / 2."""
    return tensors / 3 - _mixed(tensors, share)


def _restored(tensors: Tensor, share: list[Tensor]) -> Tensor:
    """The inverse of L where P is a projection: 3, -6 and -3/2 times the parts of T across, between and along k.

    With A = (P T + T P) / 2 and B = P T P = 2 A_2 - A, A_2 = (P A + A P) / 2, these are T - 2 A + B, 2 (A - B) and B.
    """
    once = _mixed(tensors, share)
    along = _mixed(once, share).mul_(2).sub_(once)
    return (tensors * 3).sub_(once, alpha=18).add_(along, alpha=13.5)


def _deviator(tensors: Tensor) -> Tensor:
    found = tensors.clone()
    found[:3] -= tensors[:3].mean(dim=0)
    return found


