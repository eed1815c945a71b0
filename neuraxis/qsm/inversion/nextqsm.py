"""Susceptibility from the total field by two trained networks and the dipole model, when they are there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import lazy_loader as lazy
import numpy as np

from neuraxis import resources
from neuraxis.numerics import learned_map, onnx_graph
from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import irfftn, rfftn
from neuraxis.numerics.learned_map import Training
from neuraxis.volume import Array, Grid, Tensor, Volume

torch = lazy.load("torch")

_RESOURCE = "nextqsm"


def nextqsm(total_field: Tensor, field_mask: Tensor, grid: Grid, *, tile: int = 0, halo: int = 16) -> Tensor:
    """Background removal by a network, then six learned steps down a variational cost; fetched with `neuraxis fetch nextqsm`.

    The first network B makes the local field b = m B(m field) in the mask m. From x = b, each step with its trained weight w is

        x <- m (x - w 100 D (D x - b) / (|b| |D x - b|) - grad R(x)),   R(x) = mean |V(x)|

    with the second network V, and D x as it was trained: 1/3 at zero frequency. In the box of the mask, enlarged by zeros to
    a multiple of 64 voxels, turned so that the main field runs along its third axis; QSMxT pads the whole image instead.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    tile
        Edge of the tiles that the networks see at once; 0 for all at once, or 128 to 4096 voxels, a multiple of 64. Smaller
        takes less memory, and blurs what is smooth over more than a tile.
    halo
        Rim of a tile that is thrown away, and again that is blended; 0 to 256 voxels.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: the networks are not installed, changed or cannot be run, a knob is outside its range, or the mask is empty.

    References
    ----------
    Cognolato 2023, doi:10.1016/j.media.2022.102700
    """
    if not (tile == 0 or (128 <= tile <= 4096 and tile % 64 == 0)):
        raise ValueError(f"tile must be 0 or a multiple of 64 from 128 to 4096 voxels, not {tile}")
    if not 0 <= halo <= 256:
        raise ValueError(f"halo must be 0 to 256 voxels, not {halo}")
    row = dict(resources.known()[_RESOURCE].network)
    gradient, steps = str(row.pop("gradient")), [float(one) for one in row.pop("steps")]
    about, folder = Training.of(row, _RESOURCE), resources.find(_RESOURCE)
    device = str(total_field.device)

    def unrolled(values: Array, inside: Array, frame: Grid) -> Array:
        def network(file: str, image: Tensor) -> Tensor:
            graph, wanted = onnx_graph.load(folder / file, device), mask.cpu().numpy()
            found = onnx_graph.run(graph, [image.cpu().numpy()], wanted, multiple=about.multiple, tile=tile, halo=halo)
            return torch.from_numpy(found).to(device)

        rims = [_rim(n, about.multiple) for n in values.shape]
        field = torch.from_numpy(np.pad(values, rims)).to(device)
        mask = torch.from_numpy(np.pad(inside, rims)).to(device)
        shape = (field.shape[0], field.shape[1], field.shape[2])
        kernel = dipole_kernel(shape, frame.voxel_size, frame.b0_direction, field.device)
        kernel[0, 0, 0] = 1 / 3
        local = network(about.file, field * mask) * mask
        chi = _descend(local, mask, kernel, steps, lambda x: network(gradient, x))
        return np.asarray(chi[tuple(slice(low, low + n) for (low, _), n in zip(rims, values.shape, strict=True))].cpu())

    values, mask = Volume(total_field.cpu().numpy(), grid), Volume(field_mask.cpu().numpy(), grid)
    chi = learned_map.in_frame(values, mask, about, 0, unrolled)
    return torch.from_numpy(chi).to(total_field.device)


def _descend(
    local: Tensor, mask: Tensor, kernel: Tensor, steps: Sequence[float], gradient: Callable[[Tensor], Tensor]
) -> Tensor:
    """The steps from the local field on; `gradient` is that of the sum, not the mean, of |V(x)|."""
    shape, strength, chi = (*local.shape,), float(torch.linalg.vector_norm(local)), local
    for weight in steps:
        off = irfftn(rfftn(chi) * kernel, shape) - local
        length = strength * float(torch.linalg.vector_norm(off))
        down = gradient(chi) / math.prod(shape)
        if length > 0:
            down += irfftn(rfftn(off) * kernel, shape) * (weight * 100 / length)
        chi = (chi - down) * mask
    return chi


def _rim(n: int, multiple: int) -> tuple[int, int]:
    """Zeros before and behind `n` voxels that make a multiple of `multiple`."""
    more = -n % multiple
    return more // 2, more - more // 2
