"""Diffusion and functional series of a simulated neck: known tensors, known shifts of every slice, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuraxis.numerics.slice_shifts import shifted
from neuraxis.simulate.cord import WHITE_LEVEL, CordTruth, image_grid, rendered, true_parts
from neuraxis.simulate.cord_neck import TISSUES
from neuraxis.simulate.cord_options import CordOptions
from neuraxis.table import Table
from neuraxis.volume import Array, Grid, Volume

SERIES = ("dwi", "bold")
"""Suffixes of the series that can be made."""

ECHO_TIME = {"dwi": 0.080, "bold": 0.030}
"""Spin-echo and gradient-echo EPI; s."""

REPETITION_TIME = {"dwi": 1.0, "bold": 2.0}
"""s."""

_B = 800.0
"""b-value of the diffusion-weighted volumes; s/mm2."""

_DIRECTIONS, _UNWEIGHTED, _BOLD = 18, 3, 20
"""Numbers of volumes."""

DIFFUSIVITIES = {
    "white": (1.7e-3, 0.35e-3), "gray": (1.2e-3, 0.6e-3), "lesion": (1.3e-3, 0.8e-3), "csf": (2.8e-3, 2.8e-3), "muscle": (1.5e-3, 1.2e-3),
}  # fmt: skip
"""Tissue -> diffusivity along and across the cord, in the range of what is measured in it (Mohammadi 2013,
doi:10.1016/j.neuroimage.2012.12.058); others do not diffuse; mm2/s."""

_FATTY = {"fat": 0.05, "marrow": 0.3}
"""Tissue -> share of its signal that fat saturation leaves; plausible, not measured."""

_TOGETHER, _ALONE, _DRIFT = 0.5, 0.15, 0.4
"""Standard deviations of the shift that all slices of a volume share, which grows along the cord, and of that of each slice by
itself; drift over the series; mm."""


@dataclass(frozen=True)
class CordSeries:
    """One series (X, Y, Z, T), and what is known of it.

    shifts: one row per volume and slice, how far the content had moved, to the right and to the front (mm). fa, md: of the mixture
    of tissues in the voxel, by their shares; b_values s/mm2 and b_vectors in the convention of FSL, None of a functional series.
    """

    volume: Volume
    truth: CordTruth
    shifts: Table
    fa: Volume | None = None
    md: Volume | None = None
    b_values: Array | None = None
    b_vectors: Array | None = None


def cord_series(suffix: str, options: CordOptions) -> CordSeries:
    """Simulate one series of one participant.

    Every tissue has the signal of an EPI, S0 exp(-b g' D g) in a diffusion series, with D symmetric about the axis of the
    slices. The slices are drawn with half the pixel's size, moved there in their plane by cubic splines, and averaged.
    Rician noise is added.

    Parameters
    ----------
    suffix
        dwi or bold.
    options
        Who is scanned, and how; `snr` is that of white matter without diffusion weighting.
    """
    rng = np.random.default_rng([options.seed, 71, SERIES.index(suffix)])
    grid = image_grid("MTS", options)
    b_values, b_vectors = _gradients(grid) if suffix == "dwi" else (np.zeros(_BOLD), np.zeros((3, _BOLD)))
    along = (b_vectors[2] ** 2) * (b_values > 0)  # the axis of the slices is the third of the image, whatever the others are
    parts = {name: _signal(suffix, name, b_values, along) for name in TISSUES}
    fine = _halved(grid)
    clean = rendered(parts, fine, options.spine, options)[0]
    truth, mixture = true_parts(grid, options)
    shifts = _shifts(rng, len(b_values), grid.shape[2])
    moved = np.stack([shifted(clean[..., t], shifts[t] * (-1, 1), fine.voxel_size) for t in range(len(b_values))], -1)
    x, y, z = grid.shape
    mean = moved.reshape(x, 2, y, 2, z, -1).mean((1, 3))
    noise = rng.standard_normal((2, *mean.shape), dtype=np.float32) / np.float32(options.snr)
    stored = np.hypot(mean + noise[0], noise[1]) * np.float32(WHITE_LEVEL)
    table = Table.of({
        "volume": np.repeat(np.arange(len(b_values)), z), "slice": np.tile(np.arange(z), len(b_values)),
        "x": shifts[..., 0].ravel(), "y": shifts[..., 1].ravel(),
    })  # fmt: skip
    if suffix == "bold":
        return CordSeries(Volume(stored, grid), truth, table)
    fa, md = _tensor(mixture)
    return CordSeries(Volume(stored, grid), truth, table, Volume(fa, grid), Volume(md, grid), b_values, b_vectors)


def _signal(suffix: str, name: str, b_values: Array, along: Array) -> Array:
    """Signal of a tissue in every volume, relative to white matter without weighting (T,)."""
    tissue, white = TISSUES[name], TISSUES["white"]
    rest = [one.m0 * np.exp(-ECHO_TIME[suffix] / (one.t2 if suffix == "dwi" else one.t2star)) for one in (tissue, white)]
    axial, radial = DIFFUSIVITIES.get(name, (0.0, 0.0))
    weight = np.exp(-b_values * (radial + (axial - radial) * along))
    return (_FATTY.get(name, 1.0) * rest[0] / rest[1] * weight).astype(np.float32)


def _gradients(grid: Grid) -> tuple[Array, Array]:
    """b-values (T,) and directions spread over the sphere by the golden angle, in the convention of FSL (3, T)."""
    k = np.arange(_DIRECTIONS)
    height = 1 - 2 * (k + 0.5) / _DIRECTIONS
    angle = k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    directions = np.concatenate([np.zeros((3, _UNWEIGHTED)), [ring * np.cos(angle), ring * np.sin(angle), height]], 1)
    return np.r_[np.zeros(_UNWEIGHTED), np.full(_DIRECTIONS, _B)], directions


def _halved(grid: Grid) -> Grid:
    """The grid with pixels of half the edge in plane; two by two of them fill one."""
    matrix = grid.matrix @ np.diag([0.5, 0.5, 1.0, 1.0])
    matrix[:3, 3] = (grid.matrix @ np.array([-0.25, -0.25, 0.0, 1.0]))[:3]
    return Grid.of((2 * grid.shape[0], 2 * grid.shape[1], grid.shape[2]), matrix)


def _shifts(rng: np.random.Generator, number: int, depth: int) -> Array:
    """How far the content of every slice has moved, to the right and to the front; (T, Z, 2) mm, up to 2."""
    bend = np.linspace(0.5, 1.5, depth)[None, :, None]
    found = _TOGETHER * rng.standard_normal((number, 1, 2)) * bend + _ALONE * rng.standard_normal((number, depth, 2))
    found[..., 1] += _DRIFT * np.linspace(-1, 1, number)[:, None]
    return np.clip(found, -2, 2)


def _tensor(mixture: dict[str, Array]) -> tuple[Array, Array]:
    """FA and MD (mm2/s) of the mean tensor of the tissues of the cord, weighted with their shares; 0 outside the cord."""
    total = np.maximum(sum(mixture.values()), 1e-6)  # type: ignore[call-overload]
    axial, radial = (sum(share * DIFFUSIVITIES[name][n] for name, share in mixture.items()) / total for n in (0, 1))
    mean = (axial + 2 * radial) / 3
    fa = np.abs(axial - radial) / np.sqrt(np.maximum(axial**2 + 2 * radial**2, 1e-20))
    inside = sum(mixture.values()) > 0.5
    return np.where(inside, fa, 0).astype(np.float32), np.where(inside, mean, 0).astype(np.float32)
