"""A cord in axial slices that move in their plane by what is known: drawn finer than the pixels, in any contrast."""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

SIZE = (0.9, 0.9, 5.0)
SHAPE = (60, 44, 15)
FINE = 4
"""So many fine pixels for each edge of a pixel."""

CONTRASTS = {
    # cord, fluid, bone, muscle
    "b0": (0.6, 1.6, 0.35, 0.5),
    "diffusion": (1.0, 0.15, 0.25, 0.35),
    "diffusion, along": (0.7, 0.1, 0.25, 0.45),
    "mt": (0.7, 1.0, 0.5, 0.4),
}


def drawn(contrast, shifts, shape=SHAPE, size=SIZE):
    """The slices in a contrast, their content moved by `shifts` (Z, 2) mm."""
    cord, fluid, bone, muscle = CONTRASTS[contrast]
    made = np.zeros(shape, np.float32)
    x, y = (((np.arange(n * FINE) + 0.5) / FINE - 0.5 - (n - 1) / 2) * s for n, s in zip(shape[:2], size[:2], strict=True))
    for z in range(shape[2]):
        u, v = np.meshgrid(x - shifts[z, 0], y - shifts[z, 1] - 0.3 * z / shape[2], indexing="ij")
        one = muscle * (1 + 0.15 * np.sin(u / 6) * np.cos(v / 5))
        one[(u / 14) ** 2 + ((v - 16) / 9) ** 2 < 1] = bone
        one[(u / 9) ** 2 + (v / 7.5) ** 2 < 1] = fluid
        one[(np.abs(u) < 3) & (v < -9)] = bone
        one[(u / 6.2) ** 2 + (v / 4) ** 2 < 1] = cord
        one[(np.abs(u) - 1.8) ** 2 + (v / 2.5) ** 2 < 1] = cord * 1.15
        one = gaussian_filter(one, 0.4 * FINE)
        made[..., z] = one.reshape(shape[0], FINE, shape[1], FINE).mean((1, 3))
    return made


def noisy(image, ratio, seed):
    """Rician noise: `ratio` is the signal of the cord in a diffusion-weighted image (1) over the standard deviation."""
    rng = np.random.default_rng(seed)
    return np.abs(image + (rng.standard_normal(image.shape) + 1j * rng.standard_normal(image.shape)) / ratio).astype(np.float32)


def around(shape=SHAPE, size=SIZE, radius=9.0):
    """Soft weights around the middle of every slice."""
    x, y = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape[:2], size[:2], strict=True))
    one = np.exp(-0.5 * (np.hypot(x[:, None], y[None]) / radius) ** 4)
    return np.repeat(np.where(one > 0.01, one, 0)[..., None], shape[2], 2)


def true_shifts(seed, amplitude, number=SHAPE[2], *, alone):
    """Shifts of slices up to 3 mm: each by itself, or all alike and changing slowly along the cord."""
    rng = np.random.default_rng(seed)
    if alone:
        found = rng.normal(0, amplitude, (number, 2))
    else:
        found = rng.uniform(-amplitude, amplitude, 2) + 1.5 * amplitude * gaussian_filter1d(rng.standard_normal((number, 2)), 2, axis=0)
    return np.clip(found, -3, 3)


def rms(found):
    return float(np.sqrt(np.mean(np.square(found))))
