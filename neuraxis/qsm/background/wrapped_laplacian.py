"""The Laplacian of the field, from the wrapped phase of several echoes."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.filters import wrap
from neuraxis.numerics.fourier import Box
from neuraxis.numerics.operators import add_adjoint_difference, difference
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Array, Tensor

torch = lazy.load("torch")


def wrapped_laplacian(
    phase: Tensor,
    echo_times: Array,
    field_strength: float,
    mask: Tensor,
    box: Box,
    voxel_size: tuple[float, float, float],
    magnitude: Tensor | None = None,
    phase_offset: Tensor | None = None,
) -> Tensor:
    """Laplacian of the field inside the box; ppm/mm², of use where a voxel and its six neighbours lie in the mask.

        sum_e w_e divergence(difference_e) / (k TE_e) / sum_e w_e,   w_e = (S_e TE_e)^2,   k = rad per ppm and second

    The differences between neighbours are wrapped into -pi..pi for the first echo, and for every later one to within pi of
    what the echo before lets expect. `mask` is cut to the box; the other arrays, (X, Y, Z[, E]), are not.

    Raises
    ------
    ValueError: the field strength is not positive.
    """
    if not field_strength > 0:
        raise ValueError(f"the field strength must be above 0 T, not {field_strength}")
    times = [float(time) for time in echo_times]
    offset = None if phase_offset is None else phase_offset[box]
    one = torch.empty(mask.shape, dtype=torch.float32, device=phase.device)
    pairs = [mask & torch.roll(mask, -1, axis) for axis in range(3)]
    before = [torch.zeros_like(one) for _ in range(3)]
    above, below = torch.zeros_like(one), torch.zeros_like(one)
    for echo, time in enumerate(times):
        one.copy_(phase[..., echo][box])
        if offset is not None:
            one -= offset
        one = torch.where(mask, one, 0.0)
        growth = time / times[echo - 1] if echo else 0.0
        source = torch.zeros_like(one)
        for axis, spacing in enumerate(voxel_size):
            expected = before[axis].mul_(growth)
            steps = wrap(difference(one, axis, spacing=1.0).sub_(expected)).add_(expected).mul_(pairs[axis])
            before[axis] = steps
            add_adjoint_difference(source, steps / spacing, axis, spacing)
        weight = torch.full_like(one, time**2)
        if magnitude is not None:
            weight *= torch.where(mask, magnitude[..., echo][box], 0.0).square_()
        above.add_(source.mul_(weight), alpha=-1.0 / (radians_per_ppm_second(field_strength) * time))
        below += weight
    return torch.where(below > 0, above / below.clamp_min(1e-30), 0.0)
