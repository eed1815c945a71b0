"""What a scanner makes of a head: multi-echo gradient echo images, a T1-weighted image, and the truth on their grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import lazy_loader as lazy
import numpy as np

from neuraxis.simulate.anatomy import Head, Person, head, reach
from neuraxis.simulate.forward import polynomial, shim, tissue_field, total_field
from neuraxis.simulate.options import Phantom
from neuraxis.simulate.shapes import rotation
from neuraxis.units import radians_per_ppm_second
from neuraxis.volume import Array, Grid, Tensor

torch = lazy.load("torch")

TOP, MIDDLE = 92.0, -16.0
"""Where the field of view ends above, and its centre from back to front; mm in the scanner."""

INVERSION_TIME, INVERSION_REPETITION = 0.9, 2.3
"""Of the T1-weighted image at 3 T; s. As in the MPRAGE of Brant-Zawadzki 1992, doi:10.1148/radiology.182.3.1535892"""

_RECEIVE = (0.85, 0.05, -0.05, 0.04, 0.30, 0.25, 0.20, 0.0, 0.0, 0.0)
"""Receive field of a head coil: stronger near its elements. Polynomial as in `forward.polynomial`."""


@dataclass
class Scan:
    """Truth and what is needed to make echoes: all on the grid of the images.

    chi, local_field, total_field in ppm (the total field is shimmed, as the phase sees it); r2star in 1/s; s0 in the
    magnitude's unit; phase_offset in rad; noise: standard deviation of the real part, in the magnitude's unit.
    """

    grid: Grid
    chi: Array
    local_field: Array
    total_field: Array
    r2star: Array
    s0: Array
    phase_offset: Array
    labels: Array
    brain: Array
    noise: float
    echoes: list[Array]

    def images(self, seed: int) -> Iterator[tuple[Array, Array]]:
        """Magnitude and phase (rad, -pi..pi) of each echo, with noise."""
        for number, clean in enumerate(self.echoes):
            signal = clean
            if self.noise > 0:
                rng = np.random.default_rng([seed, 3, number])
                noise = rng.standard_normal((*clean.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
                signal = clean + np.float32(self.noise) * noise
            yield np.abs(signal), np.angle(signal)


def image_grid(options: Phantom) -> Grid:
    """The grid of the gradient echo images: turned about its centre, the head's top near its upper end."""
    size = np.array(options.voxel_size)
    turned = _turn(options.obliquity)
    matrix = np.eye(4)
    matrix[:3, :3] = turned * size
    centre = np.array([0.0, MIDDLE, TOP - options.shape[2] * size[2] / 2])
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(options.shape) - 1) / 2)
    return Grid.of(options.shape, matrix)


def _turn(degrees: float) -> Array:
    """Rotation about (2, 1, 0), so that the main field has a part along every axis of the grid; 3 x 3."""
    lean = rotation((0, 0, float(np.degrees(np.arctan2(1, 2)))))
    return lean @ rotation((degrees, 0, 0)) @ lean.T


