"""Compiles what numba compiles, on tiny problems: run once where a container is built, so that no run has to."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np

from neuraxis.volume import Grid, Volume


def compile_all() -> None:
    """Calls every method that has compiled parts; what they give is thrown away."""
    import torch

    from neuraxis.cord.path.along import along
    from neuraxis.cord.path.tubular import tubular
    from neuraxis.cord.segmentation.polar import polar
    from neuraxis.qsm.quality import phase_quality
    from neuraxis.qsm.unwrapping.romeo import romeo

    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in (48, 48, 24)], indexing="ij")
    radius = np.hypot(x, y) + 0 * z
    cord, canal = radius < 5, radius < 9
    data = np.where(cord, 300, np.where(canal, 900, 150)) + np.random.default_rng(0).normal(0, 10, x.shape)
    grid = Grid.of(x.shape, np.diag([-1, 1, 1, 1]))
    image, mask = Volume(data.astype(np.float32), grid), Volume(cord.astype(np.float32), grid)
    with warnings.catch_warnings(), contextlib.suppress(ValueError):
        warnings.simplefilter("ignore")
        polar(image, along(mask))
        tubular(image)
    phase = torch.from_numpy(np.angle(np.exp(1j * np.stack([0.2 * x, 0.4 * x], -1)))).float()
    inside, times = torch.from_numpy(canal), np.array([0.005, 0.01])
    for magnitude in (None, torch.ones_like(phase)):
        phase_quality(phase, times, magnitude)
        romeo(phase, inside, times, magnitude, torch.zeros_like(phase[..., 0]))


if __name__ == "__main__":
    compile_all()
