"""Unwrapping by Poisson's equation."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.filters import wrap
from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, rfftn
from neuraxis.numerics.operators import add_adjoint_difference, difference, laplacian_eigenvalues
from neuraxis.qsm.unwrapping.branches import offset_of
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def laplacian(
    phase: Tensor, mask: Tensor, grid: Grid, phase_offset: Tensor | None = None, *, margin: int = 8
) -> Tensor:
    """Laplacian unwrapping.

    Wraps vanish from the differences between neighbours when these are wrapped; their divergence is the Laplacian of
    the unwrapped phase, and Poisson's equation gives the phase back:

        unwrapped = inverse Laplacian (divergence(wrap(gradient(phase))))

    Departure from the paper: only differences between two voxels of the mask count, as the phase outside is noise.

    Always smooth, never congruent: what fields from outside the mask did to the phase is mostly lost, so it suits a
    look at data that defeat region growing rather than a quantitative field map. Each echo has mean zero in the mask.

    Parameters
    ----------
    phase
        Wrapped phase; rad, (X, Y, Z, E).
    mask
        Where the phase is used; (X, Y, Z).
    grid
        Grid of the images, for the voxel size.
    phase_offset
        Phase at echo time zero, taken off first; rad, (X, Y, Z), or (X, Y, Z, E) where it differs between echoes.
    margin
        Voxels between the mask and its periodic image, 1 to 256.

    Returns
    -------
    Phase without wraps and offset; rad, (X, Y, Z, E), zero outside the mask.

    Raises
    ------
    ValueError: margin out of range, or an empty mask.

    References
    ----------
    Schofield 2003, doi:10.1364/OL.28.001194
    """
    if not 1 <= margin <= 256:
        raise ValueError(f"margin must be 1 to 256 voxels, not {margin}")
    box = mask_box(mask, (1, 1, 1))
    inside = mask[box]
    here = box_shape(box)
    shape = padded_shape(here, float(margin))
    # 1 / 0 at the origin stands for the constant, which is free
    inverse = laplacian_eigenvalues(shape, grid.voxel_size, phase.device)
    inverse[0, 0, 0] = 1.0
    inverse.reciprocal_()
    inverse[0, 0, 0] = 0.0
    whole = torch.zeros((phase.shape[-1], *grid.shape), dtype=torch.float32, device=phase.device)
    for echo in range(phase.shape[-1]):
        one = phase[..., echo][box].contiguous()
        if phase_offset is not None:
            one = one - offset_of(phase_offset, echo)[box]
        source = torch.zeros_like(one)
        for axis, spacing in enumerate(grid.voxel_size):
            steps = wrap(difference(one, axis, spacing=1.0)).nan_to_num_().mul_(inside & torch.roll(inside, -1, axis))
            add_adjoint_difference(source, steps.div_(spacing), axis, spacing)
        found = irfftn(rfftn(source, shape).mul_(inverse), shape, here)
        whole[echo][box] = torch.where(inside, found - found[inside].mean(), torch.zeros_like(one))
    return whole.permute(1, 2, 3, 0)
