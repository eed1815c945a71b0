"""One image from those of many coils."""

from __future__ import annotations

from collections.abc import Callable

import lazy_loader as lazy

from neuraxis.numerics.filters import wrap
from neuraxis.qsm.offset.blocks import block_mean, blocks_for, interpolated, repeat, smooth, unwrapped
from neuraxis.volume import Array, Grid

torch = lazy.load("torch")

CoilReader = Callable[[int], tuple[Array, Array]]
"""Number of a coil, from 0 -> its magnitude and its wrapped phase (rad), both (E, X, Y, Z), float32."""


def combine_coils(
    read: CoilReader, coils: int, echo_times: Array, grid: Grid, *, smoothing: float = 7.0
) -> tuple[Array, Array]:
    """MCPC-3D-S over coils: the phase offset of each coil is taken off, and the coils are added.

    With S_ce = m_ce exp(i phase_ce), the phase difference of the first two echoes of all coils together,

        h = arg(sum_c S_c2 conj(S_c1)),

    is unwrapped in space and followed back to time zero in each coil; what is added are squares, so that the noise is
    least and the magnitude is the root sum of squares:

        offset_c = smooth(phase_c1 - TE1 / (TE2 - TE1) h)
        combined_e^2 = |z_e|,  phase_e = arg z_e,  z_e = sum_c m_ce^2 exp(i (phase_ce - offset_c))

    Smoothing averages exp(i offset) over a Gaussian, weighted by m_c1^2, so wraps do no harm. What h gets wrong is the
    same in all coils: the coils still add up, and the error is an offset of the combined phase.

    Every coil is read twice, and held one at a time.

    Parameters
    ----------
    read
        Gives magnitude and phase of a coil.
    coils
        How many there are, at least 1.
    echo_times
        Rising, at least two; s, (E,).
    grid
        Grid of the images, for the voxel size.
    smoothing
        Standard deviation of the Gaussian; mm, > 0. Reduce it for a small object.

    Returns
    -------
    Magnitude, unit of the input, and phase, rad, -pi to pi; both (E, X, Y, Z), float32.

    Raises
    ------
    ValueError: fewer than two echoes, or a smoothing that is not positive.

    References
    ----------
    Eckstein 2018, doi:10.1002/mrm.26963
    Robinson 2017, doi:10.1002/nbm.3601
    """
    if len(echo_times) < 2:
        raise ValueError(f"coils are combined by their first two echoes, there is {len(echo_times)}")
    if not smoothing > 0:
        raise ValueError(f"smoothing must be above 0 mm, not {smoothing}")
    real, imaginary = torch.zeros(grid.shape), torch.zeros(grid.shape)
    for coil in range(coils):
        magnitude, phase = (torch.from_numpy(one) for one in read(coil))
        between = phase[1] - phase[0]
        weight = magnitude[0] * magnitude[1]
        real.addcmul_(torch.cos(between), weight)
        imaginary.addcmul_(torch.sin(between), weight)
        del magnitude, phase, between, weight
    blocks = blocks_for(smoothing, grid)
    hx, hy, hz = (edge * block for edge, block in zip(grid.voxel_size, blocks, strict=True))
    between, weight = torch.atan2(imaginary, real), torch.hypot(real, imaginary)
    del real, imaginary
    coarse, coherence = block_mean(between, weight, blocks)
    coarse, _ = unwrapped(coarse, torch.ones_like(coarse, dtype=torch.bool), coherence.sqrt())
    between -= torch.round((between - repeat(coarse, blocks, grid.shape)) * (0.5 / torch.pi)) * (2 * torch.pi)
    back = between.mul_(-float(echo_times[0] / (echo_times[1] - echo_times[0])))
    del weight, coarse, coherence

    shape = (len(echo_times), *grid.shape)
    reals, imaginaries = torch.zeros(shape), torch.zeros(shape)
    for coil in range(coils):
        magnitude, phase = (torch.from_numpy(one) for one in read(coil))
        angle, size = block_mean(phase[0] + back, magnitude[0].square(), blocks)
        offset = interpolated(smooth(angle, size, smoothing, (hx, hy, hz)), blocks, grid.shape)
        for echo in range(len(echo_times)):
            free, size = wrap(phase[echo] - offset), magnitude[echo].square()
            reals[echo].addcmul_(torch.cos(free), size)
            imaginaries[echo].addcmul_(torch.sin(free), size)
        del magnitude, phase, free, size
    for one, two in zip(reals, imaginaries, strict=True):  # in place: the sums are as large as the result
        size = torch.hypot(one, two).sqrt_()
        two.copy_(torch.atan2(two, one))
        one.copy_(size)
    return reals.numpy(), imaginaries.numpy()