def scan(options: Phantom, person: Person, seed: int) -> Scan:
    """Simulate the gradient echo acquisition of one person in one session.

    signal = S0 exp(-R2* TE) exp(i (2 pi gamma B0 TE field + offset)), S0 of a spoiled gradient echo, averaged over
    the fine voxels that make one voxel.

    Parameters
    ----------
    options
        What is acquired.
    person
        Who is in the scanner.
    seed
        Seed of the phase offset; the noise is added by `Scan.images`.
    """
    grid = image_grid(options)
    factors = tuple(max(int(np.ceil(edge / options.fine - 1e-6)), 1) for edge in options.voxel_size)
    fine = _finer(grid, factors)
    whole = reach(fine, person)
    first = np.rint(np.linalg.inv(whole.matrix) @ fine.matrix[:, 3])[:3].astype(int)
    window = tuple(slice(a, a + n) for a, n in zip(first, fine.shape, strict=True))
    body = head(whole, person, options.field_strength, options.calcification)
    field = total_field(body.chi, whole)[window].clone()
    local = tissue_field(body.chi, body.brain, whole)[window].clone()
    body = body.part(fine, window)
    if not body.brain.any():
        raise ValueError(f"no brain lies in a field of view of shape {options.shape} and voxels {options.voxel_size}")
    field = shim(field, body.brain, fine)
    s0 = _spoiled(body, options) * polynomial(fine, np.array(_RECEIVE))
    offset = _offset(fine, np.random.default_rng([seed, 4])) if options.phase_offset else torch.zeros(fine.shape)
    turn = radians_per_ppm_second(options.field_strength)
    echoes = []
    for time in options.echo_times:
        strength = s0 * torch.exp(body.r2star * -time)
        phase = field * (turn * time) + offset
        parts = [_average(part, factors) for part in (strength * torch.cos(phase), strength * torch.sin(phase))]
        echoes.append(torch.complex(*parts).numpy())
    brain = _average(body.brain.float(), factors) >= 0.5
    noise = float(np.abs(echoes[0]).max()) / options.snr
    return Scan(
        grid,
        chi=_average(body.chi, factors).numpy(),
        local_field=(_average(local, factors) * brain).numpy(),
        total_field=_average(field, factors).numpy(),
        r2star=_average(body.r2star, factors).numpy(),
        s0=_average(s0, factors).numpy(),
        phase_offset=_average(offset, factors).numpy(),
        labels=_most_frequent(body.labels, factors).numpy(),
        brain=brain.numpy(),
        noise=noise,
        echoes=echoes,
    )


def t1w(options: Phantom, person: Person, seed: int) -> tuple[Array, Grid]:
    """A T1-weighted image (inversion recovery) of a person on an upright isotropic grid."""
    edge = options.t1w_size
    x, y, z = (round(size / edge) for size in (176, 224, 208))
    grid = image_grid(Phantom(shape=(x, y, z), voxel_size=(edge,) * 3))
    body = head(grid, person, options.field_strength, options.calcification)
    slower = (options.field_strength / 3.0) ** 0.38
    start, recovered = (torch.exp(body.r1 * -(time * slower)) for time in (INVERSION_TIME, INVERSION_REPETITION))
    signal = (body.m0 * (1 - 2 * start / (1 + recovered))).abs() * polynomial(grid, np.array(_RECEIVE))
    rng = np.random.default_rng([seed, 5])
    noise = rng.standard_normal((2, *grid.shape), dtype=np.float32) * (0.01 if np.isfinite(options.snr) else 0)
    return np.hypot(signal.numpy() + noise[0], noise[1]), grid


def _spoiled(body: Head, options: Phantom) -> Tensor:
    """Magnitude of a spoiled gradient echo at echo time zero (Ernst 1966, doi:10.1063/1.1719961)."""
    angle = np.radians(options.flip_angle)
    left = torch.exp(body.r1 * -options.repetition_time)
    return body.m0 * float(np.sin(angle)) * (1 - left) / (1 - left * float(np.cos(angle)))


def _offset(grid: Grid, rng: np.random.Generator) -> Tensor:
    """Smooth phase at echo time zero, -pi..pi over the field of view; rad."""
    found = polynomial(grid, np.concatenate([[0], rng.uniform(-1, 1, 9)]))
    low, high = float(found.min()), float(found.max())
    return (found - (low + high) / 2) * (2 * np.pi / (high - low))


def _finer(grid: Grid, factors: tuple[int, ...]) -> Grid:
    """The grid with each voxel cut into `factors` parts along its axes."""
    matrix = grid.matrix.copy()
    matrix[:3, :3] /= np.array(factors)
    matrix[:3, 3] += matrix[:3, :3] @ ((1 - np.array(factors)) / 2)
    return Grid.of(tuple(n * f for n, f in zip(grid.shape, factors, strict=True)), matrix)


def _average(fine: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Mean over the fine voxels of each voxel."""
    if max(factors) == 1:
        return fine
    return torch.nn.functional.avg_pool3d(fine[None], factors)[0]


def _most_frequent(labels: Tensor, factors: tuple[int, ...]) -> Tensor:
    """The label that most of the fine voxels of a voxel have."""
    if max(factors) == 1:
        return labels
    most = torch.zeros([n // f for n, f in zip(labels.shape, factors, strict=True)])
    found = torch.zeros(most.shape, dtype=torch.uint8)
    for label in labels.unique():
        share = _average((labels == label).float(), factors)
        found[share > most] = label
        most = torch.maximum(most, share)
    return found
